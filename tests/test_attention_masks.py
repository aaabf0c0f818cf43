"""The mask algebra: each mask against words, the combinations against sets."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from helpers import naive_allowed
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref.attention.masks import (
    Mask,
    blocks,
    causal,
    dense,
    documents,
    global_tokens,
    random_blocks,
    strided,
    window,
)

Pairs = set[tuple[int, int, int]]

positions_strategy = st.lists(
    st.lists(st.integers(-1, 12), min_size=6, max_size=6), min_size=1, max_size=3
).map(torch.tensor)
document_ids = st.lists(st.integers(0, 2), min_size=6, max_size=6)


def pairs(mask: Mask, positions: Tensor, queries: int) -> Pairs:
    """The allowed pairs as a set of (row, query, key); the queries are the last of the keys."""
    dense = mask.dense(positions[:, 6 - queries :], positions)
    assert dense.shape == (len(positions), queries, 6)
    return {tuple(place) for place in dense.nonzero().tolist()}


def basic_masks() -> st.SearchStrategy[Mask]:
    # Documents for one row serve every row of the batch.
    by_documents = document_ids.map(lambda ids: documents(torch.tensor([ids])))
    by_size = st.sampled_from([window, strided, blocks, global_tokens])
    return (
        st.just(causal())
        | st.builds(lambda make, size: make(size), by_size, st.integers(1, 8))
        | by_documents
        | st.builds(random_blocks, st.integers(1, 3), st.integers(1, 2), st.integers(0, 9))
    )


masks = st.recursive(
    basic_masks(),
    lambda inner: (
        st.tuples(inner, inner).map(lambda two: two[0] & two[1])
        | st.tuples(inner, inner).map(lambda two: two[0] | two[1])
        | inner.map(lambda mask: ~mask)
    ),
    max_leaves=5,
)


@given(masks, masks, positions_strategy, st.integers(1, 6))
def test_masks_combine_as_sets(one: Mask, other: Mask, positions: Tensor, queries: int) -> None:
    real = {
        (row, query, key)
        for row, query, key in product(range(len(positions)), range(queries), range(6))
        if positions[row, key] >= 0
    }
    first, second = (pairs(mask, positions, queries) for mask in (one, other))
    assert pairs(one & other, positions, queries) == first & second
    assert pairs(one | other, positions, queries) == first | second
    assert pairs(~one, positions, queries) == real - first
    assert pairs(~(one & other), positions, queries) == pairs(~one | ~other, positions, queries)
    assert pairs(~~one, positions, queries) == first


@given(masks, positions_strategy, st.integers(1, 6))
def test_nobody_sees_padding(mask: Mask, positions: Tensor, queries: int) -> None:
    assert all(positions[row, key] >= 0 for row, _, key in pairs(mask, positions, queries))


@given(st.none() | st.integers(1, 8), positions_strategy, st.integers(1, 6))
def test_causal_and_window_are_what_their_words_say(
    size: int | None, positions: Tensor, queries: int
) -> None:
    mask = causal() if size is None else causal() & window(size)
    allowed = pairs(mask, positions, queries)
    for row, query, key in product(range(len(positions)), range(queries), range(6)):
        words = naive_allowed(int(positions[row, 6 - queries + query]), int(positions[row, key]), size)
        assert ((row, query, key) in allowed) == words


@given(masks, positions_strategy, st.integers(1, 6), st.data())
def test_a_tile_is_a_part_of_the_matrix(
    mask: Mask, positions: Tensor, queries: int, data: st.DataObject
) -> None:
    placed = mask.at(positions[:, 6 - queries :], positions)
    assert (placed.queries, placed.keys) == (queries, 6)
    rows, columns = (
        slice(*sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))))
        for size in (queries, 6)
    )
    whole = mask.dense(positions[:, 6 - queries :], positions)
    assert torch.equal(placed.tile(rows, columns), whole[:, rows, columns])
    assert torch.equal(placed.dense(), whole)
    assert placed.dense() is placed.dense() is dense(placed)
    assert dense(whole) is whole


SPARSE = {
    strided: lambda query, key, size: key in {query + size * step for step in range(-20, 21)},
    blocks: lambda query, key, size: any(
        {query, key} <= set(range(start, start + size)) for start in range(0, 20, size)
    ),
    global_tokens: lambda query, key, size: query in range(size) or key in range(size),
}


@pytest.mark.parametrize("make", SPARSE, ids=lambda make: make.__name__)
@given(size=st.integers(1, 8), positions=positions_strategy, queries=st.integers(1, 6))
def test_sparse_masks_are_what_their_words_say(
    make: Callable[[int], Mask], size: int, positions: Tensor, queries: int
) -> None:
    allowed = pairs(make(size), positions, queries)
    for row, query, key in product(range(len(positions)), range(queries), range(6)):
        places = int(positions[row, 6 - queries + query]), int(positions[row, key])
        if places[0] >= 0:  # what padding looks at, nobody reads
            assert ((row, query, key) in allowed) == (places[1] >= 0 and SPARSE[make](*places, size)), places


def test_the_published_patterns_are_expressions() -> None:
    """Child et al. (2019), section 4.3, as its formulas have it; a window with a global token."""
    positions, stride = torch.arange(20)[None], 4
    two_kinds = (causal() & (window(stride + 1) | strided(stride))).dense(positions, positions)[0]
    fixed = (causal() & blocks(stride)).dense(positions, positions)[0]
    global_one = (causal() & (window(3) | global_tokens(1))).dense(positions, positions)[0]
    for i, j in product(range(20), range(20)):
        near, column = max(0, i - stride) <= j <= i, j <= i and (i - j) % stride == 0
        assert two_kinds[i, j] == (near or column)
        assert fixed[i, j] == (j <= i and j // stride == i // stride)
        assert global_one[i, j] == (j <= i and (i - j < 3 or j == 0))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_random_blocks_are_drawn_from_those_before(size: int, count: int, seed: int) -> None:
    positions = torch.arange(6 * size + 1)[None]
    mask = random_blocks(size, count, seed)
    allowed = mask.dense(positions, positions)[0]
    for query in range(6 * size + 1):
        block = query // size
        seen = {key // size for key in allowed[query].nonzero().flatten().tolist()}
        assert len(seen) == min(count, block)
        assert seen <= set(range(block))
        assert allowed[query].sum() == size * len(seen)  # blocks are seen whole
        assert torch.equal(allowed[query], allowed[block * size])  # by all tokens of a block
        shorter = mask.dense(positions[:, query : query + 1], positions[:, : query + 1])
        assert torch.equal(shorter[0, 0], allowed[query, : query + 1])  # a growing text keeps its pattern


def test_random_blocks_are_drawn_evenly_and_by_the_seed() -> None:
    positions = torch.arange(11)[None]
    drawn = torch.stack(
        [random_blocks(1, 3, seed).dense(positions[:, 10:], positions)[0, 0] for seed in range(400)]
    )
    assert (drawn.sum(dim=1) == 3).all()
    # Each of the 10 is expected 120 times, with a deviation of 9.
    assert (drawn[:, :10].sum(dim=0) - 120).abs().max() < 36
    assert len({tuple(row) for row in drawn.tolist()}) > 90  # of 120 that there are
    many = torch.arange(41)[None]
    rows = random_blocks(1, 3, seed=0).dense(many, many)[0]
    assert len({tuple(row[:20].tolist()) for row in rows[20:]}) > 10  # blocks do not repeat one draw


def test_an_attention_sink_is_a_global_token_beside_a_window() -> None:
    """Xiao et al. (2023), figure 1d: the first tokens and the newest ones, nothing between."""
    positions = torch.arange(20)[None]
    allowed = (causal() & (window(5) | global_tokens(4))).dense(positions, positions)[0]
    for query in range(20):
        newest = set(range(max(0, query - 4), query + 1))
        assert set(allowed[query].nonzero().flatten().tolist()) == newest | set(range(min(4, query + 1)))


@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_a_window_counts_the_token_itself(size: int) -> None:
    positions = torch.arange(12)[None]
    for mask in (window(size), causal() & window(size)):
        assert mask.dense(positions, positions).sum(dim=-1).tolist() == [
            [min(size, position + 1) for position in range(12)]
        ]
    assert torch.equal(window(1).dense(positions, positions)[0], torch.eye(12, dtype=torch.bool))


def test_queries_align_with_the_last_keys() -> None:
    positions = torch.arange(5)[None]
    whole = causal().dense(positions, positions)
    for queries in range(1, 6):
        last = causal().dense(positions[:, -queries:], positions)
        assert torch.equal(last, whole[:, -queries:])
        assert last[0, -1].all()


@given(document_ids, st.integers(1, 6))
def test_documents_is_equality_of_their_numbers(ids: list[int], queries: int) -> None:
    positions = torch.arange(6)[None]
    allowed = pairs(documents(torch.tensor([ids])), positions, queries)
    assert allowed == {
        (0, query, key)
        for query, key in product(range(queries), range(6))
        if ids[6 - queries + query] == ids[key]
    }


def test_documents_with_empty_slots_behind_the_queries() -> None:
    keys = torch.tensor([[0, 1, 0, 1, -1, -1]])  # a static cache of six slots, four of them filled
    queries = keys[:, 3:4]
    ids = torch.tensor([[0, 0, 1, 1, 0, 0]])
    with pytest.raises(ValueError, match="needs query_ids where the queries are not the last of the keys"):
        documents(ids).dense(queries, keys)
    mask = causal() & documents(ids, query_ids=torch.tensor([[1]]))
    assert mask.dense(queries, keys).tolist() == [[[False, False, True, True, False, False]]]


def test_errors_say_what_was_found() -> None:
    positions = torch.arange(4)[None]
    with pytest.raises(ValueError, match="size must be at least 1, found -3"):
        window(-3)
    with pytest.raises(ValueError, match="a stride must be at least 1, found 0"):
        strided(0)
    with pytest.raises(ValueError, match="a block holds at least 1 position, found -1"):
        blocks(-1)
    with pytest.raises(ValueError, match="there must be at least 1 global token, found 0"):
        global_tokens(0)
    with pytest.raises(ValueError, match="a seed of at least 0, found 2, 0 and -1"):
        random_blocks(2, 0, -1)
    with pytest.raises(ValueError, match="1 row or one for each of the 1, found 2"):
        documents(torch.zeros(2, 4, dtype=torch.long)).at(positions, positions)
    with pytest.raises(ValueError, match="a document for each of the 4 keys, found 3"):
        documents(torch.zeros(1, 3, dtype=torch.long)).dense(positions, positions)
    with pytest.raises(ValueError, match="a document for each of the 4 queries, found 2"):
        ids = torch.zeros(1, 4, dtype=torch.long)
        documents(ids, ids[:, :2]).dense(positions, positions)


def test_a_mask_reads_as_what_it_allows() -> None:
    ids = torch.zeros(2, 7, dtype=torch.long)
    assert repr(causal() & window(64) & documents(ids)) == "causal() & window(64) & documents(<2 x 7 ids>)"
    assert repr(~(causal() | window(2))) == "~((causal() | window(2)))"
    assert repr(strided(4) | blocks(8) & global_tokens(1)) == "(strided(4) | blocks(8) & global_tokens(1))"
    assert repr(random_blocks(8, 2, seed=1) | window(4)) == "(random_blocks(8, 2, seed=1) | window(4))"
    assert causal() & window(3) == causal() & window(3)
    assert random_blocks(8, 2, seed=1) == random_blocks(8, 2, seed=1) != random_blocks(8, 2, seed=2)
