"""The small files of a checkpoint. None is read that is larger than any honest one."""

from pathlib import Path
from typing import Any

from llmref.families.difference import MOST_CONFIG_BYTES
from llmref.files import read_object

# The largest index that is known has 10 MB; parsed, a file may take twenty times its size. What a
# tokenizer's files may have stands in `llmref.tokenizer.files`, which reads them.
MOST_BYTES = {
    "config.json": MOST_CONFIG_BYTES,
    "generation_config.json": MOST_CONFIG_BYTES,
    "model.safetensors.index.json": 64 * 2**20,
}
MOST_CHARACTERS = 500  # of what another part of the package says of a file, which may quote all of it


def existing(file: Path) -> Path:
    """The file, if it is there.

    Raises:
        FileNotFoundError: If it is not.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint: {file} is missing")
    return file


def read_values(file: Path) -> dict[str, Any]:
    """The object that one of the JSON files of a checkpoint holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is too large, is not JSON, or holds no object.
    """
    return read_object(existing(file), MOST_BYTES[file.name])


def shortened(error: Exception) -> str:
    """What an error says, short enough for one line.

    >>> len(shortened(ValueError("x" * 10**6)))
    500
    """
    text = " ".join(str(error).split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
