"""Decoding a stream: tokens arrive one at a time, and a character may lie across several of them."""

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Turns ids into text as they arrive, and never gives out half a character.

    Bytes that may still become a character are held back; a byte that no longer can is given out as U+FFFD at
    once. All pieces joined are what ``Tokenizer.decode`` gives for all ids.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Takes one id; returns the characters that are now complete (often none).

        Raises:
            ValueError: If the id is out of range.
        """
        text = self._decoder.decode(self._token_bytes(token_id))
        pending, _ = self._decoder.getstate()
        if pending[:1] == b"\xed" and pending[1:] >= b"\xa0":
            # Two bytes of a surrogate: Python waits for the third, though none makes it a character.
            text += self._decoder.decode(b"", final=True)
        return text

    def flush(self) -> str:
        """Ends the stream; returns U+FFFD for a character that never became whole, else the empty text."""
        return self._decoder.decode(b"", final=True)
