"""Speculative decoding: write the step that accepts or replaces what a draft proposed."""

from torch import Tensor

from llmref.decoding import draw


def step(p: Tensor, q: Tensor, drafted: list[int], uniforms: list[float]) -> list[int]:
    """The tokens that come of one pass of the model: those that stay, and one more.

    Args:
        p: The model's distribution at the place of each drafted token, and after
            the last one: one row more than there are drafted tokens.
        q: The draft's distribution at the place of each drafted token.
        drafted: The ids of the drafted tokens.
        uniforms: Random numbers from 0 up to, but not including, 1: one for each
            drafted token, to decide whether it stays, and a last one to draw with.

    A drafted token x stays with probability min(1, p(x) / q(x)). The first one
    that does not is replaced by a token drawn from what p has more than q (bring
    its sum to 1), and that is the last one. If all stay, one more is drawn from
    the last row of p.

    `draw(row[None], number[None])` draws a token of a row by a random number;
    both are tensors.
    """
    raise NotImplementedError("write step()")


# What is checked

from typing import Any

import torch

P = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
Q = torch.tensor([[0.4, 0.2, 0.1, 0.3]], dtype=torch.float64)


def check_distribution(answer: Any) -> None:
    """Whatever was drafted, the first token is distributed as the model says."""
    numbers = [(place + 0.5) / 30 for place in range(30)]
    shares = torch.zeros(4, dtype=torch.float64)
    for token in range(4):
        for stays in numbers:
            for last in numbers:
                found = answer.step(P, Q, [token], [stays, last])
                shares[found[0]] += Q[0, token] / 900
    expected, rounded = P[0].tolist(), [round(share, 2) for share in shares.tolist()]
    assert (shares - P[0]).abs().max() < 0.02, f"expected the shares {expected}, found {rounded}"


def check_several(answer: Any) -> None:
    """The first token that is refused ends the step, and if none is, there is one more."""
    p = torch.tensor([[0.5, 0.5, 0.0]] * 3 + [[0.0, 0.0, 1.0]], dtype=torch.float64)
    q = torch.tensor([[1.0, 0.0, 0.0]] * 3, dtype=torch.float64)
    for numbers, expected in (
        ([0.1, 0.2, 0.3, 0.9], [0, 0, 0, 2]),
        ([0.1, 0.8, 0.3, 0.9], [0, 1]),
        ([0.7, 0.2, 0.3, 0.9], [1]),
    ):
        found = answer.step(p, q, [0, 0, 0], numbers)
        assert found == expected, f"expected {expected} for the random numbers {numbers}, found {found}"


def check_greedy(answer: Any) -> None:
    """Where the model allows one token only, that token comes."""
    p = torch.eye(3, dtype=torch.float64)
    for drafted, expected in (([0, 1], [0, 1, 2]), ([0, 2], [0, 1]), ([1, 1], [0])):
        q = torch.nn.functional.one_hot(torch.tensor(drafted), 3).double()
        for number in (0.0, 0.5, 0.99):
            found = answer.step(p, q, drafted, [number] * 3)
            assert found == expected, f"expected {expected} for the draft {drafted}, found {found}"
