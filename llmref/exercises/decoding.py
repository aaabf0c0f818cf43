"""Decoding: draw a token by its probability, with nothing but one random number."""

from collections.abc import Sequence


def draw(probabilities: Sequence[float], number: float) -> int:
    """The id that a random number chooses: token `i` for a share `probabilities[i]` of all numbers.

    `number` is at least 0 and under 1, each value as likely as any other. Think of the tokens as pieces of a
    ruler from 0 to 1, in the order of their ids, each as long as its probability: the number falls on one
    of them. Two things can go wrong: a token of probability 0 must never be drawn, and rounding may leave the
    ruler a little short of 1.
    """
    raise NotImplementedError("write draw()")


# What is checked

from typing import Any

from llmref.decoding import strategy
from llmref.model import sequential_positions
from llmref.tiny import load_tiny


def check_shares(answer: Any) -> None:
    """Every token is drawn as often as its probability says."""
    probabilities = [0.5, 0.125, 0.25, 0.125]
    drawn = [answer.draw(probabilities, (i + 0.5) / 80) for i in range(80)]
    found = [drawn.count(token) for token in range(4)]
    assert found == [40, 10, 20, 10], (
        f"expected 40, 10, 20 and 10 of 80 evenly spread numbers for {probabilities}, found {found}"
    )


def check_never_impossible(answer: Any) -> None:
    """A token of probability 0 is never drawn, not even for the number 0 or on an edge."""
    probabilities = [0.0, 0.5, 0.0, 0.5, 0.0]
    for number, expected in ((0.0, 1), (0.25, 1), (0.5, 3), (0.999999999, 3)):
        found = answer.draw(probabilities, number)
        assert found == expected, f"expected {expected} for {probabilities} and {number}, found {found}"


def check_rounding(answer: Any) -> None:
    """Probabilities that sum to a little less than 1 still give a token that can come."""
    probabilities = [0.3333, 0.0, 0.3333, 0.3333, 0.0]
    found = answer.draw(probabilities, 0.99999)
    assert found == 3, f"expected the last possible token, 3, for {probabilities} and 0.99999, found {found}"


def check_model(answer: Any) -> None:
    """It draws from what the tiny model says, after a strategy."""
    import torch

    model, tokenizer = load_tiny()
    ids = torch.tensor([[0, *tokenizer.encode("Once upon a time, a")]])
    with torch.no_grad():
        logits = model(ids, sequential_positions(ids))[0, -1]
    kept = strategy(top_k=3).probabilities(logits)
    found = {answer.draw(kept.tolist(), i / 50) for i in range(50)}
    expected = set(kept.nonzero()[:, 0].tolist())
    assert found == expected, f"expected each of the tokens {sorted(expected)}, found {sorted(found)}"
