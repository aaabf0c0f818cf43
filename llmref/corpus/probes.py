"""Questions to a model: a prefix, and the one unit that can follow it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from llmref.corpus.chain import Chain
from llmref.corpus.facts import FACTS, HEROES
from llmref.corpus.grammar import Slot

_TRIES = 10_000


@dataclass(frozen=True)
class Probe:
    """A prefix of a document after which exactly one unit can follow.

    Attributes:
        name: what is asked: the name of a fact, or ``reference-actor`` / ``reference-other``.
        language: ``ko`` or ``en``.
        prefix: the text so far; it ends just before the unit.
        right: the unit that follows.
        wrong: units that stand for the other answers (for a reference the one other animal).
    """

    name: str
    language: str
    prefix: str
    right: str
    wrong: tuple[str, ...]


def _certain_slots(
    chain: Chain, rng: random.Random, known: dict[int, int]
) -> Iterator[tuple[str, Slot, tuple[int | None, ...]]]:
    """One document's slots that are certain where they stand: the text before, the slot, what was drawn."""
    text = ""
    for state, choice in chain.walk(rng, known):
        if len(state.node.edges) == 1:
            atom = state.node.edges[0][1]
            if isinstance(atom, Slot) and state.values[atom.variable] is not None:
                yield text, atom, state.values
        text += choice.unit


def fact_probes(chain: Chain, language: str, seed: int) -> list[Probe]:
    """Two probes for each fact: its own sentence at the start of a document, and one inside a story."""
    rng = random.Random(seed)
    probes = []
    for number, fact in enumerate(FACTS):
        sentence = fact.text(language).removesuffix(".")
        words = {other.value for other in FACTS if other.relation == fact.relation}
        form = "입니다" if language == "ko" else ""
        right = " " + fact.value.form(language, form)
        wrong = tuple(sorted(" " + word.form(language, form) for word in words - {fact.value}))
        probes.append(Probe(fact.name, language, sentence.removesuffix(right), right, wrong))
        probes.append(_fact_in_story(chain, language, number, rng))
    return probes


def _fact_in_story(chain: Chain, language: str, number: int, rng: random.Random) -> Probe:
    fact = FACTS[number]
    hero = [hero.name for hero in HEROES].index(fact.hero)
    for _ in range(_TRIES):
        for text, slot, _ in _certain_slots(chain, rng, {chain.variable("hero"): hero}):
            if slot.name == fact.relation and "." in text:
                right = slot.texts[hero]
                return Probe(fact.name, language, text, right, tuple(sorted(set(slot.texts) - {right})))
    raise RuntimeError(f"no story of {_TRIES} told the fact {fact.name!r}")


def reference_probes(chain: Chain, language: str, count: int, seed: int) -> list[Probe]:
    """``count`` probes from drawn documents, half about the animal that acts, half about the other."""
    if count < 2 or count % 2:
        raise ValueError(f"expected an even count of at least 2, found {count}")
    rng = random.Random(seed)
    animals = chain.variable("a"), chain.variable("b")
    actor: list[Probe] = []
    other: list[Probe] = []
    while min(len(actor), len(other)) < count // 2:
        for text, slot, values in _certain_slots(chain, rng, {}):
            if slot.name in ("a", "b"):
                texts = tuple(
                    slot.texts[value] for value in (values[i] for i in animals) if value is not None
                )
                if slot.name == "a":
                    actor.append(Probe("reference-actor", language, text, texts[0], texts[1:]))
                else:
                    other.append(Probe("reference-other", language, text, texts[1], texts[:1]))
    return [probe for pair in zip(actor, other, strict=False) for probe in pair][:count]
