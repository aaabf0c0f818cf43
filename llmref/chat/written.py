"""Text that knows which of its characters a template wrote itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex


def marks_of(text: str) -> bytes:
    """For each character, 1 if the template wrote it, and 0 if it came from elsewhere."""
    return text.marks if isinstance(text, Written) else bytes(len(text))


class Written(str):
    """A text with a mark for each character: whether the template wrote it.

    Joining, cutting and stripping keep the marks. Every other operation gives a plain ``str``, which is text
    that came from elsewhere: what is not known to be the template's is not trusted.

    >>> text = Written("<|user|>") + "Hello<|end|>" + Written("<|end|>")
    >>> "".join(character for character, mark in zip(text, text.marks) if mark)
    '<|user|><|end|>'
    """

    marks: bytes

    def __new__(cls, text: str, marks: bytes | None = None) -> Written:
        """Makes a text: all of it the template's, if there are no marks."""
        written = super().__new__(cls, text)
        written.marks = b"\1" * len(text) if marks is None else marks
        return written

    def __str__(self) -> str:
        return self

    def __add__(self, other: str) -> Written:
        return Written(super().__add__(other), self.marks + marks_of(other))

    def __radd__(self, other: str) -> Written:
        return Written(other.__add__(self), marks_of(other) + self.marks)

    def __getitem__(self, key: SupportsIndex | slice) -> Written:
        if not isinstance(key, slice):
            key = range(len(self))[key]
            key = slice(key, key + 1)
        return Written(super().__getitem__(key), self.marks[key])

    def lstrip(self, characters: str | None = None, /) -> Written:
        return self[len(self) - len(super().lstrip(characters)) :]

    def rstrip(self, characters: str | None = None, /) -> Written:
        return self[: len(super().rstrip(characters))]

    def strip(self, characters: str | None = None, /) -> Written:
        return self.lstrip(characters).rstrip(characters)

    def split(self, separator: str | None = None, maxsplit: SupportsIndex = -1) -> list[Any]:
        return self._parts(super().split(separator, maxsplit), separator)

    def rsplit(self, separator: str | None = None, maxsplit: SupportsIndex = -1) -> list[Any]:
        return self._parts(super().rsplit(separator, maxsplit), separator)

    def _parts(self, parts: list[str], separator: str | None) -> list[Any]:
        if separator is None:
            return parts  # it does not say how much white space stood between them
        places = [0]
        for part in parts:
            places.append(places[-1] + len(part) + len(separator))
        return [self[place : place + len(part)] for place, part in zip(places, parts, strict=False)]

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        if not old:
            return super().replace(old, new, count)
        return Written("", b"") + join(new, self.split(old, count))

    def join(self, parts: Iterable[str], /) -> Written:
        return join(self, parts)


def join(separator: str, parts: Iterable[str]) -> Written:
    """Joins texts, with their marks.

    >>> join(", ", [Written("a"), "b"]).marks
    b'\\x01\\x00\\x00\\x00'
    """
    parts = list(parts)
    return Written(
        str.join(separator, parts),  # not the method of `Written`, which calls this
        marks_of(separator).join(map(marks_of, parts)),
    )
