"""Processors that reshape a distribution or cut tokens out of it: logits in, logits out.

Sources: Fan et al., "Hierarchical Neural Story Generation" (2018), section 5.4 (top-k); Holtzman et al., "The
Curious Case of Neural Text Degeneration" (2020), section 3.1 (top-p); Nguyen et al., "Turning Up the Heat:
Min-p Sampling for Creative and Coherent LLM Outputs" (2025), section 3 (min-p).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Processor = Callable[[Tensor], Tensor]
"""Logits in, logits out."""


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
