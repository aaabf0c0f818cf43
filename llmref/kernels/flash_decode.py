"""A step of decoding: few queries and many cached keys, which are split so that the whole chip has work.

Source: Dao, Haziza, Massa and Sizov, "Flash-Decoding for long-context inference" (2023). The first kernel is
the forward pass over one stretch of the keys. The query heads that share a key head are the rows of one tile,
so that a key is read once for all of them. The second kernel combines the stretches, by the same equations
that combine tiles.
"""

from dataclasses import replace
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from llmref.kernels.launch import (
    DECODE,
    TileSizes,
    block,
    compiled_for,
    expanded,
    programs,
    side_by_side,
    sizes_for,
    with_strides,
)
from llmref.kernels.mask import KernelMask
from llmref.kernels.tile import LOWEST, masked, product, read, row_starts, scores, write

MOST_ROWS = 64
"""The most queries times heads that share a key head: what one tile holds."""


@triton.jit
@no_type_check
def stretch_kernel(
    query, query_batch, query_head, query_token,  # a tensor and its strides
    key, key_batch, key_head, key_token,
    value, value_batch, value_head, value_token,
    allowed, allowed_batch, allowed_query,
    bias, bias_batch, bias_head, bias_query,
    query_positions, key_positions, key_ranges,
    stretch_output, stretch_log_total,
    queries, keys, group, scale,
    SOFT_CAP: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    HEAD_DIM: tl.constexpr, HEAD_BLOCK: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_BLOCK: tl.constexpr,
    QUERY_TILE: tl.constexpr, KEY_TILE: tl.constexpr,
):  # fmt: skip
    """One stretch of the keys, for all query heads that share one key head: writes O and m + log l."""
    stretch, kv_head, batch = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    stretches, kv_heads = tl.num_programs(0), tl.num_programs(1)
    key_start = key + batch * key_batch + kv_head * key_head
    value_start = value + batch * value_batch + kv_head * value_head

    row = tl.arange(0, QUERY_TILE)  # the queries of the first head, those of the second, …
    is_query = row < group * queries
    head, number = kv_head * group + row // queries, row % queries
    query_position = tl.load(query_positions + batch * queries + number, mask=is_query, other=-1)
    allowed_row = row_starts(allowed, batch * allowed_batch, number, allowed_query)
    bias_row = row_starts(bias, batch * bias_batch + head * bias_head, number, bias_query)

    Q = read(
        query + batch * query_batch + head * query_head + number * query_token, is_query, HEAD_DIM, HEAD_BLOCK
    )
    m = tl.full([QUERY_TILE], LOWEST, tl.float32)
    l = tl.zeros([QUERY_TILE], tl.float32)
    O = tl.zeros([QUERY_TILE, VALUE_BLOCK], tl.float32)
    first, end = tl.load(key_ranges + 2 * batch), tl.load(key_ranges + 2 * batch + 1)
    length = tl.cdiv(end - first, stretches)
    first = first + stretch * length
    for key_tile in range(first, tl.minimum(first + length, end)):
        columns = key_tile * KEY_TILE + tl.arange(0, KEY_TILE)
        is_key = columns < keys
        key_position = tl.load(key_positions + batch * keys + columns, mask=is_key, other=-1)
        K = read(key_start + columns.to(tl.int64) * key_token, is_key, HEAD_DIM, HEAD_BLOCK)
        V = read(value_start + columns.to(tl.int64) * value_token, is_key, VALUE_DIM, VALUE_BLOCK)
        S = scores(Q, K, scale, SOFT_CAP)
        S = masked(
            S, query_position, key_position, allowed_row, bias_row, is_query, is_key, columns, CAUSAL, WINDOW
        )
        m_new = tl.maximum(m, tl.max(S, axis=1))
        P = tl.exp(S - m_new[:, None])
        rescale = tl.exp(m - m_new)
        l = rescale * l + tl.sum(P, axis=1)
        O = rescale[:, None] * O + product(P, V)
        m = m_new
    l = tl.maximum(l, 1.0)

    place = ((batch * kv_heads * group + head) * queries + number) * stretches + stretch
    write(stretch_output + place * VALUE_DIM, is_query, O / l[:, None], VALUE_DIM, VALUE_BLOCK)
    tl.store(stretch_log_total + place, m + tl.log(l), mask=is_query)


@triton.jit
@no_type_check
def combine_kernel(
    stretch_output, stretch_log_total, sinks, output,
    stretches, VALUE_DIM: tl.constexpr, VALUE_BLOCK: tl.constexpr, STRETCH_BLOCK: tl.constexpr,
):  # fmt: skip
    """One query of one head: a stretch counts as much as the sum of its weights, exp(m + log l)."""
    number, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    place = (batch * tl.num_programs(1) + head) * tl.num_programs(0) + number
    stretch = place * stretches + tl.arange(0, STRETCH_BLOCK)
    is_stretch = tl.arange(0, STRETCH_BLOCK) < stretches
    log_total = tl.load(stretch_log_total + stretch, mask=is_stretch, other=LOWEST)
    O = read(stretch_output + stretch * VALUE_DIM, is_stretch, VALUE_DIM, VALUE_BLOCK)
    m = tl.max(log_total, axis=0)
    if sinks is not None:
        m = tl.maximum(m, tl.load(sinks + head).to(tl.float32))
    weights = tl.exp(log_total - m)
    l = tl.sum(weights, axis=0)
    if sinks is not None:
        l += tl.exp(tl.load(sinks + head).to(tl.float32) - m)
    dims = tl.arange(0, VALUE_BLOCK)
    mix = tl.sum(weights[:, None] * O, axis=0) / l
    tl.store(output + place * VALUE_DIM + dims, mix.to(output.dtype.element_ty), mask=dims < VALUE_DIM)


def flash_decode(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    mask: KernelMask,
    scale: float,
    soft_cap: float | None = None,
    bias: Float[Tensor, "#batch heads queries keys"] | None = None,
    sinks: Float[Tensor, "heads"] | None = None,
    stretches: int | None = None,
    sizes: TileSizes | None = None,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """What `flash_forward` gives, for few queries and without gradients.

    Args:
        query: The queries; with the heads that share a key head at most `MOST_ROWS`.
        key: The keys, cached ones and those of the queries.
        value: The values.
        mask: Which keys each query may look at.
        scale: What the dot products are multiplied by.
        soft_cap: Scores are bent so that they stay between minus this and this.
        bias: What is added to the scores.
        sinks: One more score for each head in the softmax.
        stretches: Into how many the keys are split; as many as keep the chip busy if not given.
        sizes: The sizes of the tiles.

    Raises:
        ValueError: If there are more queries than that.

    >>> query, (key, value) = torch.randn(1, 4, 1, 8), torch.randn(2, 1, 2, 50, 8).unbind()
    >>> mask = KernelMask(torch.tensor([[49]]), torch.arange(50)[None], causal=True, window=30)
    >>> output = flash_decode(query, key, value, mask, scale=0.5, stretches=3)
    >>> seen = [x[:, :, 20:].repeat_interleave(2, dim=1) for x in (key, value)]
    >>> torch.allclose(output, (0.5 * query @ seen[0].mT).softmax(dim=-1) @ seen[1], atol=1e-5)
    True
    """
    query, key, value = side_by_side(query), side_by_side(key), side_by_side(value)
    (batch, heads, queries, _), (kv_heads, keys), value_dim = query.shape, key.shape[1:3], value.shape[3]
    rows = heads // kv_heads * queries
    if rows > MOST_ROWS:
        raise ValueError(
            f"decoding takes at most {MOST_ROWS} queries times heads that share a key, found {rows}"
        )
    sizes = replace(sizes or sizes_for(DECODE, query, value), queries=block(rows))
    if stretches is None:
        stretches = min(triton.cdiv(programs(query.device), batch * kv_heads), triton.cdiv(keys, sizes.keys))
    output = query.new_empty(batch, heads, queries, value_dim)
    stretch_output = query.new_empty(batch, heads, queries, stretches, value_dim, dtype=torch.float32)
    stretch_log_total = query.new_empty(batch, heads, queries, stretches, dtype=torch.float32)
    stretch_kernel[stretches, kv_heads, batch](
        *with_strides(query, 3),
        *with_strides(key, 3),
        *with_strides(value, 3),
        *with_strides(mask.allowed, 2),
        *with_strides(expanded(bias, batch), 3),
        mask.query_positions,
        mask.key_positions,
        mask.key_ranges(queries, sizes.keys),
        stretch_output,
        stretch_log_total,
        *(queries, keys, heads // kv_heads, scale),
        SOFT_CAP=soft_cap,
        CAUSAL=mask.causal,
        WINDOW=mask.window,
        **compiled_for(sizes, query, value),
    )
    combine_kernel[queries, heads, batch](
        *(stretch_output, stretch_log_total, sinks, output, stretches),
        VALUE_DIM=value_dim,
        VALUE_BLOCK=block(value_dim),
        STRETCH_BLOCK=block(stretches),
    )
    return output
