"""Caches: a pass in any chunks, with any cache, gives the logits of one whole pass."""

from typing import Any

import pytest
import torch
from helpers import (
    CONTEXT_LENGTH,
    chunks,
    fresh_model,
    left_padded,
    logits_of,
    random_ids,
    small_config,
    small_model,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref.cache import Cache, GrowingCache, StaticCache
from llmref.config import ModelConfig
from llmref.model import sequential_positions

# The shape checker draws random numbers where a config is built.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

arrangements = st.sampled_from(
    [("pre", "serial"), ("post", "serial"), ("sandwich", "serial"), ("none", "serial"), ("pre", "parallel")]
)
configs = st.builds(
    lambda arrangement, **rest: small_config(norm_position=arrangement[0], residual=arrangement[1], **rest),
    arrangement=arrangements,
    n_kv_heads=st.sampled_from([4, 2, 1]),
    window=st.sampled_from([None, 1, 2, 5, 30]),
    layout=st.sampled_from(["half", "interleaved", None]),
    alibi=st.booleans(),
    positional_embedding=st.sampled_from([None, "sinusoidal", "learned"]),
    norm=st.sampled_from(["rms", "layer"]),
    tied_embeddings=st.booleans(),
)


def in_chunks(config: ModelConfig, ids: Tensor, positions: Tensor, sizes: list[int], cache: Cache) -> Tensor:
    pieces = zip(ids.split(sizes, dim=1), positions.split(sizes, dim=1), strict=True)
    with torch.no_grad():
        return torch.cat([small_model(config)(*piece, cache) for piece in pieces], dim=1)


@given(
    configs,
    st.integers(1, 24).flatmap(
        lambda total: st.tuples(st.just(total), chunks(total), st.integers(total, 48))
    ),
    st.booleans(),
)
def test_any_chunks_with_any_cache_give_the_logits_of_one_pass(
    config: ModelConfig, split: tuple[int, list[int], int], static: bool
) -> None:
    total, sizes, length = split
    ids = random_ids(2, total, seed=total)
    positions = sequential_positions(ids)
    cache = StaticCache(config, length, batch=2) if static else GrowingCache()
    found = in_chunks(config, ids, positions, sizes, cache)
    torch.testing.assert_close(found, logits_of(small_model(config), ids), rtol=1e-5, atol=1e-5)


@given(configs, st.lists(st.integers(1, 9), min_size=2, max_size=4), st.data())
def test_ragged_rows_in_chunks_give_each_rows_own_logits(
    config: ModelConfig, lengths: list[int], data: st.DataObject
) -> None:
    rows = [random_ids(length, seed=length).tolist() for length in lengths]
    ids, positions = left_padded(rows)
    sizes = data.draw(chunks(ids.shape[1]))
    cache = data.draw(st.sampled_from(["growing", "static"]))
    static = StaticCache(config, 20, batch=len(rows))
    found = in_chunks(config, ids, positions, sizes, static if cache == "static" else GrowingCache())
    assert found.isfinite().all()
    for row, tokens in enumerate(rows):
        alone = logits_of(small_model(config), torch.tensor([tokens]))[0]
        torch.testing.assert_close(found[row, -len(tokens) :], alone, rtol=1e-5, atol=1e-5)


def test_text_may_start_at_any_position() -> None:
    # Rotary scores know distances alone, so a text moved as a whole has the same logits.
    ids = random_ids(1, 9)
    with torch.no_grad():
        moved = small_model()(ids, sequential_positions(ids, start=20))
    torch.testing.assert_close(moved, logits_of(small_model(), ids), rtol=1e-3, atol=1e-4)


def test_a_cache_holds_what_its_config_says() -> None:
    config = small_config(n_kv_heads=2, head_dim=6, n_blocks=3)
    per_token = 3 * 2 * 2 * 6 * 4  # blocks, keys and values, heads, head_dim, bytes
    growing, static = GrowingCache(), StaticCache(config, length=20)
    assert growing.n_bytes == 0
    for cache in (growing, static):
        in_chunks(config, random_ids(1, 7), torch.arange(7)[None], [4, 3], cache)
    assert growing.n_bytes == 7 * per_token
    assert static.n_bytes == 20 * per_token
    half = StaticCache(config, length=20, dtype=torch.bfloat16)
    assert half.n_bytes == 10 * per_token


def test_a_static_cache_keeps_its_memory() -> None:
    config = small_config()
    cache = StaticCache(config, length=12)
    before = [tensor.data_ptr() for tensor in cache.keys + cache.values]
    in_chunks(config, random_ids(1, 12), torch.arange(12)[None], [1] * 12, cache)
    assert [tensor.data_ptr() for tensor in cache.keys + cache.values] == before


def test_more_tokens_than_a_static_cache_holds_is_an_error_that_changes_nothing() -> None:
    config = small_config()
    cache = StaticCache(config, length=5)
    positions = torch.arange(9)[None]
    in_chunks(config, random_ids(1, 3), positions[:, :3], [3], cache)
    with pytest.raises(ValueError, match="holds 5 tokens; it has 3, and 4 more do not fit"):
        in_chunks(config, random_ids(1, 4), positions[:, 3:7], [4], cache)
    rest = in_chunks(config, random_ids(1, 2), positions[:, 3:5], [2], cache)
    ids = torch.cat([random_ids(1, 3), random_ids(1, 2)], dim=1)
    torch.testing.assert_close(rest, logits_of(small_model(config), ids)[:, 3:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [GrowingCache, lambda: StaticCache(small_config(), 9, batch=2)])
def test_another_batch_is_an_error(make: Any) -> None:
    cache = make()
    in_chunks(small_config(), random_ids(2, 3), torch.arange(3).expand(2, 3), [3], cache)
    with pytest.raises(ValueError, match="holds 2 rows, found a batch of 3"):
        in_chunks(small_config(), random_ids(3, 1), torch.full((3, 1), 3), [1], cache)


@pytest.mark.parametrize(("length", "batch"), [(0, 1), (4, 0), (-1, 1)])
def test_a_static_cache_needs_room(length: int, batch: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, found {length} and {batch}"):
        StaticCache(small_config(), length, batch)


def test_a_bad_id_leaves_the_cache_as_it_was() -> None:
    model, cache = fresh_model(), StaticCache(small_config(), CONTEXT_LENGTH)
    with pytest.raises(ValueError, match="token ids"):
        model(torch.tensor([[61]]), torch.tensor([[0]]), cache)
    assert cache.used == 0
