"""The split: every code point falls where the library's engine puts it; and the byte alphabet."""

import re
from functools import cache

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from published import PATTERNS
from tokenizer_samples import SPECIMENS, STEADY, TEXTS, texts
from tokenizers import pre_tokenizers

from llmref.tokenizer.alphabet import BYTE_ORDER, BYTE_TO_CHARACTER, from_characters, to_characters
from llmref.tokenizer.pattern import GPT2_PATTERN, PATTERN, compile_pattern, write_out

PUBLISHED = {"gpt2": GPT2_PATTERN, **PATTERNS}


@cache
def splitter(pattern: str) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")


def library_split(text: str, pattern: str = PATTERN) -> list[str]:
    return [piece for piece, _ in splitter(pattern).pre_tokenize_str(text)]


def characters(block: int | str) -> list[str]:
    if block == "every plane":  # some of every block of 256 in all planes
        points = [
            point for start in range(0, 0x110000, 0x100) for point in (start, start + 0x80, start + 0xFF)
        ]
    else:
        points = list(range(int(block) * 0x1000, (int(block) + 1) * 0x1000))
    return [chr(point) for point in points if not 0xD800 <= point < 0xE000]


BLOCKS = [*range(0, 0x11), "every plane"]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_code_point_falls_alike(block: int | str) -> None:
    text = "".join(f"a{c}b {c}{c}. {c}1{c}\n{c}  {c}x" for c in characters(block))
    assert re.findall(PATTERN, text) == library_split(text)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("block", [0, 0xA, "every plane"])
def test_in_a_published_pattern_every_code_point_falls_alike(block: int | str, name: str) -> None:
    text = "".join(f"a{c}b {c}'{c}E 1{c}\n" for c in characters(block))
    assert compile_pattern(PUBLISHED[name]).findall(text) == library_split(text, PUBLISHED[name])


@STEADY
@given(texts(), st.sampled_from(sorted(PUBLISHED)))
def test_a_published_pattern_cuts_as_the_library_does(text: str, name: str) -> None:
    pieces = compile_pattern(PUBLISHED[name]).findall(text)
    assert pieces == library_split(text, PUBLISHED[name])
    assert "".join(pieces) == text


@pytest.mark.parametrize("category", [r"\p{L}", r"\p{N}", r"\s", r"\d", r"\p{Lu}", r"\P{M}", r"\S"])
def test_a_class_is_written_out_with_the_members_that_the_library_finds(category: str) -> None:
    pattern = re.compile(write_out(category))
    text = "".join(characters("every plane") + characters(0))
    assert "".join(pattern.findall(text)) == "".join(
        piece
        for piece, _ in pre_tokenizers.Split(
            tokenizers.Regex(category), "removed", invert=True
        ).pre_tokenize_str(text)
    )


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
        (r"\w+", r"same in every engine, found .* at 0"),
        (r"a|\b+", r"same in every engine, found .* at 2"),
        ("[a[b]]", "same in every engine"),
        (r"[a\S]", "same in every engine"),
        ("a$", "same in every engine"),
        ("a{1,3}+", "same in every engine"),
        ("(?:a+)+b", "same in every engine"),
        ("(?i:grass)", "same in every engine"),
        (r"\p{Greek}", "same in every engine"),
        (r"(?i)a", "same in every engine"),
        (r"(?P<word>a)", "same in every engine"),
        ("[a&&b]", "same in every engine"),
        ("(a)", "must not capture"),
        ("a*", "empty text"),
        ("[a", "same in every engine"),
        ("(?:a", "not a regular expression"),
        ("a{9999999999}", "not a regular expression"),
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
