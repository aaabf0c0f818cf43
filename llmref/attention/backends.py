"""One call, several ways to run it: every backend gives what the naive two steps give."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmref.attention.dot_product import dot_product_attention
from llmref.attention.flash import tiled_attention

Backend = Literal["naive", "sdpa", "tiled"]


def fused_attention(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    value: Float[Tensor, "batch heads keys head_dim"],
    allowed: Bool[Tensor, "batch queries keys"],
    bias: Float[Tensor, "#batch heads queries keys"] | None = None,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Both steps in PyTorch's fused kernel, which never writes the scores of a whole row to memory."""
    mask = allowed[:, None]
    if bias is not None:  # the kernel takes one of the two, so a pair that is not allowed gets a bias of -inf
        mask = bias.masked_fill(~mask, -math.inf)
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]] = {
    "naive": dot_product_attention,
    "sdpa": fused_attention,
    "tiled": tiled_attention,
}


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    value: Float[Tensor, "batch heads keys head_dim"],
    allowed: Bool[Tensor, "batch queries keys"],
    backend: Backend = "sdpa",
    bias: Float[Tensor, "#batch heads queries keys"] | None = None,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Attention by the backend of that name.

    Args:
        query: The queries of each head.
        key: The keys, as many heads as the queries have.
        value: The values.
        allowed: Which keys each query may look at. A query that may look at none gets 0.
        backend: How to run it.
        bias: Finite numbers that are added to the scores, in the queries' dtype or cast to it.

    Raises:
        ValueError: If there is no such backend.

    >>> query, key, value = torch.randn(3, 1, 2, 5, 8).unbind()
    >>> allowed = torch.ones(5, 5, dtype=torch.bool).tril()[None]
    >>> naive, fused = (attend(query, key, value, allowed, backend) for backend in ("naive", "sdpa"))
    >>> torch.allclose(naive, fused, atol=1e-6)
    True
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"no attention backend is named {backend!r}; there are {', '.join(sorted(BACKENDS))}"
        )
    bias = None if bias is None else bias.to(query.dtype)
    return BACKENDS[backend](query, key, value, allowed, bias)
