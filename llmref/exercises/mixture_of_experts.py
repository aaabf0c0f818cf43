"""Mixture of experts: choose each token's experts, weigh them, and add up what they give."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def route(
    logits: Float[Tensor, "tokens n_experts"], n_active: int
) -> tuple[Float[Tensor, "tokens n_active"], Int[Tensor, "tokens n_active"]]:
    """The weights of each token's experts, and their numbers, the best first.

    A softmax over all experts makes scores of the logits. The `n_active` experts with the best scores are
    chosen (`topk`), and their scores are divided by their sum, so that a token's weights sum to 1.
    """
    raise NotImplementedError("write route()")


def mix(
    x: Float[Tensor, "tokens d_model"],
    weights: Float[Tensor, "tokens n_active"],
    choices: Int[Tensor, "tokens n_active"],
    experts: Sequence[Callable[[Tensor], Tensor]],
) -> Float[Tensor, "tokens d_model"]:
    """Each token's sum of weight × expert(token), over the experts that it chose.

    An expert is a function: `experts[2](rows)` takes rows of `x`, [some tokens, d_model], and gives as many.
    Call each expert once at most, with exactly those tokens that chose it, and not at all if there are none.
    `(choices == 2).nonzero(as_tuple=True)` says which tokens chose expert 2, and in which place.
    """
    raise NotImplementedError("write mix()")


# What is checked

from typing import Any

from llmref.config import FeedForwardConfig, MixtureConfig
from llmref.mixture_of_experts import MixtureOfExperts, naive_mixture


def _layer(n_experts: int, n_active: int) -> tuple[MixtureOfExperts, Tensor]:
    torch.manual_seed(n_experts)
    config = MixtureConfig(n_experts, n_active, expert=FeedForwardConfig(d_ff=6))
    return MixtureOfExperts(config, d_model=5), torch.randn(7, 5)


def check_choice(answer: Any) -> None:
    """The experts are those with the best scores, the best first."""
    logits = torch.tensor([[0.0, 2.0, -1.0, 1.0], [3.0, -2.0, 1.0, 2.5]])
    for n_active, expected in ((1, [[1], [0]]), (2, [[1, 3], [0, 3]]), (3, [[1, 3, 0], [0, 3, 2]])):
        _, choices = answer.route(logits.clone(), n_active)
        found = choices.tolist()
        assert found == expected, f"expected the experts {expected} for n_active={n_active}, found {found}"


def check_weights(answer: Any) -> None:
    """Their weights are their scores, made to sum to 1."""
    logits = torch.tensor([[0.0, 2.0, -1.0, 1.0], [3.0, -2.0, 1.0, 2.5]])
    for n_active, expected in (
        (2, [[0.731, 0.269], [0.622, 0.378]]),
        (4, [[0.644, 0.237, 0.087, 0.032], [0.572, 0.347, 0.077, 0.004]]),
    ):
        weights, _ = answer.route(logits.clone(), n_active)
        for token in (0, 1):
            found = [round(number, 3) for number in weights[token].tolist()]
            assert torch.allclose(weights[token], torch.tensor(expected[token]), atol=2e-3), (
                f"expected the weights {expected[token]} for the logits {logits[token].tolist()} and "
                f"n_active={n_active}, found {found}"
            )


def check_sum(answer: Any) -> None:
    """A token gets the weighted sum of its experts."""
    for n_experts, n_active in ((4, 2), (3, 1), (5, 5)):
        layer, x = _layer(n_experts, n_active)
        with torch.no_grad():
            weights, choices = layer.router(x)
            expected = naive_mixture(layer, x[None])[0]
            found = answer.mix(x.clone(), weights.clone(), choices.clone(), list(layer.experts))
        assert tuple(found.shape) == (7, 5), f"expected the shape (7, 5), found {tuple(found.shape)}"
        for token in range(7):
            assert torch.allclose(found[token], expected[token], atol=1e-5), (
                f"with {n_experts} experts, {n_active} for a token, token {token} went to "
                f"{choices[token].tolist()} with the weights {weights[token].tolist()}; expected "
                f"{expected[token].tolist()}, found {found[token].tolist()}"
            )


def check_work(answer: Any) -> None:
    """An expert sees the tokens that chose it, and no others."""
    x = torch.arange(8.0).view(4, 2)
    choices = torch.tensor([[0, 2], [2, 0], [0, 3], [2, 3]])
    seen: dict[int, list[list[float]]] = {}

    def expert(number: int) -> Callable[[Tensor], Tensor]:
        def run(rows: Tensor) -> Tensor:
            assert number not in seen, f"expected one call of expert {number}, found more"
            seen[number] = sorted(rows.tolist())
            return rows

        return run

    answer.mix(x, torch.full((4, 2), 0.5), choices, [expert(number) for number in range(4)])
    for number, tokens in {0: [0, 1, 2], 1: [], 2: [0, 1, 3], 3: [2, 3]}.items():
        expected = x[tokens].tolist()
        found = seen.get(number)
        assert found == (expected or None), (
            f"expert {number} was chosen by the tokens {tokens}; expected it to be given "
            f"{expected or 'nothing'}, found {found}"
        )
