"""Latent attention: write a decode step that compares and sums the latents themselves."""

from jaxtyping import Float
from torch import Tensor


def decode_step(
    query: Float[Tensor, "n_heads query_dim"],
    latent: Float[Tensor, "tokens latent_dim"],
    rotated_key: Float[Tensor, "tokens rotated_dim"],
    key_weight: Float[Tensor, "n_heads plain_dim latent_dim"],
    value_weight: Float[Tensor, "n_heads value_dim latent_dim"],
) -> Float[Tensor, "n_heads value_dim"]:
    """What each head of the newest token takes from the tokens in the cache, the newest one included.

    A head's query is its plain part, then its rotated part: `query_dim` is `plain_dim + rotated_dim`. Its key
    for a token is `key_weight[head] @ latent[token]`, then `rotated_key[token]`. Its value is
    `value_weight[head] @ latent[token]`. Scores are scaled as always: divided by the square root of
    `query_dim`.

    Make no head's keys or values. Absorb: take each key matrix into its head's query, and multiply by each
    value matrix at the end. Between the two, a softmax over the tokens makes the weights.
    """
    raise NotImplementedError("write decode_step()")


# What is checked

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from llmref.attention import LatentAttention
from llmref.config import LatentAttentionConfig


def _inputs(config: LatentAttentionConfig, tokens: int) -> tuple[LatentAttention, list[Tensor]]:
    torch.manual_seed(tokens)
    layer = LatentAttention(config, d_model=16)
    given = [
        torch.randn(config.n_heads, config.plain_dim + config.rotated_dim),
        torch.randn(tokens, config.latent_dim),
        torch.randn(tokens, config.rotated_dim),
        layer.key.weight.detach().unflatten(0, (config.n_heads, -1)),
        layer.value.weight.detach().unflatten(0, (config.n_heads, -1)),
    ]
    return layer, given


def _compare(answer: Any, config: LatentAttentionConfig, tokens: int, rotated: float = 1.0) -> None:
    layer, given = _inputs(config, tokens)
    given[2] *= rotated
    found = answer.decode_step(*(tensor.clone() for tensor in given))
    query, latent, rotated_key = given[0][None, :, None], given[1][None, None], given[2][None, None]
    with torch.no_grad():
        expected = layer.expanded(query, latent, rotated_key, torch.ones(1, 1, tokens, dtype=torch.bool))
    expected = expected[0, :, 0]
    assert tuple(found.shape) == tuple(expected.shape), (
        f"expected a vector of {config.value_dim} numbers for each of {config.n_heads} heads, "
        f"{tuple(expected.shape)}, found the shape {tuple(found.shape)}"
    )
    for head in range(config.n_heads):
        assert torch.allclose(found[head], expected[head], atol=1e-5), (
            f"with {tokens} in the cache, expected head {head} to give {_rounded(expected[head])}, "
            f"found {_rounded(found[head])}"
        )


def _rounded(vector: Tensor) -> list[float]:
    return [round(number, 3) for number in vector.tolist()]


SAME_SIZES = LatentAttentionConfig(n_heads=2, latent_dim=4, plain_dim=4, rotated_dim=2, value_dim=4)
ODD_SIZES = LatentAttentionConfig(n_heads=3, latent_dim=5, plain_dim=4, rotated_dim=2, value_dim=7)


def check_plain_part(answer: Any) -> None:
    """Where the rotated keys are 0, the plain parts alone give what every head's keys and values would."""
    _compare(answer, SAME_SIZES, tokens=5, rotated=0.0)


def check_both_parts(answer: Any) -> None:
    """With rotated keys, both parts count, at one scale."""
    _compare(answer, SAME_SIZES, tokens=5)
    _compare(answer, ODD_SIZES, tokens=6)


def check_one_token(answer: Any) -> None:
    """With a single token all weight is on it, and each head gives its own value of it."""
    _compare(answer, ODD_SIZES, tokens=1)


class _Written(TorchDispatchMode):
    """Counts the numbers that all operations give; views give none."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if not operation.is_view:
            self.numbers += sum(x.numel() for x in tree_leaves(result) if isinstance(x, Tensor))
        return result


def check_nothing_expanded(answer: Any) -> None:
    """No keys and values are made on the way."""
    config = LatentAttentionConfig(n_heads=4, latent_dim=6, plain_dim=32, rotated_dim=2, value_dim=32)
    tokens = 100
    _, given = _inputs(config, tokens)
    with _Written() as written:
        answer.decode_step(*given)
    keys = config.n_heads * tokens * config.plain_dim
    assert written.numbers < keys, (
        f"expected fewer numbers on the way than the keys of {config.n_heads} heads and {tokens} tokens have "
        f"({keys:,}), found {written.numbers:,}; compare the queries with the latents themselves"
    )
