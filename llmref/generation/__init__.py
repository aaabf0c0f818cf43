"""Generation: predict, choose, append, and again, until the text ends."""

from llmref.generation.beam_search import Beam, beam_search
from llmref.generation.loop import generate_ids
from llmref.generation.naive import generate_naive
from llmref.generation.text import generate, prompt_ids, stream

__all__ = ["Beam", "beam_search", "generate", "generate_ids", "generate_naive", "prompt_ids", "stream"]
