"""Constraints: what may not come next, whatever its probability.

Source: Paulus et al., "A Deep Reinforced Model for Abstractive Summarization" (2017), section 2.5 (no-repeat
n-grams).
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmref.decoding.penalties import counts

Constraint = Callable[[Tensor, Tensor, int], Tensor]
"""Logits, the ids so far, and how many of these are the prompt: logits out, -inf for what may not come."""


@dataclass(frozen=True)
class NoRepeatNGrams:
    """Let no run of n tokens come twice, the prompt included.

    >>> # After 5 3 5 the pair 5 3 would come again.
    >>> NoRepeatNGrams(2)(torch.zeros(6), torch.tensor([5, 3, 5])).tolist()
    [0.0, 0.0, 0.0, -inf, 0.0, 0.0]
    """

    n: int

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or self.n < 1:
            raise ValueError(f"no-repeat n-grams must be of at least 1 token, found {self.n!r}")

    def __call__(
        self, logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch tokens"], prompt_length: int = 0
    ) -> Float[Tensor, "*batch vocab"]:
        """The logits, with -inf for every token that would end an n-gram of the text."""
        n_tokens = ids.shape[-1]
        if n_tokens < self.n:
            return logits
        n_grams = ids.unfold(-1, self.n, 1)
        begun = ids[..., None, n_tokens - self.n + 1 :]
        last = n_grams[..., -1].where((n_grams[..., :-1] == begun).all(dim=-1), -1)
        return logits.masked_fill(counts(last, logits) > 0, -math.inf)


@dataclass(frozen=True)
class BannedTokens:
    """Let some tokens never come.

    >>> BannedTokens((0, 2))(torch.zeros(4), torch.tensor([1])).tolist()
    [-inf, 0.0, -inf, 0.0]
    """

    token_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        check_ids("banned", self.token_ids)

    def __call__(
        self, logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch tokens"], prompt_length: int = 0
    ) -> Float[Tensor, "*batch vocab"]:
        """The logits, with -inf for these tokens."""
        return without(logits, self.token_ids)


@dataclass(frozen=True)
class MinimumLength:
    """Let no end-of-text token come before so many new tokens.

    >>> minimum = MinimumLength(2, end_ids=(3,))
    >>> minimum(torch.zeros(4), torch.tensor([0, 1, 2]), prompt_length=2).tolist()  # one new token so far
    [0.0, 0.0, 0.0, -inf]
    >>> minimum(torch.zeros(4), torch.tensor([0, 1, 2, 2]), prompt_length=2).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    n_tokens: int
    end_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.n_tokens, int) or self.n_tokens < 0:
            raise ValueError(f"min_new_tokens must be a whole number of 0 or more, found {self.n_tokens!r}")
        check_ids("end", self.end_ids)

    def __call__(
        self, logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch tokens"], prompt_length: int = 0
    ) -> Float[Tensor, "*batch vocab"]:
        """The logits, with -inf for the end while the text is too short."""
        too_short = ids.shape[-1] - prompt_length < self.n_tokens
        return without(logits, self.end_ids) if too_short else logits


@dataclass(frozen=True)
class ForcedTokens:
    """Begin the new text with these tokens; None leaves a place free.

    >>> forced = ForcedTokens((1, None, 0))
    >>> forced(torch.tensor([5.0, 4.0]), torch.tensor([0]), prompt_length=1).tolist()
    [-inf, 0.0]
    >>> forced(torch.tensor([5.0, 4.0]), torch.tensor([0, 1]), prompt_length=1).tolist()
    [5.0, 4.0]
    """

    token_ids: tuple[int | None, ...]

    def __post_init__(self) -> None:
        check_ids("forced", [token_id for token_id in self.token_ids if token_id is not None])

    def __call__(
        self, logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch tokens"], prompt_length: int = 0
    ) -> Float[Tensor, "*batch vocab"]:
        """The logits: 0 for the token whose place it is, and -inf for every other one."""
        place = ids.shape[-1] - prompt_length
        forced = self.token_ids[place] if place < len(self.token_ids) else None
        if forced is None:
            return logits
        others = torch.full_like(logits, -math.inf)
        others[..., forced] = 0.0
        return others


def without(logits: Float[Tensor, "*batch vocab"], ids: Collection[int]) -> Float[Tensor, "*batch vocab"]:
    """The logits, with -inf for these ids."""
    return logits.index_fill(-1, torch.tensor([*ids], dtype=torch.long, device=logits.device), -math.inf)


def check_ids(what: str, ids: Collection[int]) -> None:
    """Token ids are whole numbers of 0 or more.

    Raises:
        ValueError: If one is not.
    """
    for token_id in ids:
        if not isinstance(token_id, int) or token_id < 0:
            raise ValueError(f"{what} ids must be whole numbers of 0 or more, found {token_id!r}")
