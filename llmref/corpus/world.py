"""The small bilingual world: its documents, and the exact truth about them."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Protocol

from llmref.corpus import english, korean
from llmref.corpus.chain import Chain, State
from llmref.corpus.facts import FACTS, HEROES, Fact
from llmref.corpus.grammar import END, Outcomes, Variable, Vocabulary, parse_parts, split_units
from llmref.corpus.probes import Probe, fact_probes, reference_probes
from llmref.corpus.references import reference_lines
from llmref.corpus.words import (
    ANIMALS,
    DREAMS,
    FOODS,
    GAMES,
    HOMES,
    KINDS,
    LOOKS,
    MOODS,
    SPOTS,
    THINGS,
    TIMES,
    TRAITS,
    WEATHERS,
    Word,
)

LANGUAGES = ("ko", "en")
SPLITS = ("train", "held-out pairs")
END_OF_TEXT = "<|endoftext|>"


class Encoder(Protocol):
    """The part of a tokenizer that the world needs."""

    @property
    def special_tokens(self) -> Mapping[str, int]: ...

    def encode(self, text: str) -> list[int]: ...


def held_out(first: int, second: int) -> bool:
    """Whether this ordered pair of animals never meets in a reference sentence of the training split.

    Every animal is held out in both roles, and is seen in both roles: what is new is the pair alone.

    >>> sum(held_out(a, b) for a in range(12) for b in range(12) if a != b)
    18
    """
    distance = (second - first) % len(ANIMALS)
    return distance == 5 or (distance == 7 and first % 2 == 0)


def _falling(count: int, ratio: float) -> dict[int | None, Outcomes]:
    """The first of ``count`` values is the likeliest, each next one ``ratio`` times as likely."""
    shares = [ratio**value for value in range(count)]
    return {None: tuple((value, share / sum(shares)) for value, share in enumerate(shares))}


def _all_but_one(count: int) -> dict[int | None, Outcomes]:
    """Any value but the parent's, all alike."""
    return {other: tuple((v, 1 / (count - 1)) for v in range(count) if v != other) for other in range(count)}


def _second_animals(split: str) -> dict[int | None, Outcomes]:
    numbers = range(len(ANIMALS))
    table: dict[int | None, Outcomes] = {}
    for first in numbers:
        partners = [b for b in numbers if b != first and held_out(first, b) == (split == "held-out pairs")]
        table[first] = tuple((b, 1 / len(partners)) for b in partners)
    return table


# Slot name, its words, and how fast they become rarer from the first to the last.
_DRAWN: tuple[tuple[str, tuple[Word, ...], float], ...] = (
    ("hero", tuple(hero.name for hero in HEROES), 1.0),
    ("spot", SPOTS, 0.93),
    ("weather", WEATHERS, 0.85),
    ("time", TIMES, 0.8),
    ("look", LOOKS, 0.9),
    ("thing", THINGS, 0.95),
    ("mood", MOODS, 0.9),
    ("friend", ANIMALS, 0.95),
    ("treat", FOODS, 1.0),
    ("place", HOMES, 1.0),
    ("job", DREAMS, 1.0),
    ("errand", SPOTS, 1.0),
    ("hour", TIMES[1:], 0.8),
    ("pair", MOODS, 0.9),
    ("quarter", SPOTS, 1.0),
    ("kind", KINDS, 1.0),
    ("sort", KINDS, 1.0),
    ("trait", TRAITS, 0.95),
    ("game", GAMES, 0.95),
    ("player", ANIMALS, 1.0),
    ("a", ANIMALS, 1.0),
)
# Slot name, its words, and the slot that it never equals.
_DISTINCT: tuple[tuple[str, tuple[Word, ...], str], ...] = (
    ("dish", FOODS, "treat"),
    ("mate", ANIMALS, "player"),
    ("b", ANIMALS, "a"),
)
_SLOTS = tuple((name, words) for name, words, _ in (*_DRAWN, *_DISTINCT))
_NUMBER = {name: number for number, (name, _) in enumerate(_SLOTS)}
HERO = _NUMBER["hero"]


def _variables(split: str) -> tuple[Variable, ...]:
    drawn = [Variable(name, _NUMBER[name], _falling(len(words), ratio)) for name, words, ratio in _DRAWN]
    for name, words, other in _DISTINCT:
        table = _second_animals(split) if name == "b" else _all_but_one(len(words))
        drawn.append(Variable(name, _NUMBER[name], table, parent=_NUMBER[other]))
    return tuple(drawn)


def _vocabulary(language: str) -> Vocabulary:
    names = {name: (number, words) for number, (name, words) in enumerate(_SLOTS)}
    names |= {
        "home": (HERO, tuple(hero.home for hero in HEROES)),
        "food": (HERO, tuple(hero.food for hero in HEROES)),
        "dream": (HERO, tuple(hero.dream for hero in HEROES)),
    }
    if language == "en":
        for name, form in (("she", {"he": "he"}), ("She", {"he": "He"}), ("her", {"he": "his"})):
            names[name] = (HERO, tuple(Word("", form.get(hero.pronoun, name)) for hero in HEROES))
    return Vocabulary(language, names)


def _parts(language: str) -> dict[str, list[tuple[int, str, str]]]:
    parts = parse_parts((korean if language == "ko" else english).STORIES)
    sentences = reference_lines(language)
    for part, after in (
        ("refer-find", "ending-find"),
        ("refer-meet", "ending-meet"),
        ("fable", "fable-close"),
    ):
        parts[part] = [(weight, template, after) for weight, template in sentences]
    return {
        f"{language}:{name}": [
            (weight, template, f"{language}:{after}") for weight, template, after in options
        ]
        for name, options in parts.items()
    }


class World:
    """Short stories in Korean and English about a closed world, with their exact probabilities.

    A document is a Markov chain over units (words with their space, runs of punctuation). No choice is
    hidden: any prefix that ends at a unit stands for exactly one state. So every figure here is exact.

    Args:
        split: ``"train"`` is what the tiny model is trained on. ``"held-out pairs"`` is the same world, but
            its reference sentences hold exactly those pairs of animals that the training split never does.
            Documents that measure held-out *loss* come from ``"train"`` with a seed that was not trained on
            (all of them: without the short ones that training has met, it would be another distribution).
            The held-out pairs ask something else: whether a model resolves references it has never met.
        languages: the languages of the documents, each as likely as the other.

    Raises:
        ValueError: an unknown split or language.

    Source: Shannon, "A Mathematical Theory of Communication", sections 2 to 7.

    >>> world = World()
    >>> world.fact("minji-home").en
    'Minji lives in the forest.'
    >>> text = world.sample(seed=0)
    >>> math.isfinite(world.log_probability(text))
    True
    >>> world.log_probability("Minji lives in the castle.")
    -inf
    """

    def __init__(self, split: str = "train", languages: Iterable[str] = LANGUAGES) -> None:
        self.split, self.languages = split, tuple(languages)
        if split not in SPLITS:
            raise ValueError(f"expected a split among {SPLITS}, found {split!r}")
        unknown = set(self.languages) - set(LANGUAGES)
        if unknown or not self.languages:
            raise ValueError(f"expected languages among {LANGUAGES}, found {self.languages}")
        parts: dict[str, list[tuple[int, str, str]]] = {}
        for language in self.languages:
            parts |= _parts(language)
        parts["start"] = [(1, "", f"{language}:start") for language in self.languages]
        vocabularies: dict[str, Vocabulary] = {language: _vocabulary(language) for language in self.languages}
        self.chain = Chain(parts, _variables(split), vocabularies, "start")
        self._tokens: tuple[Encoder | None, dict[str, tuple[int, ...]]] = (None, {})

    # Documents

    def sample(self, seed: int) -> str:
        """One document, the same for the same seed."""
        return next(self.documents(1, seed))

    def documents(self, count: int, seed: int) -> Iterator[str]:
        """``count`` independent documents, the same for the same seed."""
        rng = random.Random(seed)
        for _ in range(count):
            yield self.chain.sample(rng)

    # The truth about them

    def log_probability(self, text: str) -> float:
        """The natural logarithm of a document's probability; -inf for what the world never says."""
        try:
            units = [*split_units(text), END]
        except ValueError:
            return -math.inf
        state, total = self.chain.start, 0.0
        for unit in units:
            choice = next((choice for choice in self.chain.step(state) if choice.unit == unit), None)
            if choice is None:
                return -math.inf
            total += math.log(choice.probability)
            state = choice.state
        return total

    def probability(self, text: str) -> float:
        """The probability of a document; 0 for what the world never says."""
        return math.exp(self.log_probability(text))

    def next_unit(self, prefix: str) -> dict[str, float]:
        """What can follow a prefix that ends at a unit, with its probability; ``""`` ends the document.

        Raises:
            ValueError: the world never says this prefix.

        >>> World().next_unit("Minji lives in the")
        {' forest': 1.0}
        """
        state = self.chain.start
        for unit in split_units(prefix):
            following = {choice.unit: choice.state for choice in self.chain.step(state)}
            if unit not in following:
                raise ValueError(f"the world never says {unit!r} there, in the prefix {prefix!r}")
            state = following[unit]
        return {choice.unit: choice.probability for choice in self.chain.step(state)}

    def next_token(self, prefix_ids: Iterable[int], tokenizer: Encoder) -> dict[int, float]:
        """The exact distribution of the token after a prefix.

        Args:
            prefix_ids: token ids of the beginning of a document, with or without the token that opens it.
            tokenizer: how documents become ids; it never joins two units into one token.

        Returns:
            Probabilities by token id; they sum to 1. The end of the document is the end-of-text token.
            After that token the distribution is empty.

        Raises:
            ValueError: the world never says this prefix.

        Source: the forward algorithm; Rabiner, "A Tutorial on Hidden Markov Models", section III.A.
        """
        *_, last = self.next_tokens(prefix_ids, tokenizer)
        return last

    def next_tokens(self, ids: Iterable[int], tokenizer: Encoder) -> Iterator[dict[int, float]]:
        """The exact distribution at every position of a document: before its first token, and after each.

        Args and errors as in ``next_token``.
        """
        end = tokenizer.special_tokens[END_OF_TEXT]
        # A hypothesis: the tokens that its unit still owes, the state after that unit, and its weight.
        hypotheses: list[tuple[tuple[int, ...], State, float]] = [((), self.chain.start, 1.0)]
        hypotheses = self._expanded(hypotheses, tokenizer)
        yield _first_tokens(hypotheses)
        for position, token in enumerate(ids):
            if position == 0 and token == end:
                continue
            kept = [(owed[1:], state, weight) for owed, state, weight in hypotheses if owed[0] == token]
            if not kept:
                raise ValueError(f"the world never says token {token} at position {position} of this prefix")
            total = sum(weight for _, _, weight in kept)
            kept = [(owed, state, weight / total) for owed, state, weight in kept]
            hypotheses = self._expanded(kept, tokenizer)
            yield _first_tokens(hypotheses)

    def _expanded(
        self, hypotheses: list[tuple[tuple[int, ...], State, float]], tokenizer: Encoder
    ) -> list[tuple[tuple[int, ...], State, float]]:
        expanded = []
        for owed, state, weight in hypotheses:
            if owed:
                expanded.append((owed, state, weight))
            else:
                for probability, unit, after in self.chain.step(state):
                    expanded.append((self._encoded(unit, tokenizer), after, weight * probability))
        return expanded

    def _encoded(self, unit: str, tokenizer: Encoder) -> tuple[int, ...]:
        if self._tokens[0] is not tokenizer:
            self._tokens = (tokenizer, {END: (tokenizer.special_tokens[END_OF_TEXT],)})
        table = self._tokens[1]
        if unit not in table:
            table[unit] = tuple(tokenizer.encode(unit))
        return table[unit]

    def entropy(self) -> float:
        """The entropy of a document, in nats: the loss per document that no model can beat.

        The mean of the negative log probability over all documents, summed over every situation a document
        can be in. Divide by ``expected_tokens`` for nats per token.
        """
        return self._sums[0]

    def expected_tokens(self, tokenizer: Encoder) -> float:
        """The mean number of tokens of a document, with the one that ends it."""
        return math.fsum(count * len(self._encoded(unit, tokenizer)) for unit, count in self._sums[1].items())

    def units(self) -> frozenset[str]:
        """Every unit that a document can hold."""
        return frozenset(self._sums[1]) - {END}

    @cached_property
    def _sums(self) -> tuple[float, dict[str, float]]:
        """The entropy of a document, and how often each unit is expected in it."""
        entropy = 0.0
        counts: dict[str, float] = defaultdict(float)
        for share, choices in self.chain.visits():
            for probability, unit in choices:
                counts[unit] += share * probability
                entropy -= share * probability * math.log(probability)
        return entropy, dict(counts)

    # What can be asked about it

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Everything that is true in this world, three facts for each hero."""
        return FACTS

    def fact(self, name: str) -> Fact:
        """The fact called ``name``, such as ``minji-home``.

        Raises:
            ValueError: no fact has this name.
        """
        for fact in FACTS:
            if fact.name == name:
                return fact
        raise ValueError(f"expected the name of a fact, such as {FACTS[0].name!r}, found {name!r}")

    def fact_probes(self, language: str, seed: int = 0) -> list[Probe]:
        """For each fact, two prefixes that it alone continues: its own sentence, and one in a story."""
        return fact_probes(World(self.split, (language,)).chain, language, seed)

    def reference_probes(
        self, language: str, held_out: bool = False, count: int = 512, seed: int = 0
    ) -> list[Probe]:
        """``count`` prefixes after which the word comes that "it" / "그것" stands for, half from each role.

        Args:
            language: ``"ko"`` or ``"en"``.
            held_out: whether the pairs of animals are those that the training split never holds.
            count: how many probes; it is even.
            seed: which ones.
        """
        split: str = "held-out pairs" if held_out else "train"
        return reference_probes(World(split, (language,)).chain, language, count, seed)


def _first_tokens(hypotheses: list[tuple[tuple[int, ...], State, float]]) -> dict[int, float]:
    distribution: dict[int, float] = {}
    for owed, _, weight in hypotheses:
        distribution[owed[0]] = distribution.get(owed[0], 0.0) + weight
    return distribution
