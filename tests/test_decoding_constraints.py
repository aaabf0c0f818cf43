"""Constraints: what may not come; rows that no batch changes; and settings that exclude one another."""

import math
from typing import Any

import helpers  # noqa: F401  # sets how hypothesis runs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref.decoding import (
    BannedTokens,
    Epsilon,
    ForcedTokens,
    MinimumLength,
    MinP,
    NoRepeatNGrams,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    Typical,
    strategy,
    uniforms,
)

EVERYTHING: dict[str, Any] = {
    "temperature": 0.9,
    "top_k": 12,
    "top_p": 0.95,
    "min_p": 0.01,
    "typical_p": 0.9,
    "epsilon": 0.001,
    "repetition_penalty": 1.2,
    "frequency_penalty": 0.3,
    "presence_penalty": 0.2,
    "no_repeat_ngram": 2,
    "banned_ids": [1],
    "min_new_tokens": 3,
    "forced_ids": [None, None, None, None, 5],
}


def test_the_order_is_fixed() -> None:
    found = strategy(**EVERYTHING, end_ids=[0])
    assert [type(step).__name__ for step in (*found.penalties, *found.constraints, *found.processors)] == [
        *("RepetitionPenalty", "FrequencyPenalty", "PresencePenalty"),
        *("NoRepeatNGrams", "BannedTokens", "MinimumLength", "ForcedTokens"),
        *("Temperature", "TopK", "TopP", "MinP", "Typical", "Epsilon"),
    ]


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 4))
def test_no_n_gram_comes_twice(ids: list[int], n: int) -> None:
    def n_grams(text: list[int]) -> list[tuple[int, ...]]:
        return [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]

    found = NoRepeatNGrams(n)(torch.zeros(4), torch.tensor(ids, dtype=torch.long))
    before = set(n_grams(ids))
    for token in range(4):
        again = len(ids) >= n - 1 and tuple([*ids, token][len(ids) + 1 - n :]) in before
        assert (found[token] == -math.inf) == again


def test_a_text_that_may_not_repeat_itself_does_not() -> None:
    chooser, ids = strategy(no_repeat_ngram=2, temperature=0.1), [0]
    logits = torch.tensor([[3.0, 2.0, 1.0]])
    # Three tokens make nine pairs; sooner or later every pair that goes on from the last token has come.
    with pytest.raises(ValueError, match="no token is left to choose: .*NoRepeatNGrams.* rule out every one"):
        for number in uniforms(0, 10):
            ids.append(int(chooser.choose(logits, number[None], torch.tensor([ids]))))
    pairs = list(zip(ids, ids[1:], strict=False))
    assert len(set(pairs)) == len(pairs) > 3


def test_forced_tokens_come_first_whatever_their_probability() -> None:
    chooser, ids = strategy(forced_ids=[2, None, 0], top_k=1), [1]
    logits = torch.tensor([[0.0, 1.0, -math.inf]])
    for _ in range(4):
        ids.append(int(chooser.choose(logits, torch.zeros(1), torch.tensor([ids]), prompt_length=1)))
    assert ids[1:] == [2, 1, 0, 1]


def test_the_end_waits_for_the_minimum_length() -> None:
    chooser, ids = strategy(0, min_new_tokens=2, end_ids=[1, 2]), [1, 1]
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    for _ in range(3):
        ids.append(int(chooser.choose(logits, None, torch.tensor([ids]), prompt_length=2)))
    assert ids[2:] == [0, 0, 2]
    assert strategy(min_new_tokens=2, end_ids=()).probabilities(logits, torch.tensor([[1]])).min() > 0


# A row is worked out for itself


@given(st.sets(st.sampled_from(sorted(EVERYTHING))), st.integers(0, 999), st.integers(1, 40))
def test_a_row_gets_the_same_bits_in_any_batch(chosen: set[str], seed: int, vocab: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, length, vocab = 5, 7, vocab + 6
    logits = torch.randn(rows, vocab, generator=generator) * 3
    ids = torch.randint(2, vocab, (rows, length), generator=generator)
    numbers = torch.rand(rows, dtype=torch.float64, generator=generator)
    settings = {name: value for name, value in EVERYTHING.items() if name in chosen}
    chooser = strategy(**settings, end_ids=[0])
    together = chooser.probabilities(logits, ids, 2)
    drawn = chooser.choose(logits, numbers, ids, 2)
    for row in range(rows):
        assert chooser.probabilities(logits[row : row + 1], ids[row : row + 1], 2)[0].equal(together[row])
        assert chooser.probabilities(logits[row], ids[row], 2).equal(together[row])
        alone = chooser.choose(logits[row : row + 1], numbers[row : row + 1], ids[row : row + 1], 2)
        assert alone.item() == drawn[row].item()
    swapped = chooser.probabilities(logits.flip(0), ids.flip(0), 2)
    assert swapped.equal(together.flip(0))


@given(st.integers(0, 999), st.lists(st.integers(0, 6), min_size=2, max_size=4))
def test_padding_before_a_row_changes_nothing(seed: int, lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(lengths), 9, generator=generator)
    new = 3
    prompts = [torch.randint(0, 9, (length,), generator=generator) for length in lengths]
    written = torch.randint(0, 9, (len(lengths), new), generator=generator)
    longest = max(lengths)
    padded = torch.stack([torch.cat([torch.full((longest - len(each),), -1), each]) for each in prompts])
    chooser = strategy(**{**EVERYTHING, "banned_ids": [], "no_repeat_ngram": 3}, end_ids=[0])
    together = chooser.probabilities(logits, torch.cat([padded, written], dim=1), longest)
    for row, prompt in enumerate(prompts):
        alone = chooser.probabilities(logits[row], torch.cat([prompt, written[row]]), len(prompt))
        assert alone.equal(together[row])


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=9),
    st.floats(1e-6, 1),
    st.sampled_from([TopP, MinP, Typical, TopK, Epsilon, Temperature]),
)
def test_a_processor_keeps_at_least_one_token_and_changes_no_other(
    row: list[float], p: float, kind: Any
) -> None:
    logits = torch.tensor(row)
    found = kind(1 + int(8 * p) if kind is TopK else min(p, 0.999))(logits)
    kept = found.isfinite()
    assert kept.any()
    if kind is not Temperature:
        assert found[kept].equal(logits[kept])
    if kind not in (Temperature, Typical):
        assert kept[logits.argmax()]


def surprise(probabilities: Tensor) -> Tensor:
    """How far each token is from typical, in float64."""
    entropy = torch.special.entr(probabilities).sum()
    return (-probabilities.log() - entropy).abs()


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9), st.floats(1e-6, 0.999))
def test_typical_keeps_the_most_typical_until_they_reach_p(row: list[int], p: float) -> None:
    logits = torch.tensor(row, dtype=torch.float32)
    probabilities = logits.double().softmax(dim=-1)
    far = surprise(probabilities)
    kept = Typical(p)(logits).isfinite()
    assert probabilities[kept].sum() >= p - 1e-6
    assert far[kept].max() <= far[~kept].min() + 1e-5 if (~kept).any() else True
    last = (kept & (far >= far[kept].max() - 1e-5)).nonzero()[-1, 0]
    assert probabilities[kept].sum() - probabilities[last] < p + 1e-6


# Settings that cannot be


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"typical_p": 0.0}, "typical p must be over 0 and at most 1, found 0.0"),
        ({"typical_p": math.nan}, "typical p must be over 0 and at most 1, found nan"),
        ({"epsilon": 0.0}, "epsilon must be over 0 and under 1, found 0.0"),
        ({"epsilon": 1.0}, "epsilon must be over 0 and under 1, found 1.0"),
        ({"temperature": 0, "epsilon": 2.0}, "epsilon must be over 0 and under 1, found 2.0"),
        (
            {"temperature": 0, "typical_p": 0.5},
            "typical_p may cut off the likeliest token, and a temperature of 0",
        ),
        ({"no_repeat_ngram": 0}, "no-repeat n-grams must be of at least 1 token, found 0"),
        ({"banned_ids": [3, -1]}, "banned ids must be whole numbers of 0 or more, found -1"),
        ({"forced_ids": [None, -5]}, "forced ids must be whole numbers of 0 or more, found -5"),
        (
            {"min_new_tokens": -1, "end_ids": [0]},
            "min_new_tokens must be a whole number of 0 or more, found -1",
        ),
        ({"min_new_tokens": 1}, "min_new_tokens needs the tokens that end a text: give end_ids"),
        ({"banned_ids": [3], "forced_ids": [None, 3]}, "token 3 is both forced and banned"),
        (
            {"min_new_tokens": 2, "forced_ids": [None, 3], "end_ids": [3]},
            "token 3 is forced to end the text after 1 new tokens, and min_new_tokens is 2",
        ),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        strategy(**settings)


def test_a_vocabulary_that_the_settings_do_not_fit() -> None:
    strategy(banned_ids=[0, 1, 3], forced_ids=[None, 2]).check(vocab_size=4)
    with pytest.raises(
        ValueError, match=r"must be from 0 to 3, found 4 in BannedTokens\(token_ids=\(1, 4\)\)"
    ):
        strategy(banned_ids=[1, 4]).check(vocab_size=4)
    with pytest.raises(ValueError, match="must be from 0 to 3, found 9 in ForcedTokens"):
        strategy(forced_ids=[None, 9]).check(vocab_size=4)
    with pytest.raises(ValueError, match="every one of the vocabulary's 3 tokens is banned"):
        strategy(banned_ids=[2, 1, 0, 0]).check(vocab_size=3)


def test_nothing_changes_what_greedy_takes_but_penalties_and_constraints() -> None:
    logits = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    greedy = strategy(0).choose(logits)
    assert strategy(0, 3, 0.5, min_p=0.5, epsilon=0.2).choose(logits).equal(greedy)
    ids = torch.zeros(50, 1, dtype=torch.long)
    first = strategy(0, banned_ids=greedy.unique().tolist()[:3]).choose(logits, ids=ids)
    assert not set(first.tolist()) & set(greedy.unique().tolist()[:3])


@pytest.mark.parametrize(
    "step",
    [NoRepeatNGrams(1), BannedTokens((1,)), MinimumLength(9, (1,)), ForcedTokens((0,)), RepetitionPenalty(2)],
)
def test_a_token_that_was_ruled_out_stays_so(step: Any) -> None:
    logits = torch.tensor([1.0, 2.0, -math.inf])
    assert step(logits, torch.tensor([1, 1]), 2)[2] == -math.inf
