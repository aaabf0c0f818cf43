"""Sharing keys and values: write attention in which several query heads use the same keys and values."""

from jaxtyping import Bool, Float
from torch import Tensor

from llmref.attention import attention_weights, combine, relevance_scores


def shared_attention(
    query: Float[Tensor, "batch n_heads queries head_dim"],
    key: Float[Tensor, "batch n_kv_heads keys head_dim"],
    value: Float[Tensor, "batch n_kv_heads keys head_dim"],
    allowed: Bool[Tensor, "batch queries keys"],
) -> Float[Tensor, "batch n_heads queries head_dim"]:
    """What each query head takes, where several query heads use one key/value head.

    `n_heads` is a multiple of `n_kv_heads`. Query heads that stand side by side form a group: with 4 query
    heads and 2 key/value heads, query heads 0 and 1 use key/value head 0, and 2 and 3 use key/value head 1.

    The two steps are there: `relevance_scores(query, key)`, then `attention_weights(scores, allowed)`, then
    `combine(weights, value)`. They want as many keys and values as queries. `repeat_interleave` or
    `repeat` can copy heads: only one of them puts the copies side by side.
    """
    raise NotImplementedError("write shared_attention()")


# What is checked

from typing import Any

import torch

from llmref.attention import dot_product_attention


def _inputs(n_heads: int, n_kv_heads: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_kv_heads)
    query = torch.randn(2, n_heads, 5, 8, generator=generator)
    key, value = torch.randn(2, 2, n_kv_heads, 5, 8, generator=generator).unbind()
    return query, key, value, torch.ones(2, 5, 5, dtype=torch.bool).tril()


def _compare(answer: Any, n_heads: int, n_kv_heads: int) -> None:
    query, key, value, allowed = _inputs(n_heads, n_kv_heads)
    found = answer.shared_attention(query.clone(), key.clone(), value.clone(), allowed)
    assert tuple(found.shape) == tuple(query.shape), (
        f"expected the shape {tuple(query.shape)} for {n_heads} query and {n_kv_heads} key/value heads, "
        f"found {tuple(found.shape)}"
    )
    for head in range(n_heads):
        used = head // (n_heads // n_kv_heads)
        one = slice(used, used + 1)
        expected = dot_product_attention(query[:, head : head + 1], key[:, one], value[:, one], allowed)
        assert torch.allclose(found[:, head : head + 1], expected, atol=1e-5), (
            f"with {n_heads} query heads and {n_kv_heads} key/value heads, query head {head} should use "
            f"key/value head {used}; its output is another one"
        )


def check_multi_head(answer: Any) -> None:
    """With as many key/value heads as query heads, each query head has its own."""
    _compare(answer, 4, 4)


def check_grouped(answer: Any) -> None:
    """With fewer, the query heads of a group share one."""
    _compare(answer, 4, 2)
    _compare(answer, 6, 3)


def check_multi_query(answer: Any) -> None:
    """With a single one, all query heads use it."""
    _compare(answer, 4, 1)


def check_later_tokens(answer: Any) -> None:
    """No token takes anything from later tokens."""
    query, key, value, allowed = _inputs(4, 2)
    before = answer.shared_attention(query, key, value, allowed)
    key, value = key.clone(), value.clone()
    key[:, :, -1], value[:, :, -1] = 9.0, 9.0
    after = answer.shared_attention(query, key, value, allowed)
    assert torch.allclose(before[:, :, :-1], after[:, :, :-1]), (
        "expected earlier tokens to stay as they are when the last token's key and value change; they changed"
    )
