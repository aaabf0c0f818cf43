"""The alphabet of ``tokenizer.json``: every byte as one printable character.

JSON holds text, not bytes, so GPT-2's tokenizer wrote each of the 256 bytes as a character: the printable
ones stand for themselves, the others are moved up from U+0100 on (a space becomes "Ġ").

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2, and its code.
"""

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_MOVED = [byte for byte in range(256) if byte not in _PRINTABLE]

BYTE_TO_CHARACTER = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(0x100 + place) for place, byte in enumerate(_MOVED)
}
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}

# The order of the 256 one-byte tokens: by their characters, as in the trainer of the `tokenizers` library.
BYTE_ORDER = sorted(range(256), key=BYTE_TO_CHARACTER.__getitem__)


def to_characters(token: bytes) -> str:
    """Writes a token's bytes in the printable alphabet.

    >>> to_characters(b" dog"), to_characters("개".encode())
    ('Ġdog', 'ê°ľ')
    """
    return "".join(map(BYTE_TO_CHARACTER.__getitem__, token))


def from_characters(characters: str) -> bytes:
    """Reads back what ``to_characters`` wrote.

    Raises:
        ValueError: If a character does not stand for a byte.

    >>> from_characters("Ġdog")
    b' dog'
    """
    try:
        return bytes(map(CHARACTER_TO_BYTE.__getitem__, characters))
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} in the token {characters!r} stands for no byte") from None
