"""Streaming: whole characters only, as soon as they are whole, and in sum what decode gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_samples import EOT, SPECIMENS, STEADY, TEXTS, texts, trained

from llmref.tokenizer import Tokenizer

BYTES_ONLY = Tokenizer.train(["x"], 257)  # one token per byte: every character arrives in parts


def streamed(tokenizer: Tokenizer, ids: list[int]) -> tuple[list[str], str]:
    decoder = tokenizer.stream()
    return [decoder.push(index) for index in ids], decoder.flush()


@pytest.mark.parametrize("tokenizer", [BYTES_ONLY, trained()])
@pytest.mark.parametrize("text", TEXTS + SPECIMENS[:15])
def test_each_character_comes_whole_with_its_last_byte(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    pieces, rest = streamed(tokenizer, ids)
    assert rest == ""
    for end in range(len(ids) + 1):
        assert "".join(pieces[:end]) == tokenizer.decode_bytes(ids[:end]).decode(errors="ignore")


@STEADY
@given(texts())
def test_any_text_streams_whole(text: str) -> None:
    pieces, rest = streamed(trained(), trained().encode(text, allowed_special={EOT}))
    assert "".join(pieces) == text
    assert rest == ""


def longest_hope(tail: bytes) -> int:
    """How many bytes at the end may still become a character."""
    for size in range(min(3, len(tail)), 0, -1):
        for filler in (b"\x80", b"\x8f", b"\x90", b"\xa0", b"\xbf"):
            for more in range(1, 4):
                try:
                    if len((tail[-size:] + filler[:1] + b"\x80" * (more - 1)).decode()) == 1:
                        return size
                except UnicodeDecodeError:
                    pass
    return 0


@STEADY
@given(
    st.lists(
        st.sampled_from([*b"a\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xe0\xe1\xea\xed\xf0\xf1\xf4\xf5\xff"]),
        max_size=12,
    )
)
def test_a_hopeless_byte_is_given_out_at_once(values: list[int]) -> None:
    data = bytes(values)
    ids = BYTES_ONLY.encode_bytes(data)
    pieces, rest = streamed(BYTES_ONLY, ids)
    assert "".join(pieces) + rest == BYTES_ONLY.decode(ids) == data.decode(errors="replace")
    for end in range(len(data) + 1):
        known = data[: end - longest_hope(data[:end])]
        assert "".join(pieces[:end]) == known.decode(errors="replace")


@STEADY
@given(st.lists(st.integers(0, 479), max_size=40))
def test_any_ids_stream_to_what_decode_gives(ids: list[int]) -> None:
    pieces, rest = streamed(trained(), ids)
    assert "".join(pieces) + rest == trained().decode(ids)


def test_half_a_syllable_waits_and_ends_as_a_replacement_character() -> None:
    pieces, rest = streamed(BYTES_ONLY, BYTES_ONLY.encode_bytes("개".encode()[:2]))
    assert pieces == ["", ""]
    assert rest == "\ufffd"


def test_an_id_out_of_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="found 480"):
        trained().stream().push(480)
