"""What the rest of the package asks of a tokenizer."""

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol, runtime_checkable

from llmref.tokenizer.stream import StreamDecoder


@runtime_checkable
class TextTokenizer(Protocol):
    """Text to ids and back. ``Tokenizer`` is our own; ``LibraryTokenizer`` runs any ``tokenizer.json``."""

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Names and ids of the tokens that a text cannot hold unless they are allowed."""

    @property
    def begins_with(self) -> tuple[int, ...] | None:
        """The ids that a text of the model begins with, or `None` if only the model's config says."""

    def encode(self, text: str, *, allowed_special: Collection[str] = ()) -> list[int]:
        """Turns a text into ids. Nothing is added, and special tokens that are not allowed are plain text.

        Raises:
            ValueError: If a name in ``allowed_special`` is no special token, or if the text holds a lone
                surrogate.
        """

    def encode_parts(self, parts: Iterable[str | int]) -> list[int]:
        """Turns a text whose special tokens are known into ids: plain texts, and ids between them.

        Raises:
            ValueError: If an id is no special token's, or if a text holds a lone surrogate.
        """

    def decode(self, ids: Iterable[int]) -> str:
        """Turns ids into text. Bytes that are not UTF-8 become U+FFFD; special tokens show their names.

        Raises:
            ValueError: If an id is out of range.
        """

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token inside a text.

        Raises:
            ValueError: If the id is out of range.
        """

    def pieces(self, ids: Iterable[int]) -> list[str]:
        r"""Each token on its own, for display; bytes that are no whole character are written ``\xNN``."""

    def stream(self, after: Iterable[int] = ()) -> StreamDecoder:
        """A decoder for ids that arrive one by one, after others or from the beginning of a text."""

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes ``tokenizer.json``."""
