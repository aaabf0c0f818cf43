"""From readable templates to a Markov chain over units.

A *unit* is one word with the space before it, or one run of punctuation: the pieces that a tokenizer never
joins. The templates of a part are laid into a trie, so that a choice is made only where it can be seen in
the text: after any prefix that ends at a unit, the text itself says which state the story is in.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from llmref.corpus.words import Word

_PUNCTUATION = r"!-/:-@\[-`{-~"
UNIT = re.compile(rf" ?(?:[^\s\d{_PUNCTUATION}]+|[{_PUNCTUATION}]+)")
_ATOM = re.compile(rf" ?(?:{{[^}}]*}}|[^\s\d{_PUNCTUATION}]+|[!-/:-@\[-`|~]+)")
_SLOT = re.compile(r"( ?)\{([A-Za-z_]+)(?::(\S+))?\}")

Outcomes = tuple[tuple[int, float], ...]
"""What a variable can be, as (value, probability)."""


@dataclass(frozen=True)
class Variable:
    """Something that a story draws once and then keeps.

    Attributes:
        name: what templates call it.
        index: its place in the tuple of values of a state.
        outcomes: its distribution for each value of the parent (only the key None where it has no parent).
        parent: the index of the variable that its distribution depends on.
    """

    name: str
    index: int
    outcomes: Mapping[int | None, Outcomes]
    parent: int | None = None

    def given(self, values: Sequence[int | None]) -> Outcomes:
        """The distribution, given the values drawn so far; one certain outcome if it is already drawn."""
        known = values[self.index]
        if known is not None:
            return ((known, 1.0),)
        return self.outcomes[None if self.parent is None else values[self.parent]]


class Slot(NamedTuple):
    """A place in a template that a variable fills: ``texts[value]`` is the unit that stands there."""

    name: str
    variable: int
    texts: tuple[str, ...]


Atom = str | Slot
END = ""
"""The unit that ends a document: no text, and one token of its own."""


@dataclass(frozen=True)
class Vocabulary:
    """What slots mean in one language: for each name its variable, and a word for each value."""

    language: str
    names: Mapping[str, tuple[int, tuple[Word, ...]]]

    def slot(self, name: str, form: str, space: str) -> Slot:
        """The slot ``{name:form}``.

        Raises:
            ValueError: no variable or property is called ``name``.
        """
        if name not in self.names:
            raise ValueError(f"unknown slot {name!r}: expected one of {', '.join(sorted(self.names))}")
        variable, words = self.names[name]
        return Slot(name, variable, tuple(space + word.form(self.language, form) for word in words))


class Option(NamedTuple):
    """One way for a part to go on: its share, its atoms, and the part that follows."""

    share: float
    atoms: tuple[Atom, ...]
    next: str


@dataclass(eq=False)
class Node:
    """A place in the trie of a part: the edges that leave it, or the part that follows."""

    edges: list[tuple[float, Atom, Node]] = field(default_factory=list)
    next: str | None = None


def parse_parts(text: str) -> dict[str, list[tuple[int, str, str]]]:
    """Read ``[part -> next]`` headings and their ``weight template`` lines.

    Returns:
        For each part its options as (weight, template, next part); an empty template says nothing.

    Raises:
        ValueError: a line has no weight, or nothing says which part follows it.

    >>> parse_parts('''
    ... [greeting -> end]
    ... 3 Hello, {name}!
    ... 1 - -> farewell
    ... ''')
    {'greeting': [(3, 'Hello, {name}!', 'end'), (1, '', 'farewell')]}
    """
    parts: dict[str, list[tuple[int, str, str]]] = {}
    part, default = "", ""
    for line in text.strip().splitlines():
        if line.startswith("["):
            part, _, default = line.strip("[] ").partition(" -> ")
            parts[part] = []
        elif line:
            head, _, after = line.partition(" -> ")
            weight, _, template = head.partition(" ")
            if not weight.isdigit() or not (after or default):
                raise ValueError(f"expected 'weight template -> next part' in part {part!r}, found {line!r}")
            parts[part].append((int(weight), "" if template == "-" else template, after or default))
    return parts


def split_units(text: str) -> list[str]:
    """Cut a text into units; joined again they are the text.

    Raises:
        ValueError: the text holds something that belongs to no unit, such as a digit or two spaces.

    >>> split_units("The dog ran.")
    ['The', ' dog', ' ran', '.']
    """
    units = UNIT.findall(text)
    if len("".join(units)) != len(text):
        raise ValueError(f"expected words and punctuation with single spaces, found {text!r}")
    return units


def compile_template(template: str, vocabulary: Vocabulary) -> tuple[Atom, ...]:
    """Turn a template into atoms, one for each unit.

    Raises:
        ValueError: a slot is unknown, or touches a word (the two would be one unit).
    """
    if template == END:
        return (END,)
    pieces = _ATOM.findall(template)
    if "".join(pieces) != template:
        raise ValueError(f"expected words, punctuation and slots, found {template!r}")
    atoms: list[Atom] = []
    after_word = False
    for piece in pieces:
        slot = _SLOT.fullmatch(piece)
        is_word = slot is not None or piece[-1].isalpha()
        if is_word and after_word and not piece.startswith(" "):
            raise ValueError(f"{piece!r} touches the word before it in {template!r}")
        atoms.append(vocabulary.slot(slot[2], slot[3] or "", slot[1]) if slot else piece)
        after_word = is_word
    return tuple(atoms)


def flatten(
    parts: Mapping[str, list[tuple[int, str, str]]], name: str, share: float = 1.0
) -> list[tuple[float, str, str]]:
    """The options of a part, where an option that says nothing is replaced by those of the part it leads to.

    >>> flatten({"a": [(1, "Hello.", "end"), (1, "", "b")], "b": [(1, "Bye.", "end")]}, "a")
    [(0.5, 'Hello.', 'end'), (0.5, 'Bye.', 'end')]
    """
    total = sum(weight for weight, _, _ in parts[name])
    options = []
    for weight, template, after in parts[name]:
        part_share = share * weight / total
        if template or after not in parts:
            options.append((part_share, template, after))
        else:
            options.extend(flatten(parts, after, part_share))
    return options


def build_trie(options: Sequence[Option]) -> Node:
    """Lay options into a trie; each edge carries its probability, given its node.

    Raises:
        ValueError: one option is the beginning of another, so that the text would not say which was meant.
    """
    node = Node()
    total = sum(option.share for option in options)
    grouped: dict[Atom, list[Option]] = defaultdict(list)
    for option in options:
        if option.atoms:
            grouped[option.atoms[0]].append(option._replace(atoms=option.atoms[1:]))
        elif node.next is None and len(options) == 1:
            node.next = option.next
        else:
            raise ValueError(f"an option that leads to {option.next!r} is the beginning of another one")
    for atom, followers in grouped.items():
        share = sum(option.share for option in followers) / total
        node.edges.append((share, atom, build_trie(followers)))
    return node
