"""Files of text and JSON: what is not as it should be is one clear error, whatever its size."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmref.files import read_json, read_object, read_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=JSON)
def test_what_was_written_is_read(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("json") / "file.json"
    file.write_text(json.dumps(value), encoding="utf-8")
    assert read_json(file, file.stat().st_size) == value


def test_a_file_of_one_byte_too_many_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text("{} ", encoding="utf-8")
    assert read_object(file, 3) == {}
    with pytest.raises(ValueError, match="must have at most 2 bytes, found 3"):
        read_object(file, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "is not UTF-8, so it is damaged"),
        (b'{"a": 1', "is not JSON, so it is damaged or cut short"),
        (b"NaN", "a number must be finite, found NaN"),
        (b"-1e999", "a number must be finite, found -1e999"),
        (b"[" * 10**6, "is not JSON that can be read: it is nested too deeply"),
        (b"[1]", r"must hold an object, found \[1\]"),
    ],
)
def test_each_fault_is_named_with_the_file(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"file.json.*{message}"):
        read_object(file, 2**21)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "missing.txt", 10)
