"""Added tokens: those that a text may hold as names, found before it is cut into words."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache


def cut(text: str, ids: Mapping[str, int]) -> list[str | int]:
    """Cuts a text at the names of tokens.

    Args:
        text: Any text.
        ids: Names and ids. Of names that begin at one place, the longest counts.

    Returns:
        The text between the names as it is, and ids in the place of names.

    >>> cut("to be<|end|>or", {"<|end|>": 0, "<|": 1})
    ['to be', 0, 'or']
    """
    if not ids:
        return [text]
    parts = _names(frozenset(ids)).split(text)  # text, name, text, name, …, text
    return [ids[part] if place % 2 else part for place, part in enumerate(parts) if part]


@lru_cache(maxsize=64)
def _names(names: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})")


def join_texts(parts: Iterable[str | int], special_tokens: Mapping[str, int]) -> Iterator[str | int]:
    """Joins texts that stand beside each other, since a word may reach from one into the next.

    Args:
        parts: Texts, and ids of special tokens between them.
        special_tokens: Names and ids of the special tokens.

    Raises:
        ValueError: If an id is no special token's, or if a text holds a lone surrogate.

    >>> list(join_texts(["to ", "be", 0, "or"], {"<|end|>": 0}))
    ['to be', 0, 'or']
    """
    known = set(special_tokens.values())
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        elif part in known:
            check_text(text)
            if text:
                yield text
            yield part
            text = ""
        else:
            raise ValueError(f"an id among texts must be a special token's, found {part}")
    check_text(text)
    if text:
        yield text


def check_allowed(allowed_special: Collection[str], special_tokens: Mapping[str, int]) -> None:
    """Raises a `ValueError` if something is allowed that is no special token."""
    unknown = sorted(set(allowed_special) - set(special_tokens))
    if unknown:
        raise ValueError(f"allowed_special must be among {sorted(special_tokens)}, found {unknown}")


def check_text(text: str) -> None:
    """Raises a `ValueError` if a text holds a lone surrogate, which no UTF-8 can say."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text must be valid Unicode, found the lone surrogate {text[error.start]!r} at {error.start}; "
            "encode_bytes takes any bytes"
        ) from None
