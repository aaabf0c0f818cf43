"""Decoding strategies: greedy, temperature, top-k, top-p, alone and together."""

import math
from typing import Any

import helpers  # noqa: F401  # sets how hypothesis runs
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref.decoding import (
    FrequencyPenalty,
    MinP,
    Penalty,
    PresencePenalty,
    RepetitionPenalty,
    Strategy,
    Temperature,
    TopK,
    TopP,
    strategy,
)

INFINITY = math.inf
rows = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=9).map(torch.tensor)
settled = st.lists(st.integers(-4, 4), min_size=2, max_size=9).map(lambda row: torch.tensor(row).float())


def kept(logits: Tensor) -> list[int]:
    return logits.isfinite().nonzero().flatten().tolist()


@given(st.lists(settled, min_size=1, max_size=4))
def test_greedy_takes_the_likeliest_and_of_equals_the_lowest_id(logits: list[Tensor]) -> None:
    for row in logits:
        values = row.tolist()
        assert strategy(temperature=0).choose(row[None]).tolist() == [values.index(max(values))]


def test_greedy_ties_far_apart() -> None:
    logits = torch.zeros(1, 5000)
    logits[0, [4999, 17, 1200]] = 1.0
    assert strategy(temperature=0).choose(logits).tolist() == [17]
    assert strategy(temperature=0).choose(torch.zeros(3, 5000)).tolist() == [0, 0, 0]


@given(rows, st.sampled_from([1e-2, 1e-6, 1e-30, 1e-38]))
def test_a_temperature_near_0_is_greedy(logits: Tensor, temperature: float) -> None:
    best = logits.max()
    rivals = logits[logits < best]
    if len(rivals) and best - rivals.max() < 1:
        logits = torch.where(logits < best, logits - 1, logits)
    found = strategy(temperature=temperature).probabilities(logits)
    share = (logits == best).float() / (logits == best).sum()
    torch.testing.assert_close(found, share)


@given(rows, st.floats(0.1, 10))
def test_temperature_divides(logits: Tensor, temperature: float) -> None:
    expected = (logits.double() / temperature).softmax(dim=-1).float()
    torch.testing.assert_close(strategy(temperature=temperature).probabilities(logits), expected)


@given(settled, st.integers(1, 12))
def test_top_k_keeps_k_and_of_equals_the_lower_ids(logits: Tensor, k: int) -> None:
    order = sorted(range(len(logits)), key=lambda token: (-logits[token].item(), token))
    assert kept(TopK(k)(logits)) == sorted(order[:k])
    assert torch.equal(TopK(k)(logits)[kept(TopK(k)(logits))], logits[sorted(order[:k])])


@given(settled, st.floats(1e-9, 1.0))
def test_top_p_keeps_the_token_that_crosses_and_no_more(logits: Tensor, p: float) -> None:
    probabilities = logits.double().softmax(dim=-1).tolist()
    order = sorted(range(len(logits)), key=lambda token: (-probabilities[token], token))
    found = kept(TopP(p)(logits))
    assert found == sorted(order[: len(found)])
    mass = sum(probabilities[token] for token in order[: len(found)])
    assert mass >= p - 1e-6
    assert mass - probabilities[order[len(found) - 1]] < p + 1e-6


def test_top_p_at_its_edges() -> None:
    logits = torch.tensor([0.1, 0.5, 0.4]).log()
    assert kept(TopP(1e-12)(logits)) == [1]
    assert kept(TopP(0.49)(logits)) == [1]
    assert kept(TopP(0.51)(logits)) == [1, 2]
    assert kept(TopP(0.95)(logits)) == [0, 1, 2]
    # The rounded sum of float32 probabilities reaches 1 long before the last of these.
    many = torch.linspace(0, -40, 1000)
    assert len(kept(TopP(1.0)(many))) == 1000


def test_what_is_kept_shares_the_probability() -> None:
    logits = torch.tensor([0.1, 0.5, 0.3, 0.1]).log()
    torch.testing.assert_close(
        strategy(top_k=2).probabilities(logits), torch.tensor([0.0, 0.625, 0.375, 0.0])
    )
    # Temperature first, then top-k, then top-p of what is left.
    found = strategy(temperature=0.5, top_k=3, top_p=0.75).probabilities(logits)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.25, 0.09, 0.0]) / 0.34)
    assert strategy(0.5, 3, 0.7).processors == (Temperature(0.5), TopK(3), TopP(0.7))
    # Under both settings top-p of 0.6 would keep two tokens of all four, but of the first two it keeps one.
    assert kept(strategy(top_k=2, top_p=0.6).probabilities(logits).log()) == [1]


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.7}, {"top_k": 4}, {"top_p": 0.8}, {"temperature": 1.5, "top_k": 5}]
)
def test_draws_follow_the_distribution(settings: dict[str, Any]) -> None:
    logits = torch.linspace(0, 3, 10)
    chooser = strategy(**settings)
    draws = chooser.choose(logits.expand(20_000, 10), torch.Generator().manual_seed(0)).bincount(minlength=10)
    expected = chooser.probabilities(logits) * 20_000
    assert draws[expected == 0].sum() == 0
    possible = expected > 0
    chi_square = ((draws - expected)[possible] ** 2 / expected[possible]).sum().item()
    assert chi_square < 27.9  # 9 degrees of freedom: passed by all but one in a thousand


def test_a_seed_repeats_the_draws() -> None:
    logits = torch.zeros(50, 10)

    def draw(seed: int) -> list[int]:
        return strategy().choose(logits, torch.Generator().manual_seed(seed)).tolist()

    assert draw(3) == draw(3) != draw(4)


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize(
    "row", [[-INFINITY, -INFINITY], [0.0, math.nan], [math.nan, math.nan], [0.0, INFINITY]]
)
def test_logits_that_are_no_numbers_are_an_error(row: list[float], temperature: float) -> None:
    logits = torch.tensor([[0.0, 1.0], row])
    with pytest.raises(ValueError, match="a finite number in every row, found NaN or infinity"):
        strategy(temperature=temperature).choose(logits)


def test_a_token_at_minus_infinity_is_never_drawn() -> None:
    logits = torch.tensor([[-INFINITY, 0.0, 0.0]]).expand(1000, 3)
    assert 0 not in strategy(top_k=3, top_p=1.0).choose(logits, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.5}, "temperature must be 0 or a positive number, found -0.5"),
        ({"temperature": math.nan}, "temperature must be 0 or a positive number, found nan"),
        ({"temperature": INFINITY}, "temperature must be 0 or a positive number, found inf"),
        ({"top_k": 0}, "top-k must be a whole number of at least 1, found 0"),
        ({"top_k": -2}, "top-k must be a whole number of at least 1, found -2"),
        ({"top_p": 0.0}, "top-p must be over 0 and at most 1, found 0.0"),
        ({"top_p": 1.1}, "top-p must be over 0 and at most 1, found 1.1"),
        ({"top_p": math.nan}, "top-p must be over 0 and at most 1, found nan"),
        ({"temperature": 0, "top_p": 2.0}, "top-p must be over 0 and at most 1, found 2.0"),
        ({"min_p": 0.0}, "min-p must be over 0 and at most 1, found 0.0"),
        ({"min_p": 1.5}, "min-p must be over 0 and at most 1, found 1.5"),
        ({"min_p": math.nan}, "min-p must be over 0 and at most 1, found nan"),
        ({"repetition_penalty": 0.0}, "the repetition penalty must be a positive number, found 0.0"),
        ({"repetition_penalty": -1.2}, "the repetition penalty must be a positive number, found -1.2"),
        ({"repetition_penalty": INFINITY}, "the repetition penalty must be a positive number, found inf"),
        ({"frequency_penalty": math.nan}, "the frequency penalty must be a finite number, found nan"),
        ({"presence_penalty": INFINITY}, "the presence penalty must be a finite number, found inf"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        strategy(**settings)
    with pytest.raises(ValueError, match="temperature must be a positive number, found 0"):
        Temperature(0)


def test_half_precision_logits_are_widened_first() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    assert Strategy().probabilities(logits).dtype == torch.float32


# Min-p and penalties

BATCHES = [
    (torch.randn(3, 40, generator=torch.Generator().manual_seed(seed)) * 3, length)
    for seed, length in enumerate((1, 2, 9, 60))
]


def history(length: int) -> Tensor:
    return torch.randint(0, 40, (3, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("p", [1e-6, 0.02, 0.1, 0.5, 1.0])
def test_min_p_keeps_what_the_peer_library_keeps(p: float) -> None:
    for logits, length in BATCHES:
        expected = transformers.MinPLogitsWarper(p)(history(length), logits)  # type: ignore[arg-type]
        assert MinP(p)(logits).equal(expected)


@given(rows, st.floats(0.001, 1))
def test_min_p_keeps_the_likeliest_and_nothing_far_below_it(logits: Tensor, p: float) -> None:
    found = kept(MinP(p)(logits))
    probabilities = logits.double().softmax(dim=-1)
    ratios = (probabilities / probabilities.max()).tolist()
    assert int(logits.argmax()) in found
    assert all(ratio > p * (1 - 1e-5) for place, ratio in enumerate(ratios) if place in found)
    assert all(ratio < p * (1 + 1e-5) for place, ratio in enumerate(ratios) if place not in found)


def test_min_p_comes_last() -> None:
    logits = torch.tensor([0.6, 0.24, 0.16]).log()
    assert strategy(0.5, 3, 0.9, min_p=0.2).processors == (Temperature(0.5), TopK(3), TopP(0.9), MinP(0.2))
    # At a temperature of 0.5 the ratio 0.24 / 0.6 = 0.4 becomes 0.16.
    assert kept(strategy(min_p=0.3).probabilities(logits).log()) == [0, 1]
    assert kept(strategy(0.5, min_p=0.3).probabilities(logits).log()) == [0]


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 5.0])
def test_the_repetition_penalty_is_the_peer_librarys(penalty: float) -> None:
    for logits, length in BATCHES:
        ids = history(length)
        expected = transformers.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)  # type: ignore[arg-type]
        torch.testing.assert_close(RepetitionPenalty(penalty)(logits, ids), expected)
        assert RepetitionPenalty(penalty)(logits, ids, prompt_length=length).equal(
            RepetitionPenalty(penalty)(logits, ids)
        )


@given(rows, st.lists(st.integers(0, 1), max_size=6), st.integers(0, 6), st.sampled_from([-0.5, 0.25, 2.0]))
def test_the_other_penalties_in_words(logits: Tensor, ids: list[int], prompt: int, penalty: float) -> None:
    new = ids[prompt:]
    so_far = torch.tensor(ids, dtype=torch.long)
    frequency = [logit - penalty * new.count(token) for token, logit in enumerate(logits.tolist())]
    presence = [logit - penalty * (token in new) for token, logit in enumerate(logits.tolist())]
    torch.testing.assert_close(FrequencyPenalty(penalty)(logits, so_far, prompt), torch.tensor(frequency))
    torch.testing.assert_close(PresencePenalty(penalty)(logits, so_far, prompt), torch.tensor(presence))


def test_penalties_come_first_and_change_the_choice_of_greedy() -> None:
    logits = torch.tensor([[3.0, 2.9, -1.0]])
    chooser = strategy(temperature=0, repetition_penalty=1.1)
    assert chooser.choose(logits, ids=torch.tensor([[2]])).tolist() == [0]
    assert chooser.choose(logits, ids=torch.tensor([[0]])).tolist() == [1]
    found = strategy(2.0, frequency_penalty=1.0, presence_penalty=0.5)
    assert found.penalties == (FrequencyPenalty(1.0), PresencePenalty(0.5))
    probabilities = found.probabilities(logits, torch.tensor([[1, 0, 0]]), prompt_length=1)
    torch.testing.assert_close(probabilities, (torch.tensor([[0.5, 2.9, -1.0]]) / 2).softmax(dim=-1))


@pytest.mark.parametrize("penalty", [RepetitionPenalty(1.2), FrequencyPenalty(1.0), PresencePenalty(1.0)])
def test_a_token_at_minus_infinity_stays_there(penalty: Penalty) -> None:
    logits = torch.tensor([-INFINITY, 1.0])
    assert penalty(logits, torch.tensor([0, 1]), 0)[0] == -INFINITY


def test_a_penalty_without_the_text_so_far_is_an_error() -> None:
    message = r"RepetitionPenalty\(penalty=1.2\) needs the ids of the text so far, found none"
    with pytest.raises(ValueError, match=message):
        strategy(repetition_penalty=1.2).choose(torch.zeros(1, 3))
