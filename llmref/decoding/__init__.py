"""Decoding strategies: the model gives a probability for every token; these choose one.

A strategy changes the logits in a few steps, and then makes one choice.
"""

from llmref.decoding.cutting import MinP, Processor, Temperature, TopK, TopP
from llmref.decoding.penalties import FrequencyPenalty, Penalty, PresencePenalty, RepetitionPenalty, counts
from llmref.decoding.strategy import Strategy, finite, strategy

__all__ = [
    "FrequencyPenalty",
    "MinP",
    "Penalty",
    "PresencePenalty",
    "Processor",
    "RepetitionPenalty",
    "Strategy",
    "Temperature",
    "TopK",
    "TopP",
    "counts",
    "finite",
    "strategy",
]
