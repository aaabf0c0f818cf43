"""Encoding and decoding: the same ids as the `tokenizers` library on any text, and everything comes back."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_samples import EOT, SPECIMENS, STEADY, TEXTS, oracle, texts, trained

from llmref.tokenizer import Tokenizer, naive
from llmref.tokenizer.encode import merge_long, merge_short, merge_word
from llmref.tokenizer.pattern import PATTERN


def library_ids(text: str, special: bool) -> list[int]:
    library = oracle()
    library.encode_special_tokens = not special  # the library's name for: as plain text
    return library.encode(text).ids


@pytest.mark.parametrize("text", TEXTS + SPECIMENS)
def test_specimens_get_the_librarys_ids_and_come_back(text: str) -> None:
    ids = trained().encode(text)
    assert ids == library_ids(text, special=False)
    assert trained().decode(ids) == text
    assert oracle().decode(ids, skip_special_tokens=False) == text


@STEADY
@given(texts())
def test_any_text_gets_the_librarys_ids_and_comes_back(text: str) -> None:
    ids = trained().encode(text)
    assert ids == library_ids(text, special=False)
    assert trained().decode_bytes(ids) == text.encode()
    assert "".join(trained().pieces(ids)).isascii() or trained().decode(ids) == text


@STEADY
@given(texts())
def test_a_special_token_in_the_text_counts_only_if_allowed(text: str) -> None:
    eot = trained().special_tokens[EOT]
    plain, special = trained().encode(text), trained().encode(text, allowed_special={EOT})
    assert eot not in plain
    assert special.count(eot) == text.count(EOT)
    assert special == library_ids(text, special=True)
    assert trained().decode(special) == text


def test_of_two_special_tokens_the_longer_is_found() -> None:
    names = ("<a>", "<a><b>")
    tokenizer = Tokenizer.train(["x"], 258, special_tokens=names)
    assert tokenizer.special_tokens == {"<a>": 0, "<a><b>": 1}
    assert tokenizer.encode("<a><b><a>", allowed_special=names) == [1, 0]


@STEADY
@given(st.binary(max_size=80))
def test_any_bytes_come_back(data: bytes) -> None:
    ids = trained().encode_bytes(data)
    assert trained().decode_bytes(ids) == data
    assert trained().decode(ids) == data.decode(errors="replace")
    assert oracle().decode(ids, skip_special_tokens=False) == data.decode(errors="replace")


@STEADY
@given(texts())
def test_bytes_of_a_text_get_the_ids_of_the_text(text: str) -> None:
    assert trained().encode_bytes(text.encode()) == trained().encode(text)


@STEADY
@given(st.lists(st.integers(0, 479), max_size=40))
def test_any_ids_decode_as_in_the_library(ids: list[int]) -> None:
    assert trained().decode(ids) == oracle().decode(ids, skip_special_tokens=False)


@STEADY
@given(texts())
def test_the_naive_twin_makes_the_same_tokens(text: str) -> None:
    parts = [
        part
        for word in re.findall(PATTERN, text)
        for part in naive.encode_word(word.encode(), trained().merges)
    ]
    assert parts == [trained().token_bytes(index) for index in trained().encode(text)]


@STEADY
@given(texts(), texts())
def test_ids_do_not_depend_on_what_was_encoded_before(first: str, second: str) -> None:
    fresh = Tokenizer(trained().tokens, trained().merges, trained().special_tokens)
    fresh.encode(first)
    assert fresh.encode(second) == trained().encode(second)


def test_the_memory_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer(trained().tokens, trained().merges, trained().special_tokens)
    words = tokenizer._words
    monkeypatch.setattr(type(words), "LIMIT", 10)
    text = " ".join(map(str, range(100, 200))) + " " + "a" * 1000
    assert tokenizer.encode(text) == trained().encode(text)
    assert len(words) <= 10
    assert max(map(len, words)) <= words.LONGEST


@pytest.mark.parametrize(
    "word", ["a" * 20_000, "강아지" * 7_000, "thedogchasedthesquirrel" * 900, "ab" * 10_000]
)
def test_a_very_long_word(word: str) -> None:
    assert trained().encode(word) == library_ids(word, special=False)


@STEADY
@given(
    st.lists(st.integers(1, 4), max_size=80),
    st.permutations([(a, b) for a in range(1, 7) for b in range(1, 7)]),
)
def test_short_and_long_words_merge_alike(ids: list[int], pairs: list[tuple[int, int]]) -> None:
    """Over any table of merges, also such as training never makes."""
    ranks = {pair: rank for rank, pair in enumerate(pairs[:12])}
    made = [5 + rank % 2 for rank in range(12)]
    assert merge_short(list(ids), ranks, made) == merge_long(list(ids), ranks, made)


def test_the_work_for_a_word_grows_as_its_length() -> None:
    """Counted, not timed: the merges looked up for one word (a scan of all pairs per merge would be n²)."""

    class Counting(dict[tuple[int, int], int]):
        looked_up = 0

        def get(self, *key: object) -> int | None:  # type: ignore[override]
            self.looked_up += 1
            return super().get(*key)  # type: ignore[call-overload]

    ranks = Counting({(1, 1): 0, (2, 2): 1, (3, 3): 2, (4, 4): 3})
    assert merge_word([1] * 4096, ranks, made=[2, 3, 4, 5]) == [5] * 256
    assert ranks.looked_up > 4096
    assert ranks.looked_up < 8 * 4096


def test_pieces_show_half_characters_as_bytes() -> None:
    tokenizer = Tokenizer.train(["to"], 257)
    assert tokenizer.pieces(tokenizer.encode("o개")) == ["o", "\\xea", "\\xb0", "\\x9c"]
    assert tokenizer.pieces([0]) == [EOT]


@pytest.mark.parametrize("function", [lambda ids: trained().decode(ids), lambda ids: trained().pieces(ids)])
@pytest.mark.parametrize("index", [-1, 480, 10**9])
def test_an_id_out_of_range_is_an_error(function: Callable[[list[int]], object], index: int) -> None:
    with pytest.raises(ValueError, match=rf"0\.\.479 .*vocab_size 480.*found {index}"):
        function([5, index, 7])


def test_a_lone_surrogate_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"lone surrogate '\\udc80' at 2"):
        trained().encode("ab\udc80")
    trained().encode_bytes(b"ab\x80")
    with pytest.raises(ValueError, match="lone surrogate"):
        trained().encode("ab\udc80")


def test_an_unknown_special_token_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"allowed_special must be among .*endoftext.*found \['<pad>'\]"):
        trained().encode("text", allowed_special={EOT, "<pad>"})
