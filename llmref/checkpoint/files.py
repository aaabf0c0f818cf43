"""The small files of a checkpoint. None is read that is larger than any honest one."""

import json
import math
from pathlib import Path
from reprlib import Repr
from typing import Any

# The largest that are known have 60 kB and 10 MB; parsed, a file may take twenty times its size. What a
# tokenizer's files may have stands in `llmref.tokenizer.files`, which reads them.
MOST_BYTES = {
    "config.json": 4 * 2**20,
    "generation_config.json": 4 * 2**20,
    "model.safetensors.index.json": 64 * 2**20,
}
MOST_CHARACTERS = 500  # of what another part of the package says of a file, which may quote all of it

_SHORT = Repr()
_SHORT.maxstring = 80


def existing(file: Path) -> Path:
    """The file, if it is there and no larger than a file of its name may be.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is larger.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint: {file} is missing")
    most, found = MOST_BYTES.get(file.name), file.stat().st_size
    if most is not None and found > most:
        raise ValueError(f"{file} must have at most {most:,} bytes, found {found:,}")
    return file


def read_json(file: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is too large, is not JSON (which has neither NaN nor infinity), or is no object.
    """
    data = existing(file).read_bytes()
    try:
        values = json.loads(data.decode("utf-8"), parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"{file} is not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number that is none
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{file} must hold an object, found {shown(values)}")
    return values


def shown(value: object) -> str:
    """A value that a file holds, short enough for an error.

    >>> len(shown("x" * 10**6)), shown(list(range(10**6)))
    (80, '[0, 1, 2, 3, 4, 5, ...]')
    """
    return _SHORT.repr(value)


def shortened(error: Exception) -> str:
    """What an error says, short enough for one line.

    >>> len(shortened(ValueError("x" * 10**6)))
    500
    """
    text = " ".join(str(error).split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"a number must be finite, found {text[:20]}")
    return number
