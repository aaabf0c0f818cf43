"""Generation: predict, choose, append, and again, until the text ends."""

from llmref.generation.beam_search import Beam, beam_search
from llmref.generation.contrastive_search import contrastive_search
from llmref.generation.draft import Draft, DraftModel, PromptLookup, Proposal
from llmref.generation.loop import generate_ids
from llmref.generation.naive import generate_naive, speculate_naive
from llmref.generation.speculative import SpeculationReport, accept, speculate
from llmref.generation.text import generate, prompt_ids, stream

__all__ = [
    "Beam",
    "beam_search",
    "contrastive_search",
    "Draft",
    "DraftModel",
    "PromptLookup",
    "Proposal",
    "SpeculationReport",
    "accept",
    "generate",
    "generate_ids",
    "generate_naive",
    "prompt_ids",
    "speculate",
    "speculate_naive",
    "stream",
]
