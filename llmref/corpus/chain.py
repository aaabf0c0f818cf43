"""A Markov chain over units: what can come next, how to draw from it, and exact expectations over it."""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from llmref.corpus.grammar import (
    END,
    Atom,
    Node,
    Option,
    Slot,
    Variable,
    Vocabulary,
    build_trie,
    compile_template,
    flatten,
)

Values = tuple[int | None, ...]
Parts = Mapping[str, list[tuple[int, str, str]]]


class State(NamedTuple):
    """Where a document stands: a place in a trie, and what has been drawn so far."""

    node: Node
    values: Values


class Choice(NamedTuple):
    """One unit that can come next, with its probability and the state after it."""

    probability: float
    unit: str
    state: State


class Chain:
    """The chain that a set of parts describes.

    Args:
        parts: options by part name, as ``parse_parts`` returns them. The names of next parts begin with
            the language and a colon; a next part that is not in ``parts`` ends the document.
        variables: what documents draw.
        vocabularies: the meaning of slots, by language.
        start: the part that a document begins with.

    Source: Shannon, "A Mathematical Theory of Communication", sections 2 to 7.
    """

    def __init__(
        self, parts: Parts, variables: Sequence[Variable], vocabularies: Mapping[str, Vocabulary], start: str
    ) -> None:
        self._variables = tuple(variables)
        self._start = start
        self._options: dict[str, list[Option]] = {}
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name in self._options:
                continue
            if name in parts:
                space = "" if name == start else " "
                self._options[name] = [
                    Option(
                        share,
                        compile_template(text and space + text, vocabularies[after[:2]]),
                        after if text else "",
                    )
                    for share, text, after in flatten(parts, name)
                ]
            else:
                self._options[name] = [Option(1.0, (END,), "")]
            waiting += [option.next for option in self._options[name] if option.next]
        self._roots = {name: build_trie(options) for name, options in self._options.items()}
        self._roots[""] = Node()
        self._programs = {name: _program(options, self._variables) for name, options in self._options.items()}

    @property
    def start(self) -> State:
        """The state before the first unit."""
        return State(self._roots[self._start], (None,) * len(self._variables))

    def variable(self, name: str) -> int:
        """The index of the variable called ``name``."""
        return next(variable.index for variable in self._variables if variable.name == name)

    def step(self, state: State) -> list[Choice]:
        """Everything that can come next. The units differ, so the text alone says which state follows.

        The choices are empty after the unit that ends a document.
        """
        return [
            Choice(probability, unit, self._settled(node, values))
            for probability, unit, node, values in self._edges(state.node, state.values)
        ]

    def _settled(self, node: Node, values: Values) -> State:
        return State(node if node.next is None else self._roots[node.next], values)

    def _edges(self, node: Node, values: Values) -> Iterator[tuple[float, str, Node, Values]]:
        for share, atom, child in node.edges:
            if isinstance(atom, str):
                yield share, atom, child, values
                continue
            index = atom.variable
            for value, probability in self._variables[index].given(values):
                yield (
                    share * probability,
                    atom.texts[value],
                    child,
                    (*values[:index], value, *values[index + 1 :]),
                )

    def sample(self, rng: random.Random) -> str:
        """Draw one document: distributed as by stepping, but a sentence at a time, which is quicker."""
        draw = rng.random
        values: list[int | None] = [None] * len(self._variables)
        text: list[str] = []
        part = self._start
        while part:
            cumulative, options = self._programs[part]
            atoms, part = options[bisect(cumulative, draw())]
            for atom in atoms:
                if isinstance(atom, str):
                    text.append(atom)
                    continue
                index, parent, tables, texts = atom
                value = values[index]
                if value is None:
                    chances, outcomes = tables[None if parent is None else values[parent]]
                    value = values[index] = outcomes[bisect(chances, draw())]
                text.append(texts[value])
        return "".join(text)

    def walk(
        self, rng: random.Random, values: Mapping[int, int] | None = None
    ) -> Iterator[tuple[State, Choice]]:
        """Draw one document unit by unit, giving each state and the choice made there.

        Args:
            rng: where the draws come from.
            values: what some variables (by index) are known to be from the start.
        """
        known = values or {}
        state = State(self.start.node, tuple(known.get(index) for index in range(len(self._variables))))
        while choices := self.step(state):
            choice = rng.choices(choices, [c.probability for c in choices])[0]
            yield state, choice
            state = choice.state

    def visits(self) -> Iterator[tuple[float, list[tuple[float, str]]]]:
        """Every situation a document can be in: how often it is met, and the (probability, unit) choices.

        Situations that differ only in what is never read again are taken together: the list stays short.
        Sums over it are exact expectations over all documents.
        """
        reads = {name: self._reads(options) for name, options in self._options.items()}
        order = self._order()
        live: dict[str, frozenset[int]] = {"": frozenset()}
        for name in reversed(order):
            live[name] = reads[name].union(*(live[option.next] for option in self._options[name]))
        arriving: dict[str, dict[Values, float]] = defaultdict(lambda: defaultdict(float))
        arriving[self._start][self.start.values] = 1.0
        for name in order:
            members: dict[Values, list[tuple[Values, float]]] = defaultdict(list)
            for values, mass in arriving.pop(name).items():
                members[_only(values, reads[name])].append((values, mass))
            totals = {seen: math.fsum(mass for _, mass in alike) for seen, alike in members.items()}
            needed = _needed(self._roots[name], self._variables, live)
            # What the part found when it began, and what is known now -> how often that is so.
            waiting = [(self._roots[name], {(seen, seen): total for seen, total in totals.items()})]
            exits: dict[str, dict[tuple[Values, Values], float]] = defaultdict(lambda: defaultdict(float))
            while waiting:
                node, known = waiting.pop()
                if node.next is None:
                    yield from self._leave(node, known, needed, waiting)
                    continue
                for key, mass in known.items():
                    exits[node.next][key] += mass
            exits.pop("", None)
            for part, leaving in exits.items():
                for (seen, now), mass in leaving.items():
                    for values, weight in members[seen]:
                        arriving[part][_joined(now, _only(values, live[part]))] += (
                            weight * mass / totals[seen]
                        )

    def _leave(
        self,
        node: Node,
        known: dict[tuple[Values, Values], float],
        needed: Mapping[Node, frozenset[int]],
        waiting: list[tuple[Node, dict[tuple[Values, Values], float]]],
    ) -> Iterator[tuple[float, list[tuple[float, str]]]]:
        """Visit one node, and put those that follow it on the list."""
        words = [(share, atom) for share, atom, _ in node.edges if isinstance(atom, str)]
        if len(words) == len(node.edges):  # the same choices, whatever was drawn: one visit for all
            yield math.fsum(known.values()), words
            for share, _, child in node.edges:
                waiting.append((child, known if share == 1 else {key: share * m for key, m in known.items()}))
            return
        following: dict[Node, dict[tuple[Values, Values], float]] = defaultdict(lambda: defaultdict(float))
        over = {child: self._over(node, atom, child, needed) for _, atom, child in node.edges}
        for (seen, now), mass in known.items():
            edges = list(self._edges(node, now))
            yield mass, [(probability, unit) for probability, unit, _, _ in edges]
            for probability, _, child, after in edges:
                for index in over[child]:
                    after = (*after[:index], None, *after[index + 1 :])
                following[child][seen, after] += mass * probability
        waiting.extend(following.items())

    @staticmethod
    def _over(node: Node, atom: Atom, child: Node, needed: Mapping[Node, frozenset[int]]) -> frozenset[int]:
        """The variables that nothing reads any more once ``child`` is reached."""
        drawn = {atom.variable} if isinstance(atom, Slot) else set()
        return (needed[node] | drawn) - needed[child]

    def _reads(self, options: Sequence[Option]) -> frozenset[int]:
        slots = [atom for option in options for atom in option.atoms if isinstance(atom, Slot)]
        parents = (self._variables[slot.variable].parent for slot in slots)
        return frozenset(slot.variable for slot in slots).union(p for p in parents if p is not None)

    def _order(self) -> list[str]:
        """The parts, each before those that follow it."""
        done: dict[str, None] = {}

        def visit(name: str) -> None:
            if name and name not in done:
                for option in self._options[name]:
                    visit(option.next)
                done[name] = None

        visit(self._start)
        return list(reversed(done))


def _needed(
    root: Node, variables: Sequence[Variable], live: Mapping[str, frozenset[int]]
) -> dict[Node, frozenset[int]]:
    """For each node below ``root``, the variables that anything after it still reads."""
    needed: dict[Node, frozenset[int]] = {}

    def visit(node: Node) -> frozenset[int]:
        read: set[int] = set() if node.next is None else set(live[node.next])
        for _, atom, child in node.edges:
            read |= visit(child)
            if isinstance(atom, Slot):
                parent = variables[atom.variable].parent
                read |= {atom.variable} if parent is None else {atom.variable, parent}
        needed[node] = frozenset(read)
        return needed[node]

    visit(root)
    return needed


def _joined(values: Values, others: Values) -> Values:
    return tuple(b if a is None else a for a, b in zip(values, others, strict=True))


def _only(values: Values, indices: frozenset[int]) -> Values:
    return tuple(value if index in indices else None for index, value in enumerate(values))


_Table = dict[int | None, tuple[list[float], list[int]]]
_Draw = tuple[int, int | None, _Table, tuple[str, ...]]
_Program = tuple[list[float], list[tuple[tuple[str | _Draw, ...], str]]]


def _cumulative(shares: Sequence[float]) -> list[float]:
    # The last bound is left out, so that rounding can never put a draw beyond it.
    total = sum(shares)
    return [bound / total for bound in accumulate(shares)][:-1]


def _program(options: Sequence[Option], variables: Sequence[Variable]) -> _Program:
    tables: list[_Table] = [
        {
            given: (_cumulative([share for _, share in outcomes]), [value for value, _ in outcomes])
            for given, outcomes in variable.outcomes.items()
        }
        for variable in variables
    ]

    def compiled(option: Option) -> tuple[str | _Draw, ...]:
        atoms: list[str | _Draw] = []
        for atom in option.atoms:
            if isinstance(atom, Slot):
                atoms.append(
                    (atom.variable, variables[atom.variable].parent, tables[atom.variable], atom.texts)
                )
            elif atoms and isinstance(atoms[-1], str):
                atoms[-1] += atom
            else:
                atoms.append(atom)
        return tuple(atoms)

    return _cumulative([option.share for option in options]), [(compiled(o), o.next) for o in options]
