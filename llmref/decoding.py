"""Decoding strategies: the model gives a probability for every token; these choose one.

A strategy changes the logits in a few steps, and then makes one choice. The order is fixed: penalties (which
look at the text so far), temperature, top-k, top-p, min-p.

Sources: Fan et al., "Hierarchical Neural Story Generation" (2018), section 5.4 (top-k); Holtzman et al., "The
Curious Case of Neural Text Degeneration" (2020), section 3.1 (top-p); Nguyen et al., "Turning Up the Heat:
Min-p Sampling for Creative and Coherent LLM Outputs" (2025), section 3 (min-p); Keskar et al., "CTRL" (2019),
section 4.1 (repetition penalty); OpenAI, API reference, "frequency and presence penalties".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Processor = Callable[[Tensor], Tensor]
"""Logits in, logits out."""
Penalty = Callable[[Tensor, Tensor, int], Tensor]
"""Logits, the ids so far, and how many of these are the prompt: logits out."""


@dataclass(frozen=True)
class Temperature:
    """Divide the logits by a temperature: under 1 sharpens the distribution, over 1 flattens it.

    >>> Temperature(0.5)(torch.tensor([1.0, 2.0])).tolist()
    [2.0, 4.0]
    """

    temperature: float

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be a positive number, found {self.temperature!r}")

    def __call__(self, logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """The logits at this temperature."""
        return logits / self.temperature


@dataclass(frozen=True)
class TopK:
    """Keep the k likeliest tokens; of tokens that tie at the border the lower ids stay.

    >>> TopK(2)(torch.tensor([1.0, 3.0, 2.0, 2.0])).tolist()
    [-inf, 3.0, 2.0, -inf]
    """

    k: int

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or self.k < 1:
            raise ValueError(f"top-k must be a whole number of at least 1, found {self.k!r}")

    def __call__(self, logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """The logits, with -inf for every token but k."""
        order = logits.argsort(dim=-1, descending=True, stable=True)
        return logits.scatter(-1, order[..., self.k :], -math.inf)


@dataclass(frozen=True)
class TopP:
    """Keep the likeliest tokens until their probabilities reach p; the one that crosses stays.

    >>> logits = torch.tensor([0.5, 0.3, 0.2]).log()
    >>> TopP(0.6)(logits).isfinite().tolist()
    [True, True, False]
    >>> TopP(1e-9)(logits).isfinite().tolist()
    [True, False, False]
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"top-p must be over 0 and at most 1, found {self.p!r}")

    def __call__(self, logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """The logits, with -inf for every token outside the nucleus."""
        if self.p == 1:  # a sum that is rounded reaches 1 before the last unlikely tokens
            return logits
        order = logits.argsort(dim=-1, descending=True, stable=True)
        probabilities = logits.softmax(dim=-1).gather(-1, order)
        before = probabilities.cumsum(dim=-1) - probabilities
        outside = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= self.p)
        return logits.masked_fill(outside, -math.inf)


@dataclass(frozen=True)
class MinP:
    """Keep the tokens that are at least p times as likely as the likeliest one.

    >>> logits = torch.tensor([0.5, 0.3, 0.2]).log()
    >>> MinP(0.5)(logits).isfinite().tolist()
    [True, True, False]
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"min-p must be over 0 and at most 1, found {self.p!r}")

    def __call__(self, logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """The logits, with -inf for every token that is too unlikely."""
        least = logits.amax(dim=-1, keepdim=True) + math.log(self.p)
        return logits.masked_fill(logits < least, -math.inf)


@dataclass(frozen=True)
class RepetitionPenalty:
    """Make tokens that the text already holds less likely: divide their logits, or multiply where negative.

    It counts the prompt too, as published implementations do. It is the one step that depends on where the
    zero of the logits lies.

    >>> RepetitionPenalty(2.0)(torch.tensor([3.0, -3.0, 3.0]), torch.tensor([0, 1, 1])).tolist()
    [1.5, -6.0, 3.0]
    """

    penalty: float

    def __post_init__(self) -> None:
        if not 0 < self.penalty < math.inf:
            raise ValueError(f"the repetition penalty must be a positive number, found {self.penalty!r}")

    def __call__(
        self, logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch tokens"], prompt_length: int = 0
    ) -> Float[Tensor, "*batch vocab"]:
        """The logits, penalized where the token occurs among the ids."""
        penalized = torch.where(logits > 0, logits / self.penalty, logits * self.penalty)
        return torch.where(counts(ids, logits) > 0, penalized, logits)


@dataclass(frozen=True)
class FrequencyPenalty:
    """Subtract from a token's logit for each time that the model has written it; the prompt does not count.

    >>> FrequencyPenalty(0.5)(torch.zeros(3), torch.tensor([2, 0, 1, 1]), prompt_length=1).tolist()
    [-0.5, -1.0, 0.0]
    """

    penalty: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.penalty):
            raise ValueError(f"the frequency penalty must be a finite number, found {self.penalty!r}")

    def __call__(
        self, logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch tokens"], prompt_length: int = 0
    ) -> Float[Tensor, "*batch vocab"]:
        """The logits, less the penalty times the count."""
        return logits - self.penalty * counts(ids[..., prompt_length:], logits)


@dataclass(frozen=True)
class PresencePenalty:
    """Subtract once from the logit of every token that the model has written; the prompt does not count.

    >>> PresencePenalty(0.5)(torch.zeros(3), torch.tensor([2, 0, 1, 1]), prompt_length=1).tolist()
    [-0.5, -0.5, 0.0]
    """

    penalty: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.penalty):
            raise ValueError(f"the presence penalty must be a finite number, found {self.penalty!r}")

    def __call__(
        self, logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch tokens"], prompt_length: int = 0
    ) -> Float[Tensor, "*batch vocab"]:
        """The logits, less the penalty where the token occurs."""
        return logits - self.penalty * (counts(ids[..., prompt_length:], logits) > 0)


def counts(
    ids: Int[Tensor, "*batch tokens"], logits: Float[Tensor, "*batch vocab"]
) -> Float[Tensor, "*batch vocab"]:
    """How often each entry of the vocabulary occurs among the ids.

    >>> counts(torch.tensor([2, 0, 2]), torch.zeros(4)).tolist()
    [1.0, 0.0, 2.0, 0.0]
    """
    return torch.zeros_like(logits).scatter_add(-1, ids, torch.ones_like(ids, dtype=logits.dtype))


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
