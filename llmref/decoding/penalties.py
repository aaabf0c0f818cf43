"""Penalties: what the text already holds becomes less likely.

Sources: Keskar et al., "CTRL" (2019), section 4.1 (repetition penalty); OpenAI, API reference, "frequency and
presence penalties".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Penalty = Callable[[Tensor, Tensor, int], Tensor]
"""Logits, the ids so far, and how many of these are the prompt: logits out."""


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
