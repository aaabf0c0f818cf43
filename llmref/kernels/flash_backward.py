"""The backward pass of FlashAttention: the weights of each tile are computed again, not stored.

Source: Dao et al. (2022), appendix B.4, for the equations; Dao, "FlashAttention-2" (2023), section 3.1, for
the order. The twin of the backward pass in `llmref.attention.flash`. Two kernels, so that no two programs add
to the same numbers: one for the queries' gradients, and one for those of the keys and values.

With dO for the gradient of O, and likewise for the others, and with D, a number for each query, for the sum
of dO O over the dimensions:

    P = exp(S - log_total)        the weights
    dV = Pᵀ dO
    dS = P (dO Vᵀ - D)            product of numbers at the same place
    dQ = scale dS K
    dK = scale dSᵀ Q
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from llmref.kernels.launch import (
    BACKWARD,
    TileSizes,
    compiled_for,
    expanded,
    side_by_side,
    sizes_for,
    with_strides,
)
from llmref.kernels.mask import KernelMask
from llmref.kernels.tile import masked, product, read, row_starts, scores, write


@triton.jit
@no_type_check
def slope(S, scale, SOFT_CAP: tl.constexpr):
    """How much a score changes with its dot product: the scale, and 1 - tanh² where a tanh has bent it."""
    change = scale
    if SOFT_CAP is not None:
        change = scale * (1.0 - (S / SOFT_CAP) * (S / SOFT_CAP))
    return change


@triton.jit
@no_type_check
def query_kernel(
    query, query_batch, query_head, query_token,  # a tensor and its strides
    key, key_batch, key_head, key_token,
    value, value_batch, value_head, value_token,
    allowed, allowed_batch, allowed_query,
    bias, bias_batch, bias_head, bias_query,
    query_positions, key_positions, key_ranges,
    log_total, average, grad_output, grad_query, grad_bias,
    queries, keys, group, scale,
    SOFT_CAP: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    HEAD_DIM: tl.constexpr, HEAD_BLOCK: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_BLOCK: tl.constexpr,
    QUERY_TILE: tl.constexpr, KEY_TILE: tl.constexpr,
):  # fmt: skip
    """One tile of queries of one head: writes dQ, and dS if the bias gets a gradient."""
    tile, head, batch = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    tiles, heads = tl.num_programs(0), tl.num_programs(1)
    query_start = query + batch * query_batch + head * query_head
    key_start = key + batch * key_batch + head // group * key_head
    value_start = value + batch * value_batch + head // group * value_head
    place = (batch * heads + head) * queries

    rows = tile * QUERY_TILE + tl.arange(0, QUERY_TILE)
    is_query = rows < queries
    query_position = tl.load(query_positions + batch * queries + rows, mask=is_query, other=-1)
    allowed_row = row_starts(allowed, batch * allowed_batch, rows, allowed_query)
    bias_row = row_starts(bias, batch * bias_batch + head * bias_head, rows, bias_query)

    Q = read(query_start + rows.to(tl.int64) * query_token, is_query, HEAD_DIM, HEAD_BLOCK)
    dO = read(grad_output + (place + rows) * VALUE_DIM, is_query, VALUE_DIM, VALUE_BLOCK)
    L = tl.load(log_total + place + rows, mask=is_query, other=0.0)
    D = tl.load(average + place + rows, mask=is_query, other=0.0)
    dQ = tl.zeros([QUERY_TILE, HEAD_BLOCK], tl.float32)
    first = tl.load(key_ranges + 2 * (batch * tiles + tile))
    end = tl.load(key_ranges + 2 * (batch * tiles + tile) + 1)
    for key_tile in range(first, end):
        columns = key_tile * KEY_TILE + tl.arange(0, KEY_TILE)
        is_key = columns < keys
        key_position = tl.load(key_positions + batch * keys + columns, mask=is_key, other=-1)
        K = read(key_start + columns.to(tl.int64) * key_token, is_key, HEAD_DIM, HEAD_BLOCK)
        V = read(value_start + columns.to(tl.int64) * value_token, is_key, VALUE_DIM, VALUE_BLOCK)
        S = scores(Q, K, scale, SOFT_CAP)
        change = slope(S, scale, SOFT_CAP)
        S = masked(
            S, query_position, key_position, allowed_row, bias_row, is_query, is_key, columns, CAUSAL, WINDOW
        )
        P = tl.exp(S - L[:, None])
        dS = P * (product(dO, tl.trans(V)) - D[:, None])
        dQ += product(dS * change, K)
        if grad_bias is not None:
            places = grad_bias + (place + rows[:, None]) * keys + columns[None, :]
            tl.store(places, dS, mask=is_query[:, None] & is_key[None, :])
    write(grad_query + (place + rows) * HEAD_DIM, is_query, dQ, HEAD_DIM, HEAD_BLOCK)


@triton.jit
@no_type_check
def key_value_kernel(
    query, query_batch, query_head, query_token,  # a tensor and its strides
    key, key_batch, key_head, key_token,
    value, value_batch, value_head, value_token,
    allowed, allowed_batch, allowed_query,
    bias, bias_batch, bias_head, bias_query,
    query_positions, key_positions, query_ranges,
    log_total, average, grad_output, grad_key, grad_value,
    queries, keys, group, scale,
    SOFT_CAP: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    HEAD_DIM: tl.constexpr, HEAD_BLOCK: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_BLOCK: tl.constexpr,
    QUERY_TILE: tl.constexpr, KEY_TILE: tl.constexpr,
):  # fmt: skip
    """One tile of keys of one key head: writes dK and dV, from all the query heads that share it."""
    tile, kv_head, batch = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    tiles, kv_heads = tl.num_programs(0), tl.num_programs(1)
    key_start = key + batch * key_batch + kv_head * key_head
    value_start = value + batch * value_batch + kv_head * value_head

    columns = tile * KEY_TILE + tl.arange(0, KEY_TILE)
    is_key = columns < keys
    key_position = tl.load(key_positions + batch * keys + columns, mask=is_key, other=-1)
    K = read(key_start + columns.to(tl.int64) * key_token, is_key, HEAD_DIM, HEAD_BLOCK)
    V = read(value_start + columns.to(tl.int64) * value_token, is_key, VALUE_DIM, VALUE_BLOCK)
    dK = tl.zeros([KEY_TILE, HEAD_BLOCK], tl.float32)
    dV = tl.zeros([KEY_TILE, VALUE_BLOCK], tl.float32)
    first = tl.load(query_ranges + 2 * (batch * tiles + tile))
    end = tl.load(query_ranges + 2 * (batch * tiles + tile) + 1)
    for head in range(kv_head * group, kv_head * group + group):
        query_start = query + batch * query_batch + head * query_head
        place = (batch * kv_heads * group + head) * queries
        for query_tile in range(first, end):
            rows = query_tile * QUERY_TILE + tl.arange(0, QUERY_TILE)
            is_query = rows < queries
            query_position = tl.load(query_positions + batch * queries + rows, mask=is_query, other=-1)
            allowed_row = row_starts(allowed, batch * allowed_batch, rows, allowed_query)
            bias_row = row_starts(bias, batch * bias_batch + head * bias_head, rows, bias_query)
            Q = read(query_start + rows.to(tl.int64) * query_token, is_query, HEAD_DIM, HEAD_BLOCK)
            dO = read(grad_output + (place + rows) * VALUE_DIM, is_query, VALUE_DIM, VALUE_BLOCK)
            L = tl.load(log_total + place + rows, mask=is_query, other=0.0)
            D = tl.load(average + place + rows, mask=is_query, other=0.0)
            S = scores(Q, K, scale, SOFT_CAP)
            change = slope(S, scale, SOFT_CAP)
            S = masked(
                S,
                query_position,
                key_position,
                allowed_row,
                bias_row,
                is_query,
                is_key,
                columns,
                CAUSAL,
                WINDOW,
            )
            P = tl.exp(S - L[:, None])
            dV += product(tl.trans(P), dO)
            dS = P * (product(dO, tl.trans(V)) - D[:, None])
            dK += product(tl.trans(dS * change), Q)
    place = (batch * kv_heads + kv_head) * keys
    write(grad_key + (place + columns) * HEAD_DIM, is_key, dK, HEAD_DIM, HEAD_BLOCK)
    write(grad_value + (place + columns) * VALUE_DIM, is_key, dV, VALUE_DIM, VALUE_BLOCK)


def flash_backward(
    grad_output: Float[Tensor, "batch heads queries value_dim"],
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    output: Float[Tensor, "batch heads queries value_dim"],
    log_total: Float[Tensor, "batch heads queries"],
    mask: KernelMask,
    scale: float,
    soft_cap: float | None = None,
    bias: Float[Tensor, "#batch heads queries keys"] | None = None,
    sinks: Float[Tensor, "heads"] | None = None,
    bias_gets_gradient: bool = False,
    sizes: TileSizes | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """The gradients of the query, key, value, bias and sinks, from what `flash_forward` took and gave.

    >>> from llmref.kernels.flash_forward import flash_forward
    >>> query, key, value, grad = torch.randn(4, 1, 2, 20, 8).unbind()
    >>> positions = torch.arange(20)[None]
    >>> mask = KernelMask(positions, positions)
    >>> output, log_total = flash_forward(query, key, value, mask, scale=0.5)
    >>> gradients = flash_backward(grad, query, key, value, output, log_total, mask, scale=0.5)
    >>> twin = (0.5 * query.requires_grad_() @ key.mT).softmax(dim=-1) @ value
    >>> torch.allclose(gradients[0], torch.autograd.grad(twin, query, grad)[0], atol=1e-5)
    True
    """
    query, key, value = side_by_side(query), side_by_side(key), side_by_side(value)
    sizes = sizes or sizes_for(BACKWARD, query, value)
    (batch, heads, queries, _), (kv_heads, keys) = query.shape, key.shape[1:3]
    grad_output = grad_output.contiguous()
    average = (grad_output.float() * output.float()).sum(dim=-1)  # D
    grad_query, grad_key, grad_value = (
        torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key, value)
    )
    grad_bias = (
        query.new_zeros(batch, heads, queries, keys, dtype=torch.float32) if bias_gets_gradient else None
    )
    inputs = (
        *with_strides(query, 3),
        *with_strides(key, 3),
        *with_strides(value, 3),
        *with_strides(mask.allowed, 2),
        *with_strides(expanded(bias, batch), 3),
        mask.query_positions,
        mask.key_positions,
    )
    numbers = (queries, keys, heads // kv_heads, scale)
    compiled = dict(
        SOFT_CAP=soft_cap, CAUSAL=mask.causal, WINDOW=mask.window, **compiled_for(sizes, query, value)
    )
    query_kernel[triton.cdiv(queries, sizes.queries), heads, batch](
        *inputs,
        mask.key_ranges(sizes.queries, sizes.keys),
        *(log_total, average, grad_output, grad_query, grad_bias),
        *numbers,
        **compiled,
    )
    key_value_kernel[triton.cdiv(keys, sizes.keys), kv_heads, batch](
        *inputs,
        mask.query_ranges(sizes.queries, sizes.keys),
        *(log_total, average, grad_output, grad_key, grad_value),
        *numbers,
        **compiled,
    )
    if grad_bias is not None and bias is not None:
        grad_bias = grad_bias.sum_to_size(bias.shape).to(bias.dtype)
    grad_sinks = None
    if sinks is not None:  # a sink's value is 0, so all that it passes on is below the average
        weights = (sinks.float()[:, None] - log_total).exp()
        grad_sinks = -(weights * average).sum(dim=(0, 2)).to(sinks.dtype)
    return grad_query, grad_key, grad_value, grad_bias, grad_sinks
