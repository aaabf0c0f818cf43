"""RoPE: turn a query or a key to its position, pair by pair."""

import torch
from torch import Tensor


def rotate(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    """Turn each token's vector to its position, as in the paper.

    `x` holds one vector for each token: [tokens, head_dim], and `positions`
    says where each token stands: [tokens].

    Dimensions 2i and 2i + 1 make pair i. A pair's angle is the position
    times `base ** (-2 * i / head_dim)`, in radians. A pair (a, b) becomes
    (a cos - b sin, b cos + a sin). `x[:, 0::2]` holds the first numbers of
    all pairs, `x[:, 1::2]` the second ones.

    Return the turned vectors: [tokens, head_dim], in the order of `x`.
    """
    raise NotImplementedError("write rotate()")


# What is checked

import math
from typing import Any

from llmref.rope import rotate as package_rotate
from llmref.rope import rotation


def check_by_hand(answer: Any) -> None:
    """By hand: (1, 0) at position 1 becomes (cos 1, sin 1); the second pair turns slower."""
    found = _turned(answer, torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([1]), 100.0)[0]
    expected = torch.tensor([math.cos(1.0), math.sin(1.0), math.cos(0.1), math.sin(0.1)])
    assert torch.allclose(found, expected, atol=1e-5), (
        f"expected {_rounded(expected)} for a base of 100, found {_rounded(found)}"
    )


def check_length(answer: Any) -> None:
    """Position 0 changes nothing, and no position changes a length."""
    x = torch.randn(5, 8)
    turned = _turned(answer, x, torch.tensor([0, 1, 7, 300, 12]))
    assert torch.allclose(turned[0], x[0]), f"position 0 gave {_rounded(turned[0])} for {_rounded(x[0])}"
    before, after = x.norm(dim=-1), turned.norm(dim=-1)
    assert torch.allclose(before, after, atol=1e-4), (
        f"expected the lengths {_rounded(before)}, found {_rounded(after)}"
    )


def check_distance(answer: Any) -> None:
    """The dot product of a query and a key depends on the distance alone."""
    query, key = torch.randn(2, 1, 16)
    scores = [
        float(_turned(answer, query, torch.tensor([m]))[0] @ _turned(answer, key, torch.tensor([m - 5]))[0])
        for m in (5, 6, 105)
    ]
    assert max(scores) - min(scores) < 1e-3, (
        f"query at 5, 6, 105 and key five before it: expected one score, found {_rounded(scores)}"
    )
    near = float(_turned(answer, query, torch.tensor([5]))[0] @ _turned(answer, key, torch.tensor([4]))[0])
    assert abs(near - scores[0]) > 1e-3, "another distance gave the same score: is anything turned at all?"


def check_package(answer: Any) -> None:
    """It equals the package's rotation in the interleaved layout."""
    x, positions = torch.randn(6, 32), torch.tensor([0, 1, 2, 50, 3, 3])
    expected = package_rotate(x[None, None], *rotation(positions[None], 32), layout="interleaved")[0, 0]
    difference = float((_turned(answer, x, positions) - expected).abs().max())
    assert difference < 1e-4, f"it differs from the package by up to {difference:.3g}"


def _turned(answer: Any, x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    found: Tensor = answer.rotate(x, positions, base)
    assert found.shape == x.shape, f"expected the shape {tuple(x.shape)}, found {tuple(found.shape)}"
    return found


def _rounded(numbers: Any) -> list[float]:
    return [round(float(number), 3) for number in numbers]
