"""The forward pass of FlashAttention: one program for each tile of queries of each head.

Source: Dao, "FlashAttention-2" (2023), section 3.1. The twin of `llmref.attention.flash.tiled_forward`: the
equations of the page about FlashAttention, with its letters.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from llmref.kernels.launch import (
    FORWARD,
    TileSizes,
    compiled_for,
    expanded,
    side_by_side,
    sizes_for,
    with_strides,
)
from llmref.kernels.mask import KernelMask
from llmref.kernels.tile import LOWEST, masked, product, read, row_starts, scores, write


@triton.jit
@no_type_check
def forward_kernel(
    query, query_batch, query_head, query_token,  # a tensor and its strides
    key, key_batch, key_head, key_token,
    value, value_batch, value_head, value_token,
    allowed, allowed_batch, allowed_query,
    bias, bias_batch, bias_head, bias_query,
    sinks, query_positions, key_positions, key_ranges,
    output, log_total,
    queries, keys, group, scale,
    SOFT_CAP: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    HEAD_DIM: tl.constexpr, HEAD_BLOCK: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_BLOCK: tl.constexpr,
    QUERY_TILE: tl.constexpr, KEY_TILE: tl.constexpr,
):  # fmt: skip
    """One tile of queries of one head: writes O, and m + log l for the backward pass."""
    tile, head, batch = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    tiles, heads = tl.num_programs(0), tl.num_programs(1)
    query_start = query + batch * query_batch + head * query_head
    key_start = key + batch * key_batch + head // group * key_head
    value_start = value + batch * value_batch + head // group * value_head

    rows = tile * QUERY_TILE + tl.arange(0, QUERY_TILE)
    is_query = rows < queries
    query_position = tl.load(query_positions + batch * queries + rows, mask=is_query, other=-1)
    allowed_row = row_starts(allowed, batch * allowed_batch, rows, allowed_query)
    bias_row = row_starts(bias, batch * bias_batch + head * bias_head, rows, bias_query)

    Q = read(query_start + rows.to(tl.int64) * query_token, is_query, HEAD_DIM, HEAD_BLOCK)
    m = tl.full([QUERY_TILE], LOWEST, tl.float32)  # the highest score so far
    l = tl.zeros([QUERY_TILE], tl.float32)  # the sum of the weights so far
    O = tl.zeros([QUERY_TILE, VALUE_BLOCK], tl.float32)  # the mix of the values so far
    if sinks is not None:  # a sink is the first score seen, that of a key with no value
        m = m * 0.0 + tl.load(sinks + head).to(tl.float32)
        l = l + 1.0
    first = tl.load(key_ranges + 2 * (batch * tiles + tile))
    end = tl.load(key_ranges + 2 * (batch * tiles + tile) + 1)
    for key_tile in range(first, end):
        columns = key_tile * KEY_TILE + tl.arange(0, KEY_TILE)
        is_key = columns < keys
        key_position = tl.load(key_positions + batch * keys + columns, mask=is_key, other=-1)
        K = read(key_start + columns.to(tl.int64) * key_token, is_key, HEAD_DIM, HEAD_BLOCK)
        V = read(value_start + columns.to(tl.int64) * value_token, is_key, VALUE_DIM, VALUE_BLOCK)
        S = scores(Q, K, scale, SOFT_CAP)
        S = masked(
            S, query_position, key_position, allowed_row, bias_row, is_query, is_key, columns, CAUSAL, WINDOW
        )
        m_new = tl.maximum(m, tl.max(S, axis=1))  # m' = max(m, max S)
        P = tl.exp(S - m_new[:, None])  # the weights, relative to m'
        rescale = tl.exp(m - m_new)
        l = rescale * l + tl.sum(P, axis=1)  # l' = exp(m - m') l + sum of exp(S - m')
        O = rescale[:, None] * O + product(P, V)  # O' = exp(m - m') O + exp(S - m') V
        m = m_new
    l = tl.maximum(l, 1.0)  # the highest score counts 1; only where no key was seen is l smaller, 0

    place = (batch * heads + head) * queries
    write(output + (place + rows) * VALUE_DIM, is_query, O / l[:, None], VALUE_DIM, VALUE_BLOCK)
    tl.store(log_total + place + rows, m + tl.log(l), mask=is_query)


def flash_forward(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    mask: KernelMask,
    scale: float,
    soft_cap: float | None = None,
    bias: Float[Tensor, "#batch heads queries keys"] | None = None,
    sinks: Float[Tensor, "heads"] | None = None,
    sizes: TileSizes | None = None,
) -> tuple[Float[Tensor, "batch heads queries value_dim"], Float[Tensor, "batch heads queries"]]:
    """Attention, and the logarithm of each query's sum of weights for `flash_backward`.

    >>> query, key, value = torch.randn(3, 1, 2, 20, 8).unbind()
    >>> positions = torch.arange(20)[None]
    >>> output, _ = flash_forward(query, key, value, KernelMask(positions, positions, causal=True), scale=0.5)
    >>> weights = (0.5 * query @ key.mT).masked_fill(positions > positions.mT, -torch.inf).softmax(dim=-1)
    >>> torch.allclose(output, weights @ value, atol=1e-5)
    True
    """
    query, key, value = side_by_side(query), side_by_side(key), side_by_side(value)
    sizes = sizes or sizes_for(FORWARD, query, value)
    (batch, heads, queries, _), (kv_heads, keys) = query.shape, key.shape[1:3]
    output = query.new_empty(batch, heads, queries, value.shape[3])
    log_total = query.new_empty(batch, heads, queries, dtype=torch.float32)
    forward_kernel[triton.cdiv(queries, sizes.queries), heads, batch](
        *with_strides(query, 3),
        *with_strides(key, 3),
        *with_strides(value, 3),
        *with_strides(mask.allowed, 2),
        *with_strides(expanded(bias, batch), 3),
        sinks,
        mask.query_positions,
        mask.key_positions,
        mask.key_ranges(sizes.queries, sizes.keys),
        output,
        log_total,
        *(queries, keys, heads // kv_heads, scale),
        SOFT_CAP=soft_cap,
        CAUSAL=mask.causal,
        WINDOW=mask.window,
        **compiled_for(sizes, query, value),
    )
    return output, log_total
