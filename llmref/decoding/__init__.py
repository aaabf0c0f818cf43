"""Decoding strategies: the model gives a probability for every token; these choose one.

A strategy changes the logits in a few steps, and then makes one choice.
"""

from llmref.decoding.cutting import MinP, Processor, Temperature, TopK, TopP
from llmref.decoding.draw import draw, uniforms
from llmref.decoding.penalties import FrequencyPenalty, Penalty, PresencePenalty, RepetitionPenalty, counts
from llmref.decoding.strategy import Strategy, StrategySettings, finite, strategy

__all__ = [
    "FrequencyPenalty",
    "MinP",
    "Penalty",
    "PresencePenalty",
    "Processor",
    "RepetitionPenalty",
    "Strategy",
    "StrategySettings",
    "Temperature",
    "TopK",
    "TopP",
    "counts",
    "draw",
    "finite",
    "strategy",
    "uniforms",
]
