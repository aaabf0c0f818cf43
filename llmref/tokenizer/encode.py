"""Encoding one word: apply the merges, earliest learned first."""

import heapq
from collections.abc import Mapping

Ranks = Mapping[tuple[int, int], tuple[int, int]]
"""A pair of ids -> the place of its merge in the list of merges, and the id that it makes."""


def merge_word(ids: list[int], ranks: Ranks) -> list[int]:
    """Merges the tokens of one word until no merge applies.

    The word is a linked list, and a heap holds its pairs by rank; a merge touches only its two neighbours. So
    a word of n bytes takes O(n log n) steps, where looking for the best pair anew each time takes O(n²).

    Args:
        ids: The word as ids of its bytes. It is used up.
        ranks: The merges.

    Returns:
        The ids of the word's tokens.

    >>> merge_word([1, 2, 3], {(2, 3): (0, 4), (1, 2): (1, 5)})
    [1, 4]
    """
    end = len(ids)
    before = list(range(-1, end - 1))
    after = list(range(1, end + 1))
    heap: list[tuple[int, int, int]] = []  # rank, place of the left token, merged id
    for place, pair in enumerate(zip(ids, ids[1:], strict=False)):
        if found := ranks.get(pair):
            heap.append((found[0], place, found[1]))
    heapq.heapify(heap)
    while heap:
        rank, left, merged = heapq.heappop(heap)
        right = after[left]
        if right == end or ranks.get((ids[left], ids[right])) != (rank, merged):
            continue  # an earlier merge took one of the two
        ids[left] = merged
        ids[right] = -1
        after[left] = following = after[right]
        if following != end:
            before[following] = left
            if found := ranks.get((merged, ids[following])):
                heapq.heappush(heap, (found[0], left, found[1]))
        preceding = before[left]
        if preceding >= 0 and (found := ranks.get((ids[preceding], merged))):
            heapq.heappush(heap, (found[0], preceding, found[1]))
    return [index for index in ids if index >= 0]
