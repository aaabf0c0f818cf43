"""llmref: how a transformer large language model works, as code that reads from top to bottom.

>>> import llmref
>>> model, tokenizer = llmref.load_tiny()
>>> llmref.generate(model, tokenizer, "Minji lives in the", max_new_tokens=2, temperature=0)
' forest.'
"""

from llmref.attention import Mask, MultiHeadAttention, causal, documents, window
from llmref.cache import GrowingCache, StaticCache
from llmref.checkpoint import load, save
from llmref.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    ModelConfig,
    NormConfig,
    RopeConfig,
)
from llmref.decoding import Strategy, Temperature, TopK, TopP, strategy
from llmref.generation import generate, generate_ids, stream
from llmref.model import Transformer, sequential_positions
from llmref.tiny import load_tiny
from llmref.tokenizer import Tokenizer
from llmref.trace import Cut, Trace, cutting, trace

__version__ = "0.1.0"

__all__ = [
    "AttentionConfig",
    "BlockConfig",
    "Cut",
    "FeedForwardConfig",
    "GrowingCache",
    "Mask",
    "ModelConfig",
    "MultiHeadAttention",
    "NormConfig",
    "RopeConfig",
    "StaticCache",
    "Strategy",
    "Temperature",
    "Tokenizer",
    "TopK",
    "TopP",
    "Trace",
    "Transformer",
    "causal",
    "cutting",
    "documents",
    "generate",
    "generate_ids",
    "load",
    "load_tiny",
    "save",
    "sequential_positions",
    "strategy",
    "stream",
    "trace",
    "window",
]
