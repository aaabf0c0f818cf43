"""Sparse attention: write attention through a window that touches nothing outside the window."""

import math

import torch
from torch import Tensor


def window_attention(query: Tensor, key: Tensor, value: Tensor, size: int) -> Tensor:
    """One head's output, when each token looks at itself and at the `size - 1` tokens before it.

    All three have the shape [tokens, head_dim], and so has what comes back. Do not make the whole matrix of
    scores and hide most of it: for each token take the keys and the values of its window (fewer at the start
    of the text), score those alone, and mix. A loop over the tokens is fine.
    """
    raise NotImplementedError("write window_attention()")


# What is checked

from typing import Any

from llmref.attention import causal, dot_product_attention, window


def _vectors(tokens: int, head_dim: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return list(torch.randn(3, tokens, head_dim, generator=generator).unbind())


def check_same_as_the_mask(answer: Any) -> None:
    """The output is that of all scores with the window's mask."""
    for tokens, size in ((12, 3), (12, 1), (7, 5), (20, 8)):
        query, key, value = _vectors(tokens)
        positions = torch.arange(tokens)[None]
        allowed = (causal() & window(size)).dense(positions, positions)
        expected = dot_product_attention(query[None, None], key[None, None], value[None, None], allowed)[0, 0]
        found = answer.window_attention(query, key, value, size)
        assert found.shape == expected.shape, f"expected the shape {expected.shape}, found {found.shape}"
        wrong = ((found - expected).abs() > 1e-5).any(dim=-1).nonzero().flatten().tolist()
        assert not wrong, f"{tokens} tokens, a window of {size}: the output of tokens {wrong} is not right"


def check_a_window_longer_than_the_text(answer: Any) -> None:
    """A window longer than the text is causal attention."""
    query, key, value = _vectors(6)
    allowed = torch.ones(1, 6, 6, dtype=torch.bool).tril()
    expected = dot_product_attention(query[None, None], key[None, None], value[None, None], allowed)[0, 0]
    found = answer.window_attention(query, key, value, 100)
    assert torch.allclose(found, expected, atol=1e-5), f"expected\n{expected}\nfound\n{found}"


def check_nothing_else_is_touched(answer: Any) -> None:
    """Keys and values outside the window are not touched."""
    query, key, value = _vectors(10)
    key[:6], value[:6] = math.nan, math.nan  # whatever touches one of these is no number any more
    last = answer.window_attention(query, key, value, 4)[-1]
    assert last.isfinite().all(), (
        "expected the last token to use its window of 4 alone, found that its output changes with tokens "
        "before it (a weight of 0 times a value is still a multiplication)"
    )
