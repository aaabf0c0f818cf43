"""Decoding a stream: tokens arrive one at a time, and a character may lie across several of them."""

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Turns ids into text as they arrive, and never gives out half a character.

    Bytes that may still become a character are held back; a byte that no longer can is given out as U+FFFD at
    once. All pieces joined are what the tokenizer's ``decode`` gives for all ids.
    """

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        first_bytes: Callable[[int], bytes] | None = None,
        spaces: int = 0,
    ) -> None:
        """Makes a decoder at the beginning of a text.

        Args:
            token_bytes: The bytes of a token.
            first_bytes: Those of the text's first token, where they are others.
            spaces: How many spaces are left out if the text begins with them.
        """
        self._token_bytes = token_bytes
        self._next_bytes = first_bytes or token_bytes
        self._spaces = spaces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Takes one id; returns the characters that are now complete (often none).

        Raises:
            ValueError: If the id is out of range.
        """
        data = self._next_bytes(token_id)
        self._next_bytes = self._token_bytes
        while self._spaces and data.startswith(b" "):
            data, self._spaces = data[1:], self._spaces - 1
        if data:
            self._spaces = 0  # the text has begun
        text = self._decoder.decode(data)
        pending, _ = self._decoder.getstate()
        if pending[:1] == b"\xed" and pending[1:] >= b"\xa0":
            # Two bytes of a surrogate: Python waits for the third, though none makes it a character.
            text += self._decoder.decode(b"", final=True)
        return text

    def flush(self) -> str:
        """Ends the stream; returns U+FFFD for a character that never became whole, else the empty text."""
        return self._decoder.decode(b"", final=True)
