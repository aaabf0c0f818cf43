"""Self-attention: from the hidden states to the mix of values, in one head."""

import math

import torch
from torch import Tensor


def self_attention(
    x: Tensor, query_matrix: Tensor, key_matrix: Tensor, value_matrix: Tensor
) -> tuple[Tensor, Tensor]:
    """One head over the tokens of one text: the output and the weights.

    `x` holds the hidden states, one row for each token: [tokens, d_model].
    The three matrices have the shape [d_model, head_dim]; the queries are
    `x @ query_matrix`.

    Step one: score every query against every key, divided by √head_dim, and
    turn the scores of the allowed pairs into weights that sum to 1.
    `torch.ones(n, n).tril()` may help. Step two: mix the values.

    Return the output, [tokens, head_dim], and the weights, [tokens, tokens]:
    row i says how much token i takes from each token. No token takes
    anything from a token after it.
    """
    raise NotImplementedError("write self_attention()")


# What is checked

from typing import Any

from torch.nn.functional import scaled_dot_product_attention


def check_small_case(answer: Any) -> None:
    """Two tokens by hand: the second takes three times as much from itself as from the first."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    key_matrix = torch.tensor([[0.0] * 4, [math.log(3.0), 0.0, 0.0, 0.0]])
    query_matrix, value_matrix = torch.tensor([[2.0, 0.0, 0.0, 0.0]] * 2), torch.eye(2, 4)
    output, weights = answer.self_attention(x, query_matrix, key_matrix, value_matrix)
    expected = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    assert _near(weights, expected), f"expected the weights {expected.tolist()}, found {_rows(weights)}"
    assert _near(output[:, :2], expected), (
        f"expected the outputs {expected.tolist()}, found {_rows(output[:, :2])}"
    )


def check_library(answer: Any) -> None:
    """It equals the library's fused call, for several shapes."""
    for tokens, d_model, head_dim in ((1, 3, 2), (6, 8, 4), (9, 5, 16)):
        x, *matrices = _random(tokens, d_model, head_dim)
        output, _ = answer.self_attention(x, *matrices)
        query, key, value = (x @ matrix for matrix in matrices)
        expected = scaled_dot_product_attention(query[None], key[None], value[None], is_causal=True)[0]
        assert output.shape == expected.shape, (
            f"expected an output of the shape {tuple(expected.shape)}, found {tuple(output.shape)}"
        )
        difference = float((output - expected).abs().max())
        assert difference < 1e-4, f"for {tokens} tokens it differs from the library by up to {difference:.3g}"


def check_weights(answer: Any) -> None:
    """Each row of weights sums to 1, and a token never looks ahead."""
    _, weights = answer.self_attention(*_random(6, 8, 4))
    sums = weights.sum(dim=-1)
    assert _near(sums, torch.ones(6)), f"expected rows that sum to 1, found {_rows(sums)}"
    ahead = float(weights.triu(1).abs().max())
    assert ahead == 0, f"expected a weight of exactly 0 for every later token, found {ahead:.3g}"


def check_large_scores(answer: Any) -> None:
    """Scores in the thousands do not break it."""
    x, *matrices = _random(6, 8, 4)
    output, _ = answer.self_attention(1000 * x, *matrices)
    assert output.isfinite().all(), "expected finite outputs, found inf or nan: does an exponential overflow?"


def _random(tokens: int, d_model: int, head_dim: int) -> tuple[Tensor, ...]:
    return torch.randn(tokens, d_model), *torch.randn(3, d_model, head_dim)


def _near(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4)


def _rows(found: Tensor) -> Any:
    return (found * 1e4).round().div(1e4).tolist()
