"""Byte-level BPE as short as the idea: slow, and held equal to the fast one by test."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[bytes, bytes]


def learn_merges(words: Mapping[bytes, int], tokens: Sequence[bytes], vocab_size: int) -> list[Pair]:
    """Counts all pairs, joins the most frequent one everywhere, and begins again."""
    order = {token: index for index, token in enumerate(tokens)}
    parts = {word: [bytes([byte]) for byte in word] for word in words}
    merges: list[Pair] = []
    while len(order) < vocab_size:
        counts: Counter[Pair] = Counter()
        for word, count in words.items():
            for pair in pairwise(parts[word]):
                counts[pair] += count
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], order[pair[0]], order[pair[1]]))
        merges.append(best)
        order[best[0] + best[1]] = len(order)
        parts = {word: join(parts[word], best) for word in words}
    return merges


def encode_word(word: bytes, merges: Sequence[Pair]) -> list[bytes]:
    """Takes the merges in the order they were learned."""
    parts = [bytes([byte]) for byte in word]
    for pair in merges:
        parts = join(parts, pair)
    return parts


def join(parts: list[bytes], pair: Pair) -> list[bytes]:
    """Joins every occurrence of a pair, from left to right."""
    joined: list[bytes] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return joined
