"""Decoding strategies: the model gives a probability for every token; these choose one.

A strategy changes the logits in a few steps, and then makes one choice.
"""

from llmref.decoding.constraints import (
    BannedTokens,
    Constraint,
    ForcedTokens,
    MinimumLength,
    NoRepeatNGrams,
)
from llmref.decoding.cutting import Epsilon, MinP, Processor, Temperature, TopK, TopP, Typical
from llmref.decoding.draw import draw, first_largest, uniforms
from llmref.decoding.penalties import FrequencyPenalty, Penalty, PresencePenalty, RepetitionPenalty, counts
from llmref.decoding.strategy import Strategy, StrategySettings, finite, strategy

__all__ = [
    "BannedTokens",
    "Constraint",
    "Epsilon",
    "ForcedTokens",
    "FrequencyPenalty",
    "MinP",
    "MinimumLength",
    "NoRepeatNGrams",
    "Penalty",
    "PresencePenalty",
    "Processor",
    "RepetitionPenalty",
    "Strategy",
    "StrategySettings",
    "Temperature",
    "TopK",
    "TopP",
    "Typical",
    "counts",
    "draw",
    "finite",
    "first_largest",
    "strategy",
    "uniforms",
]
