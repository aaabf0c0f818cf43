"""Small files of text and JSON, written by who knows whom: none is read that is larger than it may be."""

import json
import math
import os
from pathlib import Path
from reprlib import Repr
from typing import Any

_SHORT = Repr()
_SHORT.maxstring = 80


def read_text(file: str | os.PathLike[str], most_bytes: int) -> str:
    """The text of a file of bounded size.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has more bytes, or is not UTF-8.
    """
    size = Path(file).stat().st_size
    if size > most_bytes:
        raise ValueError(f"{file} must have at most {most_bytes:,} bytes, found {size:,}")
    try:
        return Path(file).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8, so it is damaged: {error}") from None


def read_json(file: str | os.PathLike[str], most_bytes: int) -> Any:
    """What a JSON file of bounded size holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has more bytes, or is not JSON (which has neither NaN nor infinity).
    """
    text = read_text(file, most_bytes)
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"{file} is not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:  # not JSON, or a number that is none
        raise ValueError(f"{file} is not JSON, so it is damaged or cut short: {error}") from None


def read_object(file: str | os.PathLike[str], most_bytes: int) -> dict[str, Any]:
    """The object that a JSON file of bounded size holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has more bytes, is not JSON, or holds anything else.
    """
    values = read_json(file, most_bytes)
    if not isinstance(values, dict):
        raise ValueError(f"{file} must hold an object, found {shown(values)}")
    return values


def shown(value: object) -> str:
    """A value that a file holds, short enough for an error.

    >>> len(shown("x" * 10**6)), shown(list(range(10**6)))
    (80, '[0, 1, 2, 3, 4, 5, ...]')
    """
    return _SHORT.repr(value)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"a number must be finite, found {text[:20]}")
    return number
