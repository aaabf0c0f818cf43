"""Generation: predict, choose, append, and again, until the text ends; one text, or many at once."""

from llmref.generation.batch import Generated, generate_batch_ids
from llmref.generation.beam_search import Beam, beam_search
from llmref.generation.contrastive_search import contrastive_search
from llmref.generation.draft import Draft, DraftModel, PromptLookup, Proposal
from llmref.generation.loop import generate_ids
from llmref.generation.naive import generate_naive, speculate_naive
from llmref.generation.speculative import SpeculationReport, accept, speculate
from llmref.generation.text import generate, generate_batch, prompt_ids, stream, stream_batch

__all__ = [
    "Beam",
    "Draft",
    "DraftModel",
    "Generated",
    "PromptLookup",
    "Proposal",
    "SpeculationReport",
    "accept",
    "beam_search",
    "contrastive_search",
    "generate",
    "generate_batch",
    "generate_batch_ids",
    "generate_ids",
    "generate_naive",
    "prompt_ids",
    "speculate",
    "speculate_naive",
    "stream",
    "stream_batch",
]
