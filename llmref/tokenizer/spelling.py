"""What each token of a published tokenizer spells, as bytes: its file's decoder, read token by token.

The ``tokenizers`` library decodes a whole list at once. Bytes for each token make a stream possible, and tell
what a token is when it stands alone.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from llmref.tokenizer.alphabet import from_characters
from llmref.tokenizer.files import Unexpected

Spell = Callable[[str], bytes]

_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
# English, closed up as in the library's WordPiece decoder.
_CLOSED_UP = [(f" {mark}", mark) for mark in (".", "?", "!", ",")]
_CLOSED_UP += [(" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't")]
_CLOSED_UP += [(" 's", "'s"), (" 've", "'ve"), (" 're", "'re")]


class Spelling(NamedTuple):
    """How tokens spell a text.

    Attributes:
        inner: The bytes of a token inside a text.
        first: The bytes of a text's first token.
        spaces: How many spaces are left out if the text begins with them.
    """

    inner: Spell
    first: Spell
    spaces: int = 0


def spelling(decoder: Any) -> Spelling:
    """Reads the decoder of a ``tokenizer.json``.

    Args:
        decoder: Its JSON: byte-level, in SentencePiece's style, WordPiece, or `None`.

    Raises:
        ValueError: If it is another one.

    >>> steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}]
    >>> inner, first, spaces = spelling({"type": "Sequence", "decoders": steps})
    >>> inner("▁dog"), inner("<0xEA>")
    (b' dog', b'\\xea')
    """
    if decoder is None:
        return Spelling(lambda token: f" {token}".encode(), str.encode)
    steps = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    match [(step["type"], step) for step in steps]:
        case [("ByteLevel", _)]:
            return Spelling(_byte_level, _byte_level)
        case [("WordPiece", step)]:
            return _word_piece(str(step["prefix"]), bool(step["cleanup"]))
        case [("Metaspace", step)]:
            mark = str(step["replacement"])
            scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
            first = " " if scheme == "never" else ""
            return Spelling(
                lambda token: token.replace(mark, " ").encode(),
                lambda token: token.replace(mark, first).encode(),
            )
        case [*replaced, ("ByteFallback", _)] if _replace_only(replaced):
            return _byte_fallback(replaced, 0)
        case [*replaced, ("ByteFallback", _), ("Fuse", _)] if _replace_only(replaced):
            return _byte_fallback(replaced, 0)
        case [*replaced, ("ByteFallback", _), ("Fuse", _), ("Strip", strip)] if _replace_only(replaced):
            if strip["content"] == " " and strip["stop"] == 0:
                return _byte_fallback(replaced, int(strip["start"]))
    raise Unexpected(f"expected a known decoder, found {json.dumps(decoder, ensure_ascii=False)[:300]}")


def _replace_only(steps: list[tuple[str, Any]]) -> bool:
    return all(kind == "Replace" and "String" in step["pattern"] for kind, step in steps)


def _byte_level(token: str) -> bytes:
    try:
        return from_characters(token)
    except ValueError:  # an added token, which is written as it is
        return token.encode()


def _byte_fallback(replaced: list[tuple[str, Any]], spaces: int) -> Spelling:
    def spell(token: str) -> bytes:
        for _, step in replaced:
            token = token.replace(step["pattern"]["String"], step["content"])
        byte = _BYTE.fullmatch(token)
        return bytes.fromhex(byte[1]) if byte else token.encode()

    return Spelling(spell, spell, spaces)


def _word_piece(prefix: str, cleanup: bool) -> Spelling:
    def spell(token: str) -> bytes:
        for apart, closed_up in _CLOSED_UP if cleanup else ():
            token = token.replace(apart, closed_up)
        return token.encode()

    def inner(token: str) -> bytes:
        return spell(token.removeprefix(prefix) if token.startswith(prefix) else f" {token}")

    return Spelling(inner, spell)
