"""Quantization: weights as small integers with a scale, so that a model is smaller and a step reads less.

`quantize` replaces the linear layers of a model by `Int8Linear` or `Int4Linear`. Only weights are quantized
here; a cache of 8-bit integers is `llmref.cache.QuantizedCache`.
"""

from llmref.quantization.integers import from_integers, pack, to_integers, unpack
from llmref.quantization.linear import Int4Linear, Int8Linear, QuantizedLinear
from llmref.quantization.model import Sizes, quantization_of, quantize, weight_bytes
from llmref.quantization.scheme import Quantization

__all__ = [
    "Int4Linear",
    "Int8Linear",
    "Quantization",
    "QuantizedLinear",
    "Sizes",
    "from_integers",
    "pack",
    "quantization_of",
    "quantize",
    "to_integers",
    "unpack",
    "weight_bytes",
]
