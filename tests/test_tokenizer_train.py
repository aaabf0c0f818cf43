"""Training: the merges and ids of the `tokenizers` library, and those of the naive twin."""

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_samples import EOT, STEADY, TEXTS, as_library, library_trained, texts

from llmref.tokenizer import PATTERN, Tokenizer, naive
from llmref.tokenizer.alphabet import BYTE_ORDER


def model(library: object) -> dict[str, object]:
    return json.loads(library.to_str())["model"]  # type: ignore[attr-defined]


def test_merges_and_ids_are_the_librarys() -> None:
    tokenizer = Tokenizer.train(TEXTS, 480)
    assert model(as_library(tokenizer)) == model(library_trained(TEXTS, 480))
    assert tokenizer.vocab_size == 480
    assert tokenizer.special_tokens == {EOT: 0}


# Few letters and many repeats: ties, pairs that overlap with themselves, merges of merges.
repeats = st.text(st.sampled_from("ab c"), max_size=120)


@STEADY
@given(st.lists(st.one_of(repeats, texts()), min_size=1, max_size=4), st.integers(257, 340))
def test_any_training_text_gives_the_librarys_merges(samples: list[str], vocab_size: int) -> None:
    samples.append("ab")
    tokenizer = Tokenizer.train(samples, vocab_size)
    assert model(as_library(tokenizer)) == model(library_trained(samples, vocab_size))


@STEADY
@given(st.lists(st.one_of(repeats, texts()), min_size=1, max_size=4), st.integers(257, 340))
def test_the_naive_twin_learns_the_same(samples: list[str], vocab_size: int) -> None:
    samples.append("ab")
    words = Counter(word.encode() for sample in samples for word in re.findall(PATTERN, sample))
    tokens = [EOT.encode()] + [bytes([byte]) for byte in BYTE_ORDER]
    assert naive.learn_merges(words, tokens, vocab_size) == Tokenizer.train(samples, vocab_size).merges


@pytest.mark.parametrize("pattern", ["[0-9]+", "[a-z ]+|[^a-z ]", r"\n+|(?:[^\n]+)"])
def test_other_patterns_and_special_tokens(pattern: str) -> None:
    names = ("<pad>", EOT, "<시작>")
    tokenizer = Tokenizer.train(TEXTS, 400, names, pattern)
    library = library_trained(TEXTS, 400, names, pattern)
    assert model(as_library(tokenizer)) == model(library)
    for text in TEXTS:
        assert tokenizer.encode(text + "<시작>", allowed_special=names) == library.encode(text + "<시작>").ids


def test_the_texts_may_come_one_by_one_in_any_order() -> None:
    whole = Tokenizer.train(TEXTS, 500)
    assert Tokenizer.train((text for text in reversed(TEXTS)), 500).merges == whole.merges


def test_a_small_text_gives_a_smaller_vocabulary() -> None:
    tokenizer = Tokenizer.train(["abab"], 1000)
    assert tokenizer.merges == [(b"a", b"b"), (b"ab", b"ab")]
    assert tokenizer.vocab_size == 259


def test_no_token_crosses_a_split() -> None:
    tokenizer = Tokenizer.train(["the end. the end. the end. 12345 12345\n\nthe end."], 400)
    for token in tokenizer.tokens[257:]:
        assert len(re.findall(PATTERN, token.decode())) == 1
    assert [tokenizer.token_bytes(index) for index in tokenizer.encode("the end.")] == [b"the", b" end", b"."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["a"], "vocab_size": 256}, "vocab_size must be at least 257 .*found 256"),
        ({"texts": ["a"], "vocab_size": -1}, "vocab_size must be at least 257 .*found -1"),
        ({"texts": [], "vocab_size": 300}, "needs text"),
        ({"texts": ["", ""], "vocab_size": 300}, "needs text"),
        ({"texts": ["a\ud800"], "vocab_size": 300}, "lone surrogate"),
        ({"texts": ["a"], "vocab_size": 300, "special_tokens": ("x", "x")}, "different, non-empty names"),
        ({"texts": ["a"], "vocab_size": 300, "special_tokens": ("",)}, "different, non-empty names"),
        ({"texts": ["a"], "vocab_size": 300, "special_tokens": ("a",)}, r"name of its own, found \['a'\]"),
        ({"texts": ["end end"], "vocab_size": 300, "special_tokens": ("end",)}, r"name of its own.*'end'"),
    ],
)
def test_bad_input(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokenizer.train(**arguments)  # type: ignore[arg-type]
