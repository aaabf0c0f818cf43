"""Multi-head attention: split into heads, let each attend for itself, join, project."""

import math

import torch
from torch import Tensor


def multi_head(x: Tensor, query: Tensor, key: Tensor, value: Tensor, output: Tensor, n_heads: int) -> Tensor:
    """What the attention layer adds, for one text, with a causal mask.

    `x` is [tokens, d_model]. `query`, `key` and `value` are [d_model, n_heads * head_dim]: the first
    head_dim columns belong to the first head, the next to the second. `output` is
    [n_heads * head_dim, d_model]. What comes back is [tokens, d_model].

    Multiply, then cut the columns into heads (`matrix.split(head_dim, dim=1)`). Each head has its own
    scores, weights and mix; a token looks at itself and at what stands before it. Join the heads in their
    order (`torch.cat`), and multiply by `output`. No position enters here.
    """
    raise NotImplementedError("write multi_head()")


# What is checked

from typing import Any

from llmref.attention import MultiHeadAttention
from llmref.config import AttentionConfig


def _case(n_heads: int, head_dim: int, d_model: int, tokens: int) -> tuple[list[Tensor], Tensor]:
    """x and the four matrices, and what the package's layer gives for them."""
    torch.manual_seed(n_heads)
    layer = MultiHeadAttention(AttentionConfig(n_heads, n_heads, head_dim, rope=None), d_model)
    x = torch.randn(tokens, d_model)
    allowed = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    with torch.no_grad():
        for projection in (layer.query, layer.key):
            projection.weight.mul_(4)  # scores that differ, so that a wrong scale shows
        expected = layer(x[None], torch.arange(tokens)[None], allowed[None])[0]
    matrices = [getattr(layer, name).weight.detach().T for name in ("query", "key", "value", "output")]
    return [x, *matrices], expected


def _check(answer: Any, n_heads: int, head_dim: int, d_model: int, tokens: int) -> None:
    given, expected = _case(n_heads, head_dim, d_model, tokens)
    found = answer.multi_head(*given, n_heads)
    assert isinstance(found, Tensor) and found.shape == expected.shape, (
        f"expected a tensor of shape {tuple(expected.shape)}, found {getattr(found, 'shape', found)}"
    )
    gap = (found - expected).abs().max().item()
    assert gap < 1e-4, f"expected what the package's layer gives, found numbers that differ by {gap:.3f}"


def check_one_head(answer: Any) -> None:
    """With one head it is plain attention."""
    _check(answer, n_heads=1, head_dim=6, d_model=6, tokens=5)


def check_two_heads(answer: Any) -> None:
    """With two heads each has its own weights, and the heads are joined in their order."""
    _check(answer, n_heads=2, head_dim=3, d_model=6, tokens=5)


def check_four_heads_of_another_width(answer: Any) -> None:
    """The heads together may be wider than d_model; scores are divided by the root of head_dim."""
    _check(answer, n_heads=4, head_dim=3, d_model=5, tokens=4)


def check_causal(answer: Any) -> None:
    """A token that comes later changes nothing before it."""
    given, _ = _case(n_heads=2, head_dim=3, d_model=6, tokens=5)
    x, *matrices = given
    changed = x.clone()
    changed[-1] += 1
    gap = (answer.multi_head(x, *matrices, 2) - answer.multi_head(changed, *matrices, 2))[:-1].abs().max()
    assert gap < 1e-6, f"expected no change in the rows before the last, found one of {gap.item():.3f}"
