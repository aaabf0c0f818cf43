"""The tokenizer: a word cut into tokens without going through all the merges."""

from collections.abc import Mapping
from itertools import pairwise


def encode_word(word: bytes, ranks: Mapping[tuple[bytes, bytes], int]) -> list[bytes]:
    parts = [bytes([byte]) for byte in word]
    while known := [pair for pair in pairwise(parts) if pair in ranks]:
        best = min(known, key=lambda pair: ranks[pair])
        joined: list[bytes] = []
        for part in parts:
            if joined and (joined[-1], part) == best:
                joined[-1] += part
            else:
                joined.append(part)
        parts = joined
    return parts
