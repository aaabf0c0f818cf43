"""FlashAttention in plain PyTorch: exact attention in tiles, with no queries × keys matrix in slow memory.

Source: Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness" (2022),
section 3.1, algorithm 1 forward and appendix B.4 backward; the loops in the order of Dao, "FlashAttention-2"
(2023), section 3.1, where a tile of queries stays in fast memory until it is done. On a GPU "fast" is the
memory on the chip. Here it is whatever one tile's numbers fit into, so a processor's cache gains as well.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmref.attention.dot_product import attention_weights, combine, relevance_scores
from llmref.attention.masks import PlacedMask
from llmref.attention.memory import SlowMemory
from llmref.attention.scoring import PLAIN, Scoring, soft_cap

TileMask = Callable[[slice, slice], Tensor | None]
"""From a slice of queries and one of keys, the mask of that tile, or `None` where nothing is allowed."""


def naive_attention(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    value: Float[Tensor, "batch heads keys head_dim"],
    allowed: Bool[Tensor, "batch queries keys"],
    memory: SlowMemory,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """The naive steps, each reading its input from slow memory and writing its result back.

    Source: Dao et al. (2022), section 2.2, algorithm 0. As there, the mask is not counted.

    >>> memory, x = SlowMemory(), torch.zeros(1, 1, 8, 2)
    >>> _ = naive_attention(x, x, x, torch.ones(1, 8, 8, dtype=torch.bool), memory)
    >>> memory.moved == 4 * (4 * 8 * 2 + 4 * 8 * 8)  # 4 bytes; four times queries × head_dim, and × keys
    True
    """
    scores = memory.store(relevance_scores(memory.load(query), memory.load(key)))
    weights = memory.store(attention_weights(memory.load(scores), allowed))
    return memory.store(combine(memory.load(weights), memory.load(value)))


def tiled_attention(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    allowed: Bool[Tensor, "batch queries keys"] | PlacedMask | TileMask,
    scoring: Scoring = PLAIN,
    query_tile: int = 128,
    key_tile: int = 128,
    memory: SlowMemory | None = None,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Both steps of attention, a tile of queries and a tile of keys at a time.

    Sums run in float32 at least. The backward pass computes the weights of each tile again, so that it too
    needs no more memory than grows with the length.

    Args:
        query: The queries.
        key: The keys. They may have fewer heads, which query heads then share; only tiles of them are copied.
        value: The values, as many heads as the keys have.
        allowed: Which keys each query may look at: the whole mask, or one that is not yet written out, or a
            function that makes a tile of it, so that not even the mask is ever whole. Tiles in which nothing
            is allowed are left out.
        scoring: What is done to the scores. Its bias and its sinks get gradients as well.
        query_tile: How many queries a tile has; the last one may have fewer.
        key_tile: How many keys.
        memory: Counts the bytes that the forward pass loads and stores. As the mask is a rule that each tile
            can apply by itself, it is not counted.

    Raises:
        ValueError: If a tile would be empty.

    >>> from llmref.attention import causal, dot_product_attention
    >>> query, key, value = torch.randn(3, 1, 2, 50, 8).unbind()
    >>> positions = torch.arange(50)[None]
    >>> naive = dot_product_attention(query, key, value, causal().dense(positions, positions))
    >>> placed = causal().at(positions, positions)
    >>> tiled = tiled_attention(query, key, value, placed, query_tile=16, key_tile=16)
    >>> torch.allclose(tiled, naive, atol=1e-6)
    True
    """
    if query_tile < 1 or key_tile < 1:
        raise ValueError(f"a tile holds at least 1 query and 1 key, found {query_tile} and {key_tile}")
    if isinstance(allowed, Tensor):
        whole = allowed

        def allowed(rows: slice, columns: slice) -> Tensor | None:
            return whole[:, rows, columns]

    elif isinstance(allowed, PlacedMask):
        allowed = allowed.tile
    tiles = _Tiles(allowed, query_tile, key_tile, memory or SlowMemory())
    # What gets a gradient must be an argument of its own; the rest of the scoring travels beside.
    output: Tensor = _TiledAttention.apply(query, key, value, scoring.bias, scoring.sinks, scoring, tiles)
    return output


@dataclass
class _Tiles:
    """How a pass is cut, and what it counts."""

    allowed: TileMask
    query_tile: int
    key_tile: int
    memory: SlowMemory

    def rows(self, queries: int) -> Iterator[slice]:
        for start in range(0, queries, self.query_tile):
            yield slice(start, min(start + self.query_tile, queries))

    def columns(self, rows: slice, keys: int) -> Iterator[tuple[slice, Tensor]]:
        """The tiles of keys that these queries look at, each with its mask."""
        for start in range(0, keys, self.key_tile):
            columns = slice(start, min(start + self.key_tile, keys))
            allowed = self.allowed(rows, columns)
            if allowed is not None and allowed.any():
                yield columns, allowed


def copied_heads(
    x: Float[Tensor, "batch kv_heads keys head_dim"], n_heads: int
) -> Float[Tensor, "batch heads keys head_dim"]:
    """One copy of each head for each of the query heads that share it."""
    return x if x.shape[1] == n_heads else x.repeat_interleave(n_heads // x.shape[1], dim=1)


def tiled_forward(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    scoring: Scoring,
    tiles: _Tiles,
) -> tuple[Float[Tensor, "batch heads queries value_dim"], Float[Tensor, "batch heads queries 1"]]:
    """The online softmax: what each query looks at, and the logarithm of its sum for the backward pass."""
    load, store = tiles.memory.load, tiles.memory.store
    sums_in, n_heads = torch.promote_types(query.dtype, torch.float32), query.shape[1]
    output = query.new_empty(*query.shape[:3], value.shape[3])
    log_total = torch.empty_like(query[..., :1], dtype=sums_in)
    for rows in tiles.rows(query.shape[2]):
        some_queries = load(query[:, :, rows]).to(sums_in) * scoring.scale_for(query.shape[3])
        mix = some_queries.new_zeros(*some_queries.shape[:3], value.shape[3])
        total = torch.zeros_like(some_queries[..., :1])
        highest = torch.full_like(total, torch.finfo(sums_in).min)  # not -inf: -inf - -inf is no number
        if scoring.sinks is not None:  # a sink is the first score seen, that of a key with no value
            total = torch.ones_like(total)
            highest = load(scoring.sinks).to(sums_in)[:, None, None].expand_as(total)
        for columns, allowed in tiles.columns(rows, key.shape[2]):
            some_keys, some_values = (
                copied_heads(load(x[:, :, columns]).to(sums_in), n_heads) for x in (key, value)
            )
            scores = some_queries @ some_keys.mT
            if scoring.soft_cap is not None:
                scores = soft_cap(scores, scoring.soft_cap)
            if scoring.bias is not None:
                scores += load(scoring.bias[:, :, rows, columns])
            if not allowed.all():
                scores.masked_fill_(~allowed[:, None], -math.inf)
            before, highest = highest, torch.maximum(highest, scores.amax(dim=-1, keepdim=True))
            weights = scores.sub_(highest).exp_()
            rescale = (before - highest).exp_()  # what was summed so far was relative to a lower score
            total.mul_(rescale).add_(weights.sum(dim=-1, keepdim=True))
            mix.mul_(rescale).add_(weights @ some_values)
        # The highest score counts 1, so a sum is at least 1; that of a query that sees nothing is 0.
        total.clamp_(min=1)
        output[:, :, rows] = store((mix / total).to(query.dtype))
        log_total[:, :, rows] = store(highest + total.log())
    return output, log_total


class _TiledAttention(torch.autograd.Function):
    """The forward pass above, and a backward pass that computes each tile's weights again."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        sinks: Tensor | None,
        scoring: Scoring,
        tiles: _Tiles,
    ) -> Tensor:
        output, log_total = tiled_forward(query, key, value, scoring, tiles)
        ctx.save_for_backward(query, key, value, bias, sinks, output, log_total)
        ctx.scale, ctx.soft_cap, ctx.tiles = scoring.scale_for(query.shape[3]), scoring.soft_cap, tiles
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, bias, sinks, output, log_total = ctx.saved_tensors
        tiles: _Tiles = ctx.tiles
        sums_in, n_heads = log_total.dtype, query.shape[1]
        grad_query, grad_key, grad_value = (torch.zeros_like(x, dtype=sums_in) for x in (query, key, value))
        grad_bias = torch.zeros_like(bias) if ctx.needs_input_grad[3] else None
        grad_sinks = torch.zeros_like(sinks, dtype=sums_in) if ctx.needs_input_grad[4] else None
        for rows in tiles.rows(query.shape[2]):
            some_queries = (
                query[:, :, rows].to(sums_in) * ctx.scale
            )  # as in the forward pass, to the last digit
            some_outputs, some_grads = (x[:, :, rows].to(sums_in) for x in (output, grad_output))
            # The softmax passes on how far each weight's gradient is above their average, which is this.
            average = (some_grads * some_outputs).sum(dim=-1, keepdim=True)
            for columns, allowed in tiles.columns(rows, key.shape[2]):
                some_keys, some_values = (
                    copied_heads(x[:, :, columns].to(sums_in), n_heads) for x in (key, value)
                )
                scores, slope = some_queries @ some_keys.mT, 1.0
                if ctx.soft_cap is not None:
                    scores = soft_cap(scores, ctx.soft_cap)
                    slope = 1 - (scores / ctx.soft_cap).square()
                if bias is not None:
                    scores += bias[:, :, rows, columns]
                scores.masked_fill_(~allowed[:, None], -math.inf)
                weights = (scores - log_total[:, :, rows]).exp_()
                grad_scores = weights * (some_grads @ some_values.mT - average)
                if grad_bias is not None:
                    tile = grad_bias[:, :, rows, columns]
                    tile += grad_scores.sum_to_size(tile.shape).to(tile.dtype)
                grad_products = grad_scores * slope
                grad_query[:, :, rows] += grad_products @ some_keys * ctx.scale
                # Heads that were shared get what all their sharers pass back.
                shared = (-1, n_heads // key.shape[1])
                grad_key[:, :, columns] += (grad_products.mT @ some_queries).unflatten(1, shared).sum(dim=2)
                grad_value[:, :, columns] += (weights.mT @ some_grads).unflatten(1, shared).sum(dim=2)
            if grad_sinks is not None:  # a sink's value is 0, so all that it passes on is below the average
                weights = (sinks.to(sums_in)[:, None, None] - log_total[:, :, rows]).exp_()
                grad_sinks -= (weights * average).sum(dim=(0, 2, 3))
        return (
            grad_query.to(query.dtype),
            grad_key.to(key.dtype),
            grad_value.to(value.dtype),
            grad_bias,
            None if grad_sinks is None else grad_sinks.to(sinks.dtype),
            None,
            None,
        )
