"""llmref: how a transformer large language model works, as code that reads from top to bottom.

>>> import llmref
>>> model, tokenizer = llmref.load_tiny()
>>> llmref.generate(model, tokenizer, "Minji lives in the", max_new_tokens=2, temperature=0)
' forest.'
"""

from llmref.attention import (
    Mask,
    MultiHeadAttention,
    blocks,
    causal,
    documents,
    global_tokens,
    random_blocks,
    strided,
    window,
)
from llmref.cache import GrowingCache, QuantizedCache, RollingCache, StaticCache
from llmref.chat import ChatTemplate, load_chat_template
from llmref.checkpoint import load, save
from llmref.config import (
    AttentionConfig,
    BlockConfig,
    DynamicNtkScaling,
    FeedForwardConfig,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    ModelConfig,
    NormConfig,
    RopeConfig,
    YarnScaling,
)
from llmref.cost import cost
from llmref.decoding import (
    FrequencyPenalty,
    MinP,
    PresencePenalty,
    RepetitionPenalty,
    Strategy,
    Temperature,
    TopK,
    TopP,
    strategy,
)
from llmref.families import diff
from llmref.generation import Beam, beam_search, generate, generate_ids, prompt_ids, stream
from llmref.model import Transformer, sequential_positions
from llmref.roofline import Device, roofline
from llmref.tiny import load_tiny
from llmref.tokenizer import LibraryTokenizer, TextTokenizer, Tokenizer, load_tokenizer
from llmref.trace import Cut, Trace, cutting, trace

__version__ = "0.1.0"

__all__ = [
    "AttentionConfig",
    "Beam",
    "BlockConfig",
    "ChatTemplate",
    "Cut",
    "Device",
    "DynamicNtkScaling",
    "FeedForwardConfig",
    "FrequencyPenalty",
    "GrowingCache",
    "LibraryTokenizer",
    "LinearScaling",
    "Llama3Scaling",
    "LongRopeScaling",
    "Mask",
    "MinP",
    "ModelConfig",
    "MultiHeadAttention",
    "NormConfig",
    "PresencePenalty",
    "QuantizedCache",
    "RepetitionPenalty",
    "RollingCache",
    "RopeConfig",
    "StaticCache",
    "Strategy",
    "Temperature",
    "TextTokenizer",
    "Tokenizer",
    "TopK",
    "TopP",
    "Trace",
    "Transformer",
    "YarnScaling",
    "beam_search",
    "blocks",
    "causal",
    "cost",
    "cutting",
    "diff",
    "documents",
    "generate",
    "generate_ids",
    "global_tokens",
    "load",
    "load_chat_template",
    "load_tiny",
    "load_tokenizer",
    "prompt_ids",
    "random_blocks",
    "roofline",
    "save",
    "sequential_positions",
    "strategy",
    "stream",
    "strided",
    "trace",
    "window",
]
