"""One call, several ways to run it: every backend gives what the naive two steps give."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmref.attention.flash import copied_heads, tiled_attention
from llmref.attention.masks import PlacedMask, dense
from llmref.attention.scoring import PLAIN, Scoring

Backend = Literal["auto", "naive", "sdpa", "tiled"]
Allowed = Tensor | PlacedMask


def naive_backend(query: Tensor, key: Tensor, value: Tensor, allowed: Allowed, scoring: Scoring) -> Tensor:
    """Both steps, every matrix written out."""
    key, value = copied_heads(key, query.shape[1]), copied_heads(value, query.shape[1])
    return scoring.attention(query, key, value, dense(allowed))


def fused_backend(query: Tensor, key: Tensor, value: Tensor, allowed: Allowed, scoring: Scoring) -> Tensor:
    """Both steps in PyTorch's fused kernel, which never writes the scores of a whole row to memory."""
    mask = dense(allowed)[:, None]
    if scoring.bias is not None:  # the kernel takes one of the two: a pair that is not allowed gets -inf
        mask = scoring.bias.to(query.dtype).masked_fill(~mask, -math.inf)
    shared = query.shape[1] != key.shape[1]
    if shared and query.is_cuda:  # on a GPU, the kernels that take a mask want as many key heads as queries
        key, value, shared = copied_heads(key, query.shape[1]), copied_heads(value, query.shape[1]), False
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scoring.scale, enable_gqa=shared
    )


def tiled_backend(query: Tensor, key: Tensor, value: Tensor, allowed: Allowed, scoring: Scoring) -> Tensor:
    """FlashAttention in plain PyTorch."""
    return tiled_attention(query, key, value, allowed, scoring)


BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, Allowed, Scoring], Tensor]] = {
    "naive": naive_backend,
    "sdpa": fused_backend,
    "tiled": tiled_backend,
}


def refusal(backend: Backend, scoring: Scoring) -> str | None:
    """Why a backend cannot run this, or `None` if it can.

    >>> refusal("sdpa", Scoring(soft_cap=50.0))
    'sdpa has no soft cap'
    """
    if backend == "sdpa":
        if scoring.soft_cap is not None:
            return "sdpa has no soft cap"
        if scoring.sinks is not None:
            return "sdpa has no sinks"
    return None


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    allowed: Bool[Tensor, "batch queries keys"] | PlacedMask,
    backend: Backend = "auto",
    scoring: Scoring = PLAIN,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Attention by the backend of that name.

    Args:
        query: The queries of each head.
        key: The keys. Query heads may share them: head h uses key head `h // (heads / kv_heads)`.
        value: The values, as many heads as the keys have.
        allowed: Which keys each query may look at: a matrix, or a mask that is not yet written out
            (`mask.at(query_positions, key_positions)`). A query that may look at none gets 0.
        backend: How to run it; `"auto"` takes the first that can.
        scoring: What is done to the scores beside the plain two steps.

    Raises:
        ValueError: If there is no such backend, or it cannot do what `scoring` asks for.

    >>> query, key, value = torch.randn(3, 1, 2, 5, 8).unbind()
    >>> allowed = torch.ones(5, 5, dtype=torch.bool).tril()[None]
    >>> naive, fused = (attend(query, key, value, allowed, backend) for backend in ("naive", "sdpa"))
    >>> torch.allclose(naive, fused, atol=1e-6)
    True
    """
    check_backend(backend)
    if backend == "auto":
        backend = "sdpa" if refusal("sdpa", scoring) is None else "naive"
    if reason := refusal(backend, scoring):
        raise ValueError(f"this attention cannot run on backend {backend!r}: {reason}")
    return BACKENDS[backend](query, key, value, allowed, scoring)


def check_backend(backend: str) -> None:
    """Refuse a name that is no backend's.

    Raises:
        ValueError: If there is no such backend.
    """
    names = get_args(Backend)
    if backend not in names:
        raise ValueError(f"no attention backend is named {backend!r}; there are {', '.join(sorted(names))}")
