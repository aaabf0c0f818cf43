"""The tokenizer: cut a word into tokens without going through all the merges."""

from collections.abc import Mapping


def encode_word(word: bytes, ranks: Mapping[tuple[bytes, bytes], int]) -> list[bytes]:
    """The tokens of a word.

    `ranks` says of each pair that may be joined when it was learned: 0 was
    first. A large vocabulary has hundreds of thousands of them. So do not go
    through `ranks`, but ask it for the pairs that stand in the word.

    Begin with the word's bytes, each a part of its own. Find the pair of
    neighbours with the lowest rank, join it wherever it stands, from left to
    right, and begin again, until no pair has a rank.

    With the ranks `{(b"a", b"b"): 0}` the word `b"abab"` becomes
    `[b"ab", b"ab"]`.
    """
    raise NotImplementedError("write encode_word()")


# What is checked

from typing import Any

from llmref.tiny import load_tiny
from llmref.tokenizer import naive


def check_words(answer: Any) -> None:
    """Words in both languages are cut as by the short code of the page."""
    merges = load_tiny()[1].merges
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    for text in (" squirrel", " hedgehog", " 강아지가", " 고슴도치", " 쫓아갔습니다", "🐿️", ""):
        word = text.encode()
        expected, found = naive.encode_word(word, merges), answer.encode_word(word, ranks)
        assert found == expected, f"expected {expected} for {text!r}, found {found}"


def check_order(answer: Any) -> None:
    """The pair that was learned first is joined first, wherever it stands."""
    ranks = {(b"b", b"c"): 0, (b"a", b"b"): 1, (b"a", b"bc"): 2}
    found = answer.encode_word(b"abcabd", ranks)
    assert found == [b"abc", b"ab", b"d"], f"expected [b'abc', b'ab', b'd'], found {found}"
    ranks = {(b"c", b"d"): 0, (b"a", b"b"): 1, (b"b", b"cd"): 2}
    found = answer.encode_word(b"abcd", ranks)
    assert found == [b"ab", b"cd"], f"expected [b'ab', b'cd'], found {found}"


def check_left_to_right(answer: Any) -> None:
    """Where a pair overlaps itself, the left one is joined."""
    ranks = {(b"a", b"a"): 0, (b"aa", b"aa"): 1}
    for word, expected in ((b"aaa", [b"aa", b"a"]), (b"aaaaa", [b"aaaa", b"a"])):
        found = answer.encode_word(word, ranks)
        assert found == expected, f"expected {expected} for {word!r}, found {found}"


def check_lookups(answer: Any) -> None:
    """`ranks` is asked for pairs, and never gone through."""
    ranks = _Asked({(b"a", b"b"): 0})
    found = answer.encode_word(b"abab", ranks)
    assert found == [b"ab", b"ab"], f"expected [b'ab', b'ab'], found {found}"


class _Asked(dict[tuple[bytes, bytes], int]):
    """Ranks that can be asked for a pair, and not be gone through."""

    def _refuse(self) -> Any:
        raise AssertionError("ask ranks for the pairs of the word; do not go through all of it")

    __iter__ = keys = items = values = _refuse
