"""Decoding strategies: the model gives a probability for every token; these choose one.

A strategy is a few processors, which change the logits, and then one draw. The order is fixed: temperature,
top-k, top-p.

Sources: Fan et al., "Hierarchical Neural Story Generation" (2018), section 5.4 (top-k); Holtzman et al., "The
Curious Case of Neural Text Degeneration" (2020), section 3.1 (top-p).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Processor = Callable[[Tensor], Tensor]


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
class Strategy:
    """Processors, then one choice: greedy takes the likeliest token, otherwise one is drawn.

    >>> Strategy(greedy=True).choose(torch.tensor([[1.0, 3.0, 3.0]])).tolist()  # a tie: the lowest id
    [1]
    """

    processors: tuple[Processor, ...] = ()
    greedy: bool = False

    def probabilities(self, logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """The distribution that the next token is drawn from, in float32.

        Raises:
            ValueError: If a row of logits holds NaN, or nothing but -inf.
        """
        logits = logits.float()
        if not (logits.max(dim=-1).values > -math.inf).all() or logits.isposinf().any():
            raise ValueError("logits must hold a finite number in every row, found NaN or infinity")
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
        self, logits: Float[Tensor, "batch vocab"], generator: torch.Generator | None = None
    ) -> Int[Tensor, "batch"]:
        """One token id for each row.

        Args:
            logits: What the model gave for the next token.
            generator: Where the randomness comes from; on the CPU, so that a seed means the same anywhere.
        """
        probabilities = self.probabilities(logits)
        if self.greedy:
            return probabilities.argmax(dim=-1)
        return torch.multinomial(probabilities.cpu(), 1, generator=generator)[:, 0].to(logits.device)


def strategy(temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> Strategy:
    """The strategy with these settings; a temperature of 0 is greedy.

    Args:
        temperature: 0 for greedy, 1 for the model's own distribution.
        top_k: Draw from so many likeliest tokens only.
        top_p: Draw from the likeliest tokens that reach this probability only.

    Raises:
        ValueError: If the temperature is negative, top-k under 1, or top-p not in (0, 1].

    >>> strategy(temperature=0.8, top_k=40)
    Strategy(processors=(Temperature(temperature=0.8), TopK(k=40)), greedy=False)
    >>> strategy(temperature=-1)
    Traceback (most recent call last):
    ...
    ValueError: temperature must be 0 or a positive number, found -1
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or a positive number, found {temperature!r}")
    processors: list[Processor] = []
    if temperature not in (0, 1):
        processors.append(Temperature(temperature))
    if top_k is not None:
        processors.append(TopK(top_k))
    if top_p is not None:
        processors.append(TopP(top_p))
    return Strategy(tuple(processors), greedy=temperature == 0)
