"""The rolling cache: what it keeps, what it forgets, and that nobody misses it."""

import pytest
import torch
from helpers import logits_of, random_ids, small_config, small_model, with_windows
from hypothesis import given
from hypothesis import strategies as st
from test_cache import in_chunks

from llmref.cache import GrowingCache, RollingCache
from llmref.cache.rolling import still_visible
from llmref.model import sequential_positions


def naive_kept(positions: list[int], window: int) -> set[int]:
    """The tokens that a token after all of these can see, by asking for each."""
    following = max(positions) + 1
    return {token for token, position in enumerate(positions) if 0 <= position > following - window}


@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any), st.integers(0, 20), st.integers(1, 9))
def test_it_keeps_what_the_next_token_can_see(real: list[bool], start: int, window: int) -> None:
    # Real tokens in order, with padding wherever it may be.
    positions = [start + sum(real[:place]) if there else -1 for place, there in enumerate(real)]
    kept = still_visible(torch.tensor([positions]), window)[0].tolist()
    assert kept == sorted(kept) and len(kept) == min(window - 1, len(real))
    assert {token for token in kept if positions[token] >= 0} == naive_kept(positions, window)


def test_rows_of_a_batch_keep_each_its_own() -> None:
    cache = RollingCache(small_config(window=3))
    cache.extend(torch.tensor([[-1, -1, 0, 1], [0, 1, 2, -1], [0, -1, -1, -1]]))
    cache.update(0, *(torch.arange(4.0).expand(3, 1, 4)[..., None],) * 2)
    cache.extend(torch.tensor([[2], [3], [1]]))
    key, _ = cache.update(0, *(torch.full((3, 1, 1, 1), 4.0),) * 2)
    assert cache.key_positions(0).tolist() == [[0, 1, 2], [1, 2, 3], [0, -1, 1]]
    assert key[:, 0, :, 0].tolist() == [[2, 3, 4], [1, 2, 4], [0, 3, 4]]


def test_blocks_keep_what_their_own_window_sees() -> None:
    config = with_windows(small_config(), 4, None, 1, 4)
    cache = RollingCache(config)
    ids = random_ids(1, 30)
    found = in_chunks(config, ids, sequential_positions(ids), [11, 1, 1, 9, 8], cache)
    torch.testing.assert_close(found, logits_of(small_model(config), ids), rtol=1e-5, atol=1e-5)
    assert [cache.keys[block].shape[2] for block in range(4)] == [3, 30, 0, 3]
    # In the pass of 8 tokens the blocks looked at their kept ones and at these.
    assert cache.key_positions(0).tolist() == [list(range(19, 30))]
    assert cache.key_positions(1).tolist() == [list(range(30))]
    assert cache.key_positions(2).tolist() == [list(range(22, 30))]
    assert cache.key_positions(3) is cache.key_positions(0)


@given(st.integers(1, 7), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_its_bytes_are_bounded_by_the_window(window: int, sizes: list[int]) -> None:
    config = small_config(window=window, n_kv_heads=2, head_dim=6)
    cache, growing = RollingCache(config), GrowingCache()
    per_token = 2 * 2 * 2 * 6 * 4  # blocks, keys and values, heads, head_dim, bytes
    read = 0
    for size in sizes:
        positions = torch.arange(read, read + size)[None]
        read += size
        for each in (cache, growing):
            in_chunks(config, random_ids(1, size), positions, [size], each)
        assert cache.n_bytes == min(window - 1, read) * per_token <= growing.n_bytes == read * per_token
        assert cache.n_tokens == read
        stored = sum(
            tensor.untyped_storage().nbytes() for tensor in (*cache.keys.values(), *cache.values.values())
        )
        assert stored == cache.n_bytes  # and no larger tensor stands behind them


def test_without_windows_it_is_the_growing_cache() -> None:
    config = small_config()
    ids = random_ids(1, 9)
    positions = sequential_positions(ids)
    rolling, growing = RollingCache(config), GrowingCache()
    found, expected = (in_chunks(config, ids, positions, [4, 5], cache) for cache in (rolling, growing))
    assert torch.equal(found, expected)
    assert rolling.n_bytes == growing.n_bytes


@pytest.mark.parametrize(
    ("before", "then", "message"),
    [
        ([[0, 1, 2]], [[2]], "found position 2 after 2 in row 0"),
        ([[0, 1], [4, 5]], [[2, 3], [6, 3]], "found position 3 after 6 in row 1"),
        ([[0, 1, -1]], [[-1, 0]], "found position 0 after 1 in row 0"),
    ],
)
def test_a_row_that_goes_back_is_an_error_that_changes_nothing(
    before: list[list[int]], then: list[list[int]], message: str
) -> None:
    cache = RollingCache(small_config(window=2))
    cache.extend(torch.tensor(before))
    positions = cache.key_positions(0)
    with pytest.raises(ValueError, match=f"reads each row in order, {message}"):
        cache.extend(torch.tensor(then))
    assert cache.key_positions(0) is positions and cache.n_tokens == len(before[0])
