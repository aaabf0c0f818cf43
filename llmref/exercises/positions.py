"""Positions: write ALiBi, which lowers each score in proportion to the distance."""

import torch
from torch import Tensor


def alibi_bias(slopes: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """What is added to the scores of one text, before softmax.

    `slopes` holds one number for each head: [heads]. `query_positions` and
    `key_positions` say where the tokens stand: [queries] and [keys]. There
    may be one query and many keys (a step with a cache), and positions need
    not start at 0.

    Return [heads, queries, keys]: minus the head's slope times the distance
    from the query back to the key. Keys after the query get what the formula
    gives; the causal mask hides them anyway. Indexing with `None` makes the
    shapes meet: `slopes[:, None, None]`.
    """
    raise NotImplementedError("write alibi_bias()")


# What is checked

from typing import Any

from llmref.positions import alibi_slopes


def check_by_hand(answer: Any) -> None:
    """One head by hand: at a distance of 1 the score falls by the slope, at 2 by twice as much."""
    places = torch.tensor([0, 1, 2])
    found = _bias(answer, torch.tensor([0.5]), places, places).tril()
    expected = torch.tensor([[[0.0, 0.0, 0.0], [-0.5, 0.0, 0.0], [-1.0, -0.5, 0.0]]])
    assert torch.allclose(found, expected), f"expected {expected.tolist()}, found {found.tolist()}"


def check_heads(answer: Any) -> None:
    """Each head has its own slope."""
    found = _bias(answer, alibi_slopes(8), torch.tensor([7]), torch.tensor([3]))[:, 0, 0]
    expected = -4 * alibi_slopes(8)
    assert torch.allclose(found, expected), f"expected {expected.tolist()}, found {found.tolist()}"


def check_one_step(answer: Any) -> None:
    """One query against a cache of six keys: the last row of the whole."""
    slopes, places = alibi_slopes(4), torch.arange(6)
    whole = _bias(answer, slopes, places, places)
    step = _bias(answer, slopes, places[-1:], places)
    expected = whole[:, -1:]
    assert torch.equal(step, expected), f"expected {expected[0].tolist()} in head 0, found {step[0].tolist()}"


def check_any_places(answer: Any) -> None:
    """The distance alone matters, wherever the tokens stand."""
    slopes, places = alibi_slopes(4), torch.tensor([0, 3, 4, 9])
    here, there = (_bias(answer, slopes, places + shift, places + shift) for shift in (0, 100))
    assert torch.equal(here, there), "positions moved by 100 should change nothing, found another bias"
    gap = here[0, 3, 0].item()
    assert gap == -9 * slopes[0].item(), f"expected {-9 * slopes[0].item()} from 9 back to 0, found {gap}"


def _bias(answer: Any, slopes: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
    found: Tensor = answer.alibi_bias(slopes, query_positions, key_positions)
    expected = (len(slopes), len(query_positions), len(key_positions))
    assert tuple(found.shape) == expected, f"expected the shape {expected}, found {tuple(found.shape)}"
    return found
