"""Processors that reshape a distribution or cut tokens out of it: logits in, logits out.

Sources: Fan et al., "Hierarchical Neural Story Generation" (2018), section 5.4 (top-k); Holtzman et al., "The
Curious Case of Neural Text Degeneration" (2020), section 3.1 (top-p); Nguyen et al., "Turning Up the Heat:
Min-p Sampling for Creative and Coherent LLM Outputs" (2025), section 3 (min-p); Meister et al., "Locally
Typical Sampling" (2023); Hewitt et al., "Truncation Sampling as Language Model Desmoothing" (2022) (epsilon).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
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
        return reaching(self.p, logits, logits.argsort(dim=-1, descending=True, stable=True))


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
class Typical:
    """Keep the most typical tokens until their probabilities reach p; the one that crosses stays.

    A token's surprise is minus the logarithm of its probability. It is typical if its surprise is near to the
    mean surprise, the entropy of the distribution. So the likeliest token may go, where it says too little.

    >>> logits = torch.tensor([0.55, 0.15, 0.15, 0.15]).log()  # mean surprise 1.18; surprises 0.60 and 1.90
    >>> Typical(0.5)(logits).isfinite().tolist()
    [True, False, False, False]
    >>> logits = torch.tensor([0.4, 0.2, 0.2, 0.2]).log()  # mean surprise 1.33; surprises 0.92 and 1.61
    >>> Typical(0.5)(logits).isfinite().tolist()
    [False, True, True, True]
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"typical p must be over 0 and at most 1, found {self.p!r}")

    def __call__(self, logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """The logits, with -inf for every token that is far from typical."""
        surprise = -logits.log_softmax(dim=-1)
        entropy = (surprise * surprise.neg().exp()).nansum(dim=-1, keepdim=True)
        return reaching(self.p, logits, (surprise - entropy).abs().argsort(dim=-1, stable=True))


@dataclass(frozen=True)
class Epsilon:
    """Keep the tokens whose probability is at least epsilon, and the likeliest in any case.

    >>> logits = torch.tensor([0.5, 0.3, 0.2]).log()
    >>> Epsilon(0.25)(logits).isfinite().tolist()
    [True, True, False]
    """

    epsilon: float

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon must be over 0 and under 1, found {self.epsilon!r}")

    def __call__(self, logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """The logits, with -inf for every token under epsilon."""
        unlikely = logits.softmax(dim=-1) < self.epsilon
        return logits.masked_fill(unlikely & (logits < logits.amax(dim=-1, keepdim=True)), -math.inf)


def reaching(
    p: float, logits: Float[Tensor, "*batch vocab"], order: Int[Tensor, "*batch vocab"]
) -> Float[Tensor, "*batch vocab"]:
    """The logits of the tokens that come first in an order, up to the one at which their sum reaches p."""
    if p == 1:  # a sum that is rounded reaches 1 before the last unlikely tokens
        return logits
    sums = logits.softmax(dim=-1).gather(-1, order).cumsum(dim=-1)
    before = torch.nn.functional.pad(sums[..., :-1], (1, 0))
    outside = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(outside, -math.inf)
