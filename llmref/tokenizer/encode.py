"""Encoding one word: apply the merges, earliest learned first, from left to right."""

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise

Ranks = Mapping[tuple[int, int], int]
"""A pair of ids -> the place of its merge in the list of merges."""

SHORT = 64
NEVER = 1 << 60  # the rank of a pair that has no merge


def merge_word(ids: list[int], ranks: Ranks, made: Sequence[int]) -> list[int]:
    """Merges the tokens of one word until no merge applies.

    Args:
        ids: The word as ids of its bytes. It is used up.
        ranks: The merges by pair.
        made: The id that each merge makes, by rank.

    Returns:
        The ids of the word's tokens.

    >>> merge_word([1, 2, 3], {(2, 3): 0, (1, 2): 1}, made=[4, 5])
    [1, 4]
    """
    return merge_short(ids, ranks, made) if len(ids) <= SHORT else merge_long(ids, ranks, made)


def merge_short(ids: list[int], ranks: Ranks, made: Sequence[int]) -> list[int]:
    """Looks for the earliest merge among all pairs, again and again: O(n²), but quickest for a usual word."""
    rank_of = ranks.get
    waiting = [rank_of(pair, NEVER) for pair in pairwise(ids)]
    waiting.append(NEVER)  # the last token has no pair
    while (rank := min(waiting)) != NEVER:
        left = waiting.index(rank)
        ids[left] = merged = made[rank]
        del ids[left + 1], waiting[left]
        if left > 0:
            waiting[left - 1] = rank_of((ids[left - 1], merged), NEVER)
        if left + 1 < len(ids):
            waiting[left] = rank_of((merged, ids[left + 1]), NEVER)
    return ids


def merge_long(ids: list[int], ranks: Ranks, made: Sequence[int]) -> list[int]:
    """Keeps the word as a linked list and its pairs in a heap by rank; a merge touches two neighbours only.

    So a word of n bytes takes O(n log n) steps.
    """
    end = len(ids)
    before = list(range(-1, end - 1))
    after = list(range(1, end + 1))
    heap = [(ranks[pair], left) for left, pair in enumerate(pairwise(ids)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, left = heapq.heappop(heap)
        right = after[left]
        if right == end or ranks.get((ids[left], ids[right])) != rank:
            continue  # an earlier merge took one of the two
        ids[left] = merged = made[rank]
        ids[right] = -1
        after[left] = following = after[right]
        if following != end:
            before[following] = left
            if (found := ranks.get((merged, ids[following]))) is not None:
                heapq.heappush(heap, (found, left))
        preceding = before[left]
        if preceding >= 0 and (found := ranks.get((ids[preceding], merged))) is not None:
            heapq.heappush(heap, (found, preceding))
    return [index for index in ids if index >= 0]
