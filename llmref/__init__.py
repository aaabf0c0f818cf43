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
from llmref.cost import cost, memory
from llmref.decoding import (
    BannedTokens,
    Epsilon,
    ForcedTokens,
    FrequencyPenalty,
    MinimumLength,
    MinP,
    NoRepeatNGrams,
    PresencePenalty,
    RepetitionPenalty,
    Strategy,
    Temperature,
    TopK,
    TopP,
    Typical,
    strategy,
)
from llmref.families import diff
from llmref.generation import (
    Beam,
    DraftModel,
    Generated,
    PromptLookup,
    SpeculationReport,
    beam_search,
    contrastive_search,
    generate,
    generate_batch,
    generate_batch_ids,
    generate_ids,
    prompt_ids,
    speculate,
    stream,
    stream_batch,
)
from llmref.model import Transformer, sequential_positions
from llmref.quantization import Quantization, quantize
from llmref.roofline import Device, roofline
from llmref.tiny import load_tiny
from llmref.tokenizer import LibraryTokenizer, TextTokenizer, Tokenizer, load_tokenizer
from llmref.trace import Cut, Trace, cutting, trace

__version__ = "0.1.0"

__all__ = [
    "AttentionConfig",
    "BannedTokens",
    "Beam",
    "BlockConfig",
    "ChatTemplate",
    "Cut",
    "Device",
    "DraftModel",
    "DynamicNtkScaling",
    "Epsilon",
    "FeedForwardConfig",
    "ForcedTokens",
    "FrequencyPenalty",
    "Generated",
    "GrowingCache",
    "LibraryTokenizer",
    "LinearScaling",
    "Llama3Scaling",
    "LongRopeScaling",
    "Mask",
    "MinP",
    "MinimumLength",
    "ModelConfig",
    "MultiHeadAttention",
    "NoRepeatNGrams",
    "NormConfig",
    "PresencePenalty",
    "PromptLookup",
    "Quantization",
    "QuantizedCache",
    "RepetitionPenalty",
    "RollingCache",
    "RopeConfig",
    "SpeculationReport",
    "StaticCache",
    "Strategy",
    "Temperature",
    "TextTokenizer",
    "Tokenizer",
    "TopK",
    "TopP",
    "Trace",
    "Transformer",
    "Typical",
    "YarnScaling",
    "beam_search",
    "blocks",
    "causal",
    "contrastive_search",
    "cost",
    "cutting",
    "diff",
    "documents",
    "generate",
    "generate_batch",
    "generate_batch_ids",
    "generate_ids",
    "global_tokens",
    "load",
    "load_chat_template",
    "load_tiny",
    "load_tokenizer",
    "memory",
    "prompt_ids",
    "quantize",
    "random_blocks",
    "roofline",
    "save",
    "sequential_positions",
    "speculate",
    "strategy",
    "stream",
    "stream_batch",
    "strided",
    "trace",
    "window",
]
