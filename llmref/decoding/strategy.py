"""A strategy: penalties, constraints and processors in a fixed order, then one choice.

The order is fixed. Penalties and constraints look at the text so far: repetition, frequency and presence
penalty, no-repeat n-grams, banned tokens, minimum length, forced tokens. Processors look at the distribution
alone: temperature, top-k, top-p, min-p, typical, epsilon.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmref.decoding.constraints import (
    BannedTokens,
    Constraint,
    ForcedTokens,
    MinimumLength,
    NoRepeatNGrams,
)
from llmref.decoding.cutting import Epsilon, MinP, Processor, Temperature, TopK, TopP, Typical
from llmref.decoding.draw import draw, first_largest
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


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Penalties, constraints, processors, then one choice: the likeliest token if greedy, or a drawn one.

    >>> Strategy(greedy=True).choose(torch.tensor([[1.0, 3.0, 3.0]])).tolist()  # a tie: the lowest id
    [1]
    """

    penalties: tuple[Penalty, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    processors: tuple[Processor, ...] = ()
    greedy: bool = False

    def probabilities(
        self,
        logits: Float[Tensor, "*batch vocab"],
        ids: Int[Tensor, "*batch tokens"] | None = None,
        prompt_length: int = 0,
    ) -> Float[Tensor, "*batch vocab"]:
        """The distribution that the next token is drawn from, in float32.

        Each row is worked out for itself: it gets the same numbers in any batch.

        Args:
            logits: What the model gave for the next token.
            ids: The text so far, where there are penalties or constraints: the prompt, and what was written
                after it; a shorter row stands on the right, with -1 before it.
            prompt_length: How many of these ids are the prompt, padding included.

        Raises:
            ValueError: If a row of logits holds NaN or nothing but -inf, penalties or constraints are given
                no ids, or they leave no token.
        """
        logits = finite(logits)
        for step in (*self.penalties, *self.constraints):
            if ids is None:
                raise ValueError(f"{step!r} needs the ids of the text so far, found none")
            logits = step(logits, ids, prompt_length)
        largest = logits.amax(dim=-1, keepdim=True)
        if self.constraints and not (largest > -math.inf).all():
            raise ValueError(f"no token is left to choose: {self.constraints!r} rule out every one")
        # This changes no probability, and a division by a tiny temperature cannot overflow after it.
        logits = logits - largest
        for processor in self.processors:
            logits = processor(logits)
        if self.greedy:
            return torch.nn.functional.one_hot(first_largest(logits), logits.shape[-1]).float()
        return logits.softmax(dim=-1)

    def check(self, vocab_size: int) -> None:
        """See whether it can work on a vocabulary, before any token is chosen.

        Raises:
            ValueError: If a banned or forced id is not in it, or every token is banned.

        >>> Strategy(constraints=(BannedTokens((7,)),)).check(vocab_size=5)
        Traceback (most recent call last):
        ...
        ValueError: token ids must be from 0 to 4, found 7 in BannedTokens(token_ids=(7,))
        """
        for constraint in self.constraints:
            if isinstance(constraint, BannedTokens | ForcedTokens):
                found = {token_id for token_id in constraint.token_ids if token_id is not None}
                if wrong := [token_id for token_id in found if token_id >= vocab_size]:
                    raise ValueError(
                        f"token ids must be from 0 to {vocab_size - 1}, found {wrong[0]} in {constraint!r}"
                    )
                if isinstance(constraint, BannedTokens) and len(found) == vocab_size:
                    raise ValueError(f"every one of the vocabulary's {vocab_size} tokens is banned")

    def choose(
        self,
        logits: Float[Tensor, "batch vocab"],
        uniform: Float[Tensor, "batch"] | None = None,
        ids: Int[Tensor, "batch tokens"] | None = None,
        prompt_length: int = 0,
    ) -> Int[Tensor, "batch"]:
        """One token id for each row.

        Args:
            logits: What the model gave for the next token.
            uniform: A random number in [0, 1) for each row, of `uniforms`; greedy needs none.
            ids: The text so far, as `probabilities` takes it.
            prompt_length: How many of these ids are the prompt, padding included.

        Raises:
            ValueError: As `probabilities`, or if a draw is given no random numbers.
        """
        probabilities = self.probabilities(logits, ids, prompt_length)
        if self.greedy:
            return probabilities.argmax(dim=-1)
        if uniform is None:
            raise ValueError("a draw needs a random number for each row, found none: give uniform")
        return draw(probabilities, uniform.to(logits.device))


class StrategySettings(TypedDict, total=False):
    """The settings of `strategy`, for the functions that pass them on; what each means is said there."""

    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    epsilon: float | None
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    no_repeat_ngram: int | None
    banned_ids: Collection[int]
    min_new_tokens: int
    forced_ids: Sequence[int | None]


def strategy(
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    *,
    min_p: float | None = None,
    typical_p: float | None = None,
    epsilon: float | None = None,
    repetition_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    no_repeat_ngram: int | None = None,
    banned_ids: Collection[int] = (),
    min_new_tokens: int = 0,
    forced_ids: Sequence[int | None] = (),
    end_ids: Collection[int] | None = None,
) -> Strategy:
    """The strategy with these settings; a temperature of 0 is greedy.

    Top-k, top-p, min-p and epsilon never cut off the likeliest token, so they change nothing about greedy.

    Args:
        temperature: 0 for greedy, 1 for the model's own distribution.
        top_k: Draw from so many likeliest tokens only.
        top_p: Draw from the likeliest tokens that reach this probability only.
        min_p: Draw only from tokens at least this many times as likely as the likeliest.
        typical_p: Draw from the most typical tokens that reach this probability only.
        epsilon: Draw only from tokens that have at least this probability.
        repetition_penalty: Over 1 makes every token of the text so far less likely, the prompt's too.
        frequency_penalty: Taken from a logit for each time that the token was written after the prompt.
        presence_penalty: Taken once from the logit of every token that was written after the prompt.
        no_repeat_ngram: No run of so many tokens may come twice, the prompt included.
        banned_ids: Tokens that may not come.
        min_new_tokens: The text may not end before so many new tokens.
        forced_ids: The tokens that the new text begins with; None leaves a place free.
        end_ids: The tokens that end a text, for `min_new_tokens`: the model's `config.end_ids`.

    Raises:
        ValueError: If a setting is out of range, or two of them exclude one another.

    >>> strategy(temperature=0.8, top_k=40).processors
    (Temperature(temperature=0.8), TopK(k=40))
    >>> strategy(temperature=-1)
    Traceback (most recent call last):
    ...
    ValueError: temperature must be 0 or a positive number, found -1
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or a positive number, found {temperature!r}")
    if temperature == 0 and typical_p is not None:
        raise ValueError("typical_p may cut off the likeliest token, and a temperature of 0 asks for it")
    penalties: list[Penalty] = []
    if repetition_penalty != 1:
        penalties.append(RepetitionPenalty(repetition_penalty))
    if frequency_penalty != 0:
        penalties.append(FrequencyPenalty(frequency_penalty))
    if presence_penalty != 0:
        penalties.append(PresencePenalty(presence_penalty))
    constraints: list[Constraint] = []
    if no_repeat_ngram is not None:
        constraints.append(NoRepeatNGrams(no_repeat_ngram))
    if banned_ids:
        constraints.append(BannedTokens(tuple(banned_ids)))
    if min_new_tokens != 0:
        if end_ids is None:
            raise ValueError("min_new_tokens needs the tokens that end a text: give end_ids")
        constraints.append(MinimumLength(min_new_tokens, tuple(end_ids)))
    if forced_ids:
        check_forced(forced_ids, banned_ids, min_new_tokens, end_ids or ())
        constraints.append(ForcedTokens(tuple(forced_ids)))
    processors: list[Processor] = []
    if temperature not in (0, 1):
        processors.append(Temperature(temperature))
    if top_k is not None:
        processors.append(TopK(top_k))
    if top_p is not None:
        processors.append(TopP(top_p))
    if min_p is not None:
        processors.append(MinP(min_p))
    if typical_p is not None:
        processors.append(Typical(typical_p))
    if epsilon is not None:
        processors.append(Epsilon(epsilon))
    return Strategy(
        penalties=tuple(penalties),
        constraints=tuple(constraints),
        processors=tuple(processors),
        greedy=temperature == 0,
    )


def check_forced(
    forced_ids: Sequence[int | None],
    banned_ids: Collection[int],
    min_new_tokens: int,
    end_ids: Collection[int],
) -> None:
    """No token is forced where it may not come.

    Raises:
        ValueError: If one is banned, or would end the text too early.
    """
    for place, token_id in enumerate(forced_ids):
        if token_id in banned_ids:
            raise ValueError(f"token {token_id} is both forced and banned")
        if token_id in end_ids and place < min_new_tokens:
            raise ValueError(
                f"token {token_id} is forced to end the text after {place} new tokens, and min_new_tokens is "
                f"{min_new_tokens}"
            )
