"""The small bilingual world that the tiny model is trained on, and the exact truth about it."""

from llmref.corpus.facts import FACTS, HEROES, Fact, Hero
from llmref.corpus.probes import Probe
from llmref.corpus.world import World

__all__ = ["FACTS", "HEROES", "Fact", "Hero", "Probe", "World"]
