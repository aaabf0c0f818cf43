"""A strategy: penalties and processors in a fixed order, then one choice.

The order is fixed: penalties (which look at the text so far), temperature, top-k, top-p, min-p.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmref.decoding.cutting import MinP, Processor, Temperature, TopK, TopP
from llmref.decoding.penalties import FrequencyPenalty, Penalty, PresencePenalty, RepetitionPenalty


def finite(logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
    """The logits in float32.

    Raises:
        ValueError: If a row holds NaN or infinity, or nothing but -inf.
    """
    logits = logits.float()
    if not (logits.max(dim=-1).values > -math.inf).all() or logits.isposinf().any():
        raise ValueError("logits must hold a finite number in every row, found NaN or infinity")
    return logits


@dataclass(frozen=True)
class Strategy:
    """Penalties and processors, then one choice: greedy takes the likeliest token, otherwise one is drawn.

    >>> Strategy(greedy=True).choose(torch.tensor([[1.0, 3.0, 3.0]])).tolist()  # a tie: the lowest id
    [1]
    """

    processors: tuple[Processor, ...] = ()
    greedy: bool = False
    penalties: tuple[Penalty, ...] = ()

    def probabilities(
        self,
        logits: Float[Tensor, "*batch vocab"],
        ids: Int[Tensor, "*batch tokens"] | None = None,
        prompt_length: int = 0,
    ) -> Float[Tensor, "*batch vocab"]:
        """The distribution that the next token is drawn from, in float32.

        Args:
            logits: What the model gave for the next token.
            ids: The text so far, where there are penalties: the prompt, and what was written after it.
            prompt_length: How many of these ids are the prompt.

        Raises:
            ValueError: If a row of logits holds NaN or nothing but -inf, or penalties are given no ids.
        """
        logits = finite(logits)
        for penalty in self.penalties:
            if ids is None:
                raise ValueError(f"{penalty!r} needs the ids of the text so far, found none")
            logits = penalty(logits, ids, prompt_length)
        # This changes no probability, and a division by a tiny temperature cannot overflow after it.
        logits = logits - logits.amax(dim=-1, keepdim=True)
        for processor in self.processors:
            logits = processor(logits)
        if self.greedy:
            # argmax does not promise which of equal maxima it gives; the first of them is the lowest id.
            first = (logits == logits.amax(dim=-1, keepdim=True)).int().argmax(dim=-1)
            return torch.nn.functional.one_hot(first, logits.shape[-1]).float()
        return logits.softmax(dim=-1)

    def choose(
        self,
        logits: Float[Tensor, "batch vocab"],
        generator: torch.Generator | None = None,
        ids: Int[Tensor, "batch tokens"] | None = None,
        prompt_length: int = 0,
    ) -> Int[Tensor, "batch"]:
        """One token id for each row.

        Args:
            logits: What the model gave for the next token.
            generator: Where the randomness comes from; on the CPU, so that a seed means the same anywhere.
            ids: The text so far, where there are penalties: the prompt, and what was written after it.
            prompt_length: How many of these ids are the prompt.
        """
        probabilities = self.probabilities(logits, ids, prompt_length)
        if self.greedy:
            return probabilities.argmax(dim=-1)
        return torch.multinomial(probabilities.cpu(), 1, generator=generator)[:, 0].to(logits.device)


def strategy(
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    *,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
) -> Strategy:
    """The strategy with these settings; a temperature of 0 is greedy.

    Args:
        temperature: 0 for greedy, 1 for the model's own distribution.
        top_k: Draw from so many likeliest tokens only.
        top_p: Draw from the likeliest tokens that reach this probability only.
        min_p: Draw only from tokens at least this many times as likely as the likeliest.
        repetition_penalty: Over 1 makes every token of the text so far less likely, the prompt's too.
        frequency_penalty: Taken from a logit for each time that the token was written after the prompt.
        presence_penalty: Taken once from the logit of every token that was written after the prompt.

    Raises:
        ValueError: If the temperature is negative, top-k under 1, top-p or min-p not in (0, 1], the
            repetition penalty not positive, or another penalty not finite.

    >>> strategy(temperature=0.8, top_k=40)
    Strategy(processors=(Temperature(temperature=0.8), TopK(k=40)), greedy=False, penalties=())
    >>> strategy(temperature=-1)
    Traceback (most recent call last):
    ...
    ValueError: temperature must be 0 or a positive number, found -1
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or a positive number, found {temperature!r}")
    penalties: list[Penalty] = []
    if repetition_penalty != 1:
        penalties.append(RepetitionPenalty(repetition_penalty))
    if frequency_penalty != 0:
        penalties.append(FrequencyPenalty(frequency_penalty))
    if presence_penalty != 0:
        penalties.append(PresencePenalty(presence_penalty))
    processors: list[Processor] = []
    if temperature not in (0, 1):
        processors.append(Temperature(temperature))
    if top_k is not None:
        processors.append(TopK(top_k))
    if top_p is not None:
        processors.append(TopP(top_p))
    if min_p is not None:
        processors.append(MinP(min_p))
    return Strategy(tuple(processors), greedy=temperature == 0, penalties=tuple(penalties))
