r"""The split before the merges: a text becomes words, and no token ever crosses from one word into the next.

Published tokenizers write this pattern with classes such as ``\p{L}`` and ``\s``, whose members change with
the Unicode version of each engine. Here every class is written out, so that Python's ``re``, the Oniguruma
engine of the ``tokenizers`` library and a browser's ``RegExp`` (flag ``u``) cut every text alike.
"""

import re

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

# Whatever is not a literal character, a written-out class, a plain group or a lookahead.
_NOT_PORTABLE = re.compile(
    r"\\(?![tnrf\[\]\\^$.|?*+(){}/-]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})|\(\?(?![:=!])|&&|\[\[|--"
)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""Compiles a split pattern; what the pattern leaves out becomes a piece of its own.

    So the pieces always join to the whole text, as with the "isolated" split of the ``tokenizers`` library.

    Args:
        pattern: A regular expression that means the same in every engine (see the module's head).

    Returns:
        The compiled pattern; its ``findall`` gives the pieces of a text.

    Raises:
        ValueError: If the pattern is no regular expression, captures groups, matches the empty text, or uses
            something that engines read differently.

    >>> compile_pattern(PATTERN).findall("The dog's 2024 bones.\n\n  강아지가 짖었다!")
    ['The', ' dog', "'", 's', ' 202', '4', ' bones', '.', '\n\n ', ' 강아지가', ' 짖었다', '!']
    >>> compile_pattern("[0-9]+").findall("abc 42")
    ['abc ', '42']
    """
    unsafe = _NOT_PORTABLE.search(pattern)
    if unsafe:
        raise ValueError(
            f"split pattern must mean the same in every engine, found {pattern[unsafe.start() :][:8]!r} at "
            f"{unsafe.start()}: write the class out, and use plain groups (?:…) and lookaheads only"
        )
    try:
        compiled = re.compile(rf"{pattern}|(?:(?!{pattern})[\x00-\U0010ffff])+")
        alone = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"split pattern is not a regular expression: {error}") from None
    if alone.groups:
        raise ValueError(
            f"split pattern must not capture: write (?:…) instead of its {alone.groups} group(s)"
        )
    if alone.match(""):
        raise ValueError("split pattern must not match the empty text")
    return compiled
