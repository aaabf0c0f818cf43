"""The split: every code point falls where the library's engine puts it; and the byte alphabet."""

import re

import pytest
import tokenizers
from hypothesis import given
from tokenizer_samples import SPECIMENS, STEADY, TEXTS, texts
from tokenizers import pre_tokenizers

from llmref.tokenizer.alphabet import BYTE_ORDER, BYTE_TO_CHARACTER, from_characters, to_characters
from llmref.tokenizer.pattern import PATTERN, compile_pattern

SPLIT = pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated")


def library_split(text: str) -> list[str]:
    return [piece for piece, _ in SPLIT.pre_tokenize_str(text)]


@pytest.mark.parametrize("block", [*range(0, 0x11), "every plane"])
def test_every_code_point_falls_alike(block: int | str) -> None:
    if block == "every plane":  # some of every block of 256 in all planes
        points = [
            point for start in range(0, 0x110000, 0x100) for point in (start, start + 0x80, start + 0xFF)
        ]
    else:
        points = list(range(int(block) * 0x1000, (int(block) + 1) * 0x1000))
    characters = [chr(point) for point in points if not 0xD800 <= point < 0xE000]
    text = "".join(f"a{c}b {c}{c}. {c}1{c}\n{c}  {c}x" for c in characters)
    assert re.findall(PATTERN, text) == library_split(text)


@STEADY
@given(texts())
def test_the_pieces_are_the_librarys_and_join_to_the_text(text: str) -> None:
    pieces = compile_pattern(PATTERN).findall(text)
    assert pieces == library_split(text)
    assert "".join(pieces) == text


@pytest.mark.parametrize("text", TEXTS + SPECIMENS)
def test_the_compiled_pattern_splits_as_the_pattern_alone(text: str) -> None:
    assert compile_pattern(PATTERN).findall(text) == re.findall(PATTERN, text)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a dog, a cat", ["a", " dog", ",", " a", " cat"]),
        ("강아지가 “왈” 하고", ["강아지가", " “", "왈", "”", " 하고"]),
        ("x=12345", ["x", "=", "123", "45"]),
        ("a\n\n  b", ["a", "\n\n ", " b"]),
        ("a   ", ["a", "   "]),
        ("👩‍🚀 한", ["👩‍🚀", " 한"]),
    ],
)
def test_where_it_cuts(text: str, pieces: list[str]) -> None:
    assert re.findall(PATTERN, text) == pieces


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"\p{L}+", r"same in every engine, found .* at 0"),
        (r"a|\s+", r"same in every engine, found .* at 2"),
        (r"(?i)a", "same in every engine"),
        (r"(?P<word>a)", "same in every engine"),
        ("[a&&b]", "same in every engine"),
        ("(a)", "must not capture"),
        ("a*", "empty text"),
        ("[a", "not a regular expression"),
    ],
)
def test_a_pattern_that_engines_read_differently_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_pattern(pattern)


def test_the_alphabet_is_the_librarys() -> None:
    assert set(BYTE_TO_CHARACTER.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_ORDER) == list(range(256))
    assert from_characters(to_characters(bytes(range(256)))) == bytes(range(256))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in SPECIMENS[1:]:
        assert to_characters(text.encode()) == byte_level.pre_tokenize_str(text)[0][0]
