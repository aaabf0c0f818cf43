"""Caches: a pass in any chunks, with any cache, gives the logits of one whole pass."""

from typing import Any

import pytest
import torch
from helpers import (
    CACHES,
    CONTEXT_LENGTH,
    chunks,
    fresh_model,
    left_padded,
    logits_of,
    make_cache,
    random_ids,
    right_padded,
    small_config,
    small_model,
    with_windows,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref.cache import Cache, GrowingCache, QuantizedCache, RollingCache, StaticCache
from llmref.config import BlockConfig, FeedForwardConfig, LatentAttentionConfig, ModelConfig
from llmref.model import sequential_positions

# The shape checker draws random numbers where a config is built.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

arrangements = st.sampled_from(
    [("pre", "serial"), ("post", "serial"), ("sandwich", "serial"), ("none", "serial"), ("pre", "parallel")]
)
windows = st.sampled_from([None, 1, 2, 5, 30])
configs = st.builds(
    lambda arrangement, first, second, **rest: with_windows(
        small_config(norm_position=arrangement[0], residual=arrangement[1], **rest), first, second
    ),
    arrangement=arrangements,
    first=windows,
    second=windows,
    n_kv_heads=st.sampled_from([4, 2, 1]),
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


@pytest.mark.parametrize("kind", CACHES)
@given(config=configs, split=st.integers(1, 24).flatmap(chunks))
def test_any_chunks_with_any_cache_give_the_logits_of_one_pass(
    kind: str, config: ModelConfig, split: list[int]
) -> None:
    ids = random_ids(2, sum(split), seed=sum(split))
    positions = sequential_positions(ids)
    found = in_chunks(config, ids, positions, split, make_cache(kind, config, batch=2))
    torch.testing.assert_close(found, logits_of(small_model(config), ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", CACHES)
@given(
    pad=st.sampled_from([left_padded, right_padded]),
    config=configs,
    lengths=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    data=st.data(),
)
def test_ragged_rows_in_chunks_give_each_rows_own_logits(
    kind: str, pad: Any, config: ModelConfig, lengths: list[int], data: st.DataObject
) -> None:
    more = 4  # tokens that follow in every row, after the padding where that is on the right
    rows = [random_ids(length + more, seed=length).tolist() for length in lengths]
    ids, positions = pad([row[:-more] for row in rows])
    ids = torch.cat([ids, torch.tensor([row[-more:] for row in rows])], dim=1)
    following = torch.tensor(lengths)[:, None] + torch.arange(more)
    positions = torch.cat([positions, following], dim=1)
    sizes = data.draw(chunks(ids.shape[1]))
    found = in_chunks(config, ids, positions, sizes, make_cache(kind, config, batch=len(rows)))
    assert found.isfinite().all()
    for row, tokens in enumerate(rows):
        alone = logits_of(small_model(config), torch.tensor([tokens]))[0]
        torch.testing.assert_close(found[row][positions[row] >= 0], alone, rtol=1e-5, atol=1e-5)


def test_text_may_start_at_any_position() -> None:
    # Rotary scores know distances alone, so a text moved as a whole has the same logits.
    ids = random_ids(1, 9)
    with torch.no_grad():
        moved = small_model()(ids, sequential_positions(ids, start=20))
    torch.testing.assert_close(moved, logits_of(small_model(), ids), rtol=1e-3, atol=1e-4)


# Mistakes that others made


@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("window", [None, 3])
def test_a_prompt_that_is_cached_but_for_its_last_token_gives_its_logits(
    kind: str, window: int | None
) -> None:
    config = small_config(window=window)
    ids = random_ids(1, 8)
    positions, cache = sequential_positions(ids), make_cache(kind, config)
    in_chunks(config, ids[:, :7], positions[:, :7], [7], cache)
    with pytest.raises(ValueError, match="needs at least one token"):  # whose logits else?
        small_model(config)(ids[:, 7:7], positions[:, 7:7], cache)
    last = in_chunks(config, ids[:, 7:], positions[:, 7:], [1], cache)
    torch.testing.assert_close(last[:, 0], logits_of(small_model(config), ids)[:, -1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", CACHES)
def test_alibi_does_not_vanish_in_a_decode_step(kind: str) -> None:
    config = small_config(layout=None, alibi=True)
    ids = random_ids(1, 12)
    cached = in_chunks(config, ids, sequential_positions(ids), [8, 1, 1, 1, 1], make_cache(kind, config))
    torch.testing.assert_close(cached, logits_of(small_model(config), ids), rtol=1e-5, atol=1e-5)
    without = logits_of(small_model(small_config(layout=None)), ids)
    assert not torch.allclose(cached[:, 8:], without[:, 8:], atol=0.01)


@pytest.mark.parametrize("kind", CACHES)
def test_queries_turn_at_the_position_they_were_given(kind: str) -> None:
    # A cache that counted by itself would place the second half of a text with a gap right after the first.
    config = small_config()
    ids, positions = random_ids(1, 8), torch.tensor([[0, 1, 2, 3, 20, 21, 22, 23]])
    with torch.no_grad():
        whole = small_model(config)(ids, positions)
    cache = make_cache(kind, config)
    torch.testing.assert_close(
        in_chunks(config, ids, positions, [3, 1, 1, 2, 1], cache), whole, rtol=1e-5, atol=1e-5
    )
    assert not torch.allclose(whole[:, 4:], logits_of(small_model(config), ids)[:, 4:], atol=0.01)


@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_keeps_its_own_copy_of_the_positions(kind: str) -> None:
    config = small_config()
    cache, position = make_cache(kind, config), torch.zeros(1, 1, dtype=torch.long)
    for token in random_ids(4):
        in_chunks(config, token[None, None], position, [1], cache)
        position += 1
    assert cache.key_positions(0)[0, :4].tolist() == [0, 1, 2, 3]


# Bytes


def test_a_cache_holds_what_its_config_says() -> None:
    config = small_config(n_kv_heads=2, head_dim=6, n_blocks=3)
    per_token = 3 * 2 * 2 * 6 * 4  # blocks, keys and values, heads, head_dim, bytes
    growing, static = GrowingCache(), StaticCache(config, length=20)
    assert growing.n_bytes == 0
    for cache in (growing, static):
        in_chunks(config, random_ids(1, 7), torch.arange(7)[None], [4, 3], cache)
        assert cache.n_tokens == 7
    assert growing.n_bytes == 7 * per_token
    assert static.n_bytes == 20 * per_token
    half = StaticCache(config, length=20, dtype=torch.bfloat16)
    assert half.n_bytes == 10 * per_token


LATENT = LatentAttentionConfig(n_heads=4, latent_dim=7, plain_dim=5, rotated_dim=2, value_dim=3)


@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_of_latents_holds_a_latent_and_one_rotated_key(kind: str) -> None:
    config = ModelConfig(50, 20, 10, (BlockConfig(LATENT, FeedForwardConfig(8)),) * 2)
    cache = make_cache(kind, config, batch=3)
    latent, rotated = torch.randn(3, 1, 10, 7), torch.randn(3, 1, 10, 2)
    for start, end in ((0, 4), (4, 5), (5, 10)):
        cache.extend(torch.arange(start, end).expand(3, -1))
        for block in range(2):
            found = cache.update(block, latent[:, :, start:end], rotated[:, :, start:end])
            assert torch.equal(found[0][:, :, :end], latent[:, :, :end])
            assert torch.equal(found[1][:, :, :end], rotated[:, :, :end])
    assert cache.n_bytes == 3 * 10 * 2 * (7 + 2) * 4


# The static one


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


@pytest.mark.parametrize(("length", "batch"), [(0, 1), (4, 0), (-1, 1)])
def test_a_static_cache_needs_room(length: int, batch: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, found {length} and {batch}"):
        StaticCache(small_config(), length, batch)


def test_a_static_cache_of_another_dtype_is_an_error() -> None:
    model = fresh_model(dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"holds torch\.float32, found keys of torch\.bfloat16"):
        model(torch.tensor([[1]]), torch.tensor([[0]]), StaticCache(model.config, 4))


# Bad input


@pytest.mark.parametrize("kind", [*CACHES, "quantized"])
def test_another_batch_is_an_error(kind: str) -> None:
    config = small_config()
    cache = QuantizedCache() if kind == "quantized" else make_cache(kind, config, batch=2)
    in_chunks(config, random_ids(2, 3), torch.arange(3).expand(2, 3), [3], cache)
    with pytest.raises(ValueError, match="holds 2 rows, found a batch of 3"):
        in_chunks(config, random_ids(3, 1), torch.full((3, 1), 3), [1], cache)
    assert cache.n_tokens == 3


@pytest.mark.parametrize("kind", CACHES)
def test_a_bad_id_leaves_the_cache_as_it_was(kind: str) -> None:
    model = fresh_model()
    cache = make_cache(kind, model.config)
    with pytest.raises(ValueError, match="token ids"):
        model(torch.tensor([[61]]), torch.tensor([[0]]), cache)
    assert cache.n_tokens == 0


def test_each_is_a_cache() -> None:
    config = small_config()
    for cache in (
        GrowingCache(),
        StaticCache(config, CONTEXT_LENGTH),
        RollingCache(config),
        QuantizedCache(),
    ):
        assert isinstance(cache, Cache)
