"""Tiled attention: the naive twin however it is cut, linear in memory, its bytes those of the formula."""

from math import ceil

import pytest
import torch
from helpers import fresh_model, random_ids, small_config
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref.attention import (
    Mask,
    PlacedMask,
    blocks,
    causal,
    dot_product_attention,
    global_tokens,
    random_blocks,
    strided,
    window,
)
from llmref.attention.flash import naive_attention, tiled_attention
from llmref.attention.memory import PeakMemory, SlowMemory
from llmref.attention.scoring import PLAIN, Scoring

MASKS = [
    causal(),
    causal() & window(3),
    causal() & (window(2) | strided(4)),
    causal() & blocks(5),
    causal() & (window(3) | global_tokens(2)),
    causal() & (window(2) | random_blocks(3, 1, seed=0)),
    causal() | ~causal(),
]


def inputs(queries: int, keys: int, dtype: torch.dtype, head_dim: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(queries + 100 * keys)
    return [
        torch.randn(2, 3, tokens, head_dim, generator=generator, dtype=torch.float64).to(dtype)
        for tokens in (queries, keys, keys)
    ]


def placed(mask: Mask, queries: int, keys: int) -> PlacedMask:
    """Two rows, the second with padding on its left; the queries are the last of the keys."""
    positions = torch.stack([torch.arange(keys), torch.arange(keys) - 4]).clamp(min=-1)
    return mask.at(positions[:, keys - queries :], positions)


def ragged(mask: Mask, queries: int, keys: int) -> Tensor:
    return placed(mask, queries, keys).dense()


@given(
    mask=st.sampled_from(MASKS),
    queries=st.integers(1, 19),
    more_keys=st.integers(0, 6),
    query_tile=st.integers(1, 20),
    key_tile=st.integers(1, 26),
    kv_heads=st.sampled_from([1, 2, 4]),
    value_dim=st.integers(1, 9),
    scale=st.sampled_from([None, 0.7]),
    cap=st.sampled_from([None, 2.0]),
    bias_rows=st.sampled_from([None, 1, 2]),
    with_sinks=st.booleans(),
)
def test_it_is_the_naive_twin_however_it_is_cut(
    mask: Mask,
    queries: int,
    more_keys: int,
    query_tile: int,
    key_tile: int,
    kv_heads: int,
    value_dim: int,
    scale: float | None,
    cap: float | None,
    bias_rows: int | None,
    with_sinks: bool,
) -> None:
    keys, generator = queries + more_keys, torch.Generator().manual_seed(1)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    query, key, value = (
        numbers(2, 4, queries, 6),
        numbers(2, kv_heads, keys, 6),
        numbers(2, kv_heads, keys, value_dim),
    )
    bias = None if bias_rows is None else numbers(bias_rows, 4, queries, keys)
    sinks = numbers(4) if with_sinks else None
    scoring = Scoring(scale, cap, bias, sinks)
    wanted = [tensor for tensor in (query, key, value, bias, sinks) if tensor is not None]
    lazy = placed(mask, queries, keys)
    copied = [tensor.repeat_interleave(4 // kv_heads, dim=1) for tensor in (key, value)]
    naive = scoring.attention(query, *copied, lazy.dense())
    tiled = tiled_attention(query, key, value, lazy, scoring, query_tile, key_tile)
    torch.testing.assert_close(tiled, naive, rtol=1e-12, atol=1e-12)
    assert not tiled.transpose(1, 2)[~lazy.dense().any(dim=-1)].any()  # who sees nothing gets exactly 0
    weights = torch.linspace(-1, 1, naive.numel(), dtype=naive.dtype).reshape(naive.shape)
    expected, found = (torch.autograd.grad((some * weights).sum(), wanted) for some in (naive, tiled))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in inputs(3, 3, torch.float64))
    output = tiled_attention(query, key, value, ragged(causal(), 3, 3))
    (gradient,) = torch.autograd.grad(output.square().sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("mask", MASKS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_its_error_is_no_more_than_twice_that_of_the_naive_twin(dtype: torch.dtype, mask: Mask) -> None:
    allowed = ragged(mask, 70, 75)
    tensors = inputs(70, 75, dtype, head_dim=16)
    exact = dot_product_attention(*(tensor.double() for tensor in tensors), allowed)
    naive = dot_product_attention(*tensors, allowed)
    tiled = tiled_attention(*tensors, allowed, query_tile=16, key_tile=24)
    assert tiled.dtype == dtype
    assert (tiled - exact).abs().max() <= 2 * (naive - exact).abs().max()


def test_a_mask_may_come_tile_by_tile_with_none_for_an_empty_one() -> None:
    query, key, value = inputs(20, 20, torch.float64)
    allowed, asked = ragged(causal() & window(3), 20, 20), []

    def tile(rows: slice, columns: slice) -> Tensor | None:
        asked.append((rows, columns))
        return allowed[:, rows, columns] if columns.start < rows.stop else None

    tiled = tiled_attention(query, key, value, tile, query_tile=8, key_tile=4)
    torch.testing.assert_close(tiled, dot_product_attention(query, key, value, allowed))
    assert len(asked) == 3 * 5


def test_large_scores_neither_overflow_nor_vanish() -> None:
    query, key, value = inputs(9, 9, torch.float32)
    allowed = ragged(causal(), 9, 9)
    for size in (1e3, -1e3, 1e-4):
        tiled = tiled_attention(size * query, key, value, allowed, query_tile=2, key_tile=2)
        torch.testing.assert_close(tiled, dot_product_attention(size * query, key, value, allowed))


def test_an_empty_tile_is_an_error() -> None:
    query, key, value = inputs(2, 2, torch.float32)
    with pytest.raises(ValueError, match="at least 1 query and 1 key, found 0 and 128"):
        tiled_attention(query, key, value, ragged(causal(), 2, 2), query_tile=0)


def test_a_model_trains_alike_with_it() -> None:
    config, ids = small_config(), random_ids(1, 11)
    gradients = []
    for backend in ("naive", "tiled"):
        model = fresh_model(config, dtype=torch.float64)
        with model.attention_backend(backend):  # type: ignore[arg-type]
            model(ids, torch.arange(11)[None]).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-9)


# Bytes between slow and fast memory


@pytest.mark.parametrize("mask", MASKS, ids=repr)
@pytest.mark.parametrize(("tokens", "query_tile", "key_tile"), [(16, 4, 4), (19, 4, 7), (5, 8, 8)])
def test_the_bytes_counted_are_those_of_the_formula(
    mask: Mask, tokens: int, query_tile: int, key_tile: int
) -> None:
    query, key, value = inputs(tokens, tokens, torch.float32)
    allowed = mask.dense(torch.arange(tokens).expand(2, tokens), torch.arange(tokens).expand(2, tokens))
    batch, heads, _, head_dim = query.shape
    vectors, matrix = batch * heads * tokens * head_dim, batch * heads * tokens * tokens

    memory = SlowMemory()
    naive = naive_attention(query, key, value, allowed, memory)
    assert torch.equal(naive, dot_product_attention(query, key, value, allowed))
    assert memory.loaded == 4 * (3 * vectors + 2 * matrix)  # query, key, scores; weights, value
    assert memory.stored == 4 * (vectors + 2 * matrix)  # scores, weights, output

    memory = SlowMemory()
    tiled_attention(query, key, value, allowed, PLAIN, query_tile, key_tile, memory)
    keys_loaded = sum(  # a tile of keys is read once for each tile of queries that looks at any of them
        len(range(k, min(k + key_tile, tokens)))
        for q in range(0, tokens, query_tile)
        for k in range(0, tokens, key_tile)
        if allowed[:, q : q + query_tile, k : k + key_tile].any()
    )
    assert memory.loaded == 4 * (vectors + 2 * batch * heads * keys_loaded * head_dim)
    assert memory.stored == 4 * (vectors + batch * heads * tokens)  # output; one number for the backward pass
    if repr(mask) == repr(causal() | ~causal()):
        assert keys_loaded == ceil(tokens / query_tile) * tokens


def test_a_bias_is_loaded_tile_by_tile() -> None:
    query, key, value = inputs(16, 16, torch.float32)
    allowed = ragged(causal() | ~causal(), 16, 16)
    moved = []
    for bias in (None, torch.zeros(1, 3, 16, 16)):
        memory = SlowMemory()
        tiled_attention(query, key, value, allowed, Scoring(bias=bias), 4, 4, memory)
        moved.append(memory.loaded)
    assert moved[1] - moved[0] == 4 * 3 * 16 * 16


# Memory


def test_the_peak_is_that_of_what_is_alive() -> None:
    kept = torch.zeros(100)
    with PeakMemory() as memory:
        first = kept + 1  # 400 bytes
        second = first[:50]  # a view: nothing new
        del first
        second.add_(1)  # in place: nothing new
        third = torch.cat([second, second, second])  # 600 more
        del second, third
        torch.zeros(10)
    assert memory.peak == 1000


@pytest.mark.parametrize("train", [False, True])
def test_its_memory_grows_with_the_length_and_that_of_the_naive_twin_with_its_square(train: bool) -> None:
    def attention(tokens: int, tiled: bool) -> None:
        positions = torch.arange(tokens)[None]
        query, key, value = (torch.zeros(1, 1, tokens, 8, requires_grad=train) for _ in range(3))
        if tiled:
            output = tiled_attention(
                query,
                key,
                value,
                causal().at(positions, positions),
                query_tile=32,
                key_tile=32,
            )
        else:
            output = dot_product_attention(query, key, value, causal().dense(positions, positions))
        if train:
            output.sum().backward()

    def peak(tokens: int, tiled: bool) -> int:
        with PeakMemory() as memory:
            attention(tokens, tiled)
        return memory.peak

    growth = {tiled: peak(512, tiled) / peak(256, tiled) for tiled in (False, True)}
    assert growth[True] < 2.1
    assert growth[False] > 3.8
