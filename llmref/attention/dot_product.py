"""Attention in two steps: how relevant is each token, then a mix of what the relevant ones hold.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.1. This is the naive form, which
writes every matrix out; `llmref.attention.backends` runs the same two steps fused.
"""

import math

from jaxtyping import Bool, Float
from torch import Tensor


def relevance_scores(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
) -> Float[Tensor, "batch heads queries keys"]:
    """Step one: the scaled dot product of every query with every key.

    The division by √head_dim keeps the scores at a size where the softmax still moves.

    >>> import torch
    >>> query = torch.tensor([[[[2.0, 0.0, 0.0, 0.0]]]])
    >>> key = torch.tensor([[[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]]])
    >>> relevance_scores(query, key).tolist()
    [[[[1.0, 0.0]]]]
    """
    return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])


def attention_weights(
    scores: Float[Tensor, "batch heads queries keys"],
    allowed: Bool[Tensor, "batch queries keys"],
) -> Float[Tensor, "batch heads queries keys"]:
    """The scores of the allowed keys as weights that sum to 1, by a softmax over the keys.

    A query that may look at nothing (padding) gets weights of 0.

    >>> import torch
    >>> scores = torch.zeros(1, 1, 2, 2)
    >>> attention_weights(scores, torch.tensor([[[True, False], [True, True]]])).tolist()
    [[[[1.0, 0.0], [0.5, 0.5]]]]
    """
    allowed = allowed[:, None]
    weights = scores.masked_fill(~allowed, -math.inf).softmax(dim=-1)
    return weights.masked_fill(~allowed, 0.0)


def combine(
    weights: Float[Tensor, "batch heads queries keys"],
    value: Float[Tensor, "batch heads keys value_dim"],
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Step two: each query's mix of the values, by its weights.

    >>> import torch
    >>> value = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    >>> combine(torch.tensor([[[[0.25, 0.75]]]]), value).tolist()
    [[[[0.25, 0.75]]]]
    """
    return weights @ value


def dot_product_attention(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    value: Float[Tensor, "batch heads keys value_dim"],
    allowed: Bool[Tensor, "batch queries keys"],
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Both steps: `combine(attention_weights(relevance_scores(query, key), allowed), value)`.

    >>> import torch
    >>> query = key = value = torch.eye(2)[None, None]
    >>> dot_product_attention(query, key, value, torch.eye(2, dtype=torch.bool)[None]).tolist()
    [[[[1.0, 0.0], [0.0, 1.0]]]]
    """
    weights = attention_weights(relevance_scores(query, key), allowed)
    return combine(weights, value)
