r"""The split before the merges: a text becomes words, and no token ever crosses from one word into the next.

Published tokenizers write this pattern with classes such as ``\p{L}`` and ``\s``, whose members change with
the Unicode version of each engine. So every class is written out before it is used: by hand in our own
pattern, which Python's ``re``, the Oniguruma engine of the ``tokenizers`` library and a browser's ``RegExp``
(flag ``u``) then read alike; and by ``write_out`` in a published one, with the members that Oniguruma gives.
"""

import re
from functools import cache
from itertools import groupby

from tokenizers import Regex
from tokenizers.normalizers import Replace

SPACE = r"\t\n\u000b\f\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
DIGIT = r"0-9"
PUNCTUATION = (
    r"!-/:-@\[-`{-~"  # ASCII
    r"\u00a1-\u00bf\u2010-\u2027\u2030-\u205e"  # Latin-1, and the general block without its joiners
    r"\u3001-\u3003\u3008-\u3020"  # Chinese, Japanese and Korean
    r"\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"  # their full-width forms
)

PATTERN = "|".join(
    [
        rf" ?[^{SPACE}{DIGIT}{PUNCTUATION}]+",  # a word in any script, with the space before it
        rf" ?[{DIGIT}]{{1,3}}",  # digits, at most three together
        rf" ?[{PUNCTUATION}]+",
        rf"[{SPACE}]+(?![^{SPACE}])",  # white space, but its last character is left to the next word
        rf"[{SPACE}]+",
    ]
)

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's split, which is also what ``use_regex`` means in a ``tokenizer.json``."""

_ESCAPE = r"\\(?:[tnrf]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\[\]\\^$.|?*+(){}/\-'\"#&~!%,:;<=>@_`])"
_CATEGORY = r"\\[sd]|\\p\{[LMNPSZ][a-z]?\}"
_PART = re.compile(
    rf"(?P<set>\[(?:{_CATEGORY}|{_ESCAPE}|(?!&&|--)[^\\\[\]])+\])"
    r"|\(\?i:(?P<folded>(?:[A-Za-z|']|\[[A-Za-z]+\])+)\)(?!\+|\*|\{)"
    rf"|(?P<category>{_CATEGORY})"
    r"|\\(?P<other>[SD]|P\{[LMNPSZ][a-z]?\})"
    r"|(?P<kept>\(\?[:=!]|\((?!\?)|\)(?![*+{])"  # groups, never repeated: that can take forever
    r"|[?*+]|\{[0-9]+(?:,[0-9]*)?\}(?![+?])"  # repeats; engines differ on {1,3}+
    rf"|{_ESCAPE}|[^\\\[\](){{}}^$])"
)
_MORE_THAN_ONE = re.compile("ss|st|ff|fi|fl", re.IGNORECASE)  # one letter such as ß can stand for two


def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""Compiles a split pattern; what the pattern leaves out becomes a piece of its own.

    So the pieces always join to the whole text, as with the "isolated" split of the ``tokenizers`` library.

    Args:
        pattern: A regular expression that ``write_out`` takes.

    Returns:
        The compiled pattern; its ``findall`` gives the pieces of a text.

    Raises:
        ValueError: If the pattern is no regular expression, captures groups, matches the empty text, or uses
            something that engines read differently.

    >>> compile_pattern(PATTERN).findall("The dog's 2024 bones.\n\n  강아지가 짖었다!")
    ['The', ' dog', "'", 's', ' 202', '4', ' bones', '.', '\n\n ', ' 강아지가', ' 짖었다', '!']
    >>> compile_pattern("[0-9]+").findall("abc 42")
    ['abc ', '42']
    >>> compile_pattern(GPT2_PATTERN).findall("The dog's 2024 bones.")
    ['The', ' dog', "'s", ' 2024', ' bones', '.']
    """
    written = write_out(pattern)
    try:
        compiled = re.compile(rf"{written}|(?:(?!{written})[\x00-\U0010ffff])+")
        alone = re.compile(written)
    except (re.error, OverflowError) as error:
        raise ValueError(f"split pattern is not a regular expression: {error}") from None
    if alone.groups:
        raise ValueError(
            f"split pattern must not capture: write (?:…) instead of its {alone.groups} group(s)"
        )
    if alone.match(""):
        raise ValueError("split pattern must not match the empty text")
    return compiled


def write_out(pattern: str) -> str:
    r"""Writes the classes of a published pattern out, so that it means the same in every engine.

    Written out are ``\s``, ``\d``, ``\p{L}`` and the like, their opposites ``\S`` and ``\P{L}`` outside of
    ``[…]``, and the letters of ``(?i:…)``. The members are those of the ``tokenizers`` library's own engine.

    Args:
        pattern: A regular expression.

    Raises:
        ValueError: If it uses something else that engines read differently, or that can take forever.

    >>> write_out(r"[^\r\n\p{L}]?\p{L}+")[:20]
    '[^\\r\\nA-Za-zªµºÀ-ÖØ-'
    >>> write_out("(?i:'m)")
    "(?:'[Mm])"
    """
    written, place = [], 0
    while place < len(pattern):
        part = _PART.match(pattern, place)
        if part is None or (part["folded"] and _MORE_THAN_ONE.search(part["folded"])):
            raise ValueError(
                f"split pattern must mean the same in every engine, found {pattern[place:][:8]!r} at "
                f"{place}: write the class out, and use lookaheads and plain groups (?:…) that do not repeat"
            )
        written.append(_write_out(part))
        place = part.end()
    return "".join(written)


def _write_out(part: re.Match[str]) -> str:
    if part["set"]:
        return re.sub(_CATEGORY, lambda found: members(found[0]), part["set"])
    if part["category"]:
        return f"[{members(part['category'])}]"
    if part["other"]:
        return f"[^{members(chr(92) + part['other'][0].lower() + part['other'][1:])}]"
    if part["folded"]:
        letters = re.sub(
            r"\[([A-Za-z]+)\]|([A-Za-z])",
            lambda found: "[" + "".join(members(f"(?i:{letter})") for letter in found[1] or found[2]) + "]",
            part["folded"],
        )
        return f"(?:{letters})"
    return part["kept"]


@cache
def _characters() -> str:
    """Where characters can be: the first four planes, and the block of tags and selectors."""
    return "".join(map(chr, [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE1000)]))


@cache
def members(character_class: str) -> str:
    r"""The members of a class in Oniguruma, as what stands between ``[`` and ``]``.

    >>> members(r"\s")
    '\t-\r \x85\xa0\u1680\u2000-\u200a\u2028-\u2029\u202f\u205f\u3000'
    """
    outside = Regex(rf"(?:(?!{character_class})[\x{{0}}-\x{{10ffff}}])+")
    inside = Replace(outside, "").normalize_str(_characters())
    runs = []
    for _, run in groupby(enumerate(inside), key=lambda placed: ord(placed[1]) - placed[0]):
        characters = [character for _, character in run]
        first, last = (re.sub(r"[\[\]\\^&~|-]", r"\\\g<0>", characters[end]) for end in (0, -1))
        runs.append(first if len(characters) == 1 else f"{first}-{last}")
    return "".join(runs)
