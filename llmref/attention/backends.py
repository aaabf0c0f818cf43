"""One call, several ways to run it: every backend gives what the naive two steps give."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmref.attention.dot_product import dot_product_attention

Backend = Literal["naive", "sdpa"]


def fused_attention(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    value: Float[Tensor, "batch heads keys head_dim"],
    allowed: Bool[Tensor, "batch queries keys"],
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Both steps in PyTorch's fused kernel, which never writes the scores of a whole row to memory."""
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed[:, None])


BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "naive": dot_product_attention,
    "sdpa": fused_attention,
}


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    value: Float[Tensor, "batch heads keys head_dim"],
    allowed: Bool[Tensor, "batch queries keys"],
    backend: Backend = "sdpa",
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Attention by the backend of that name.

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
    return BACKENDS[backend](query, key, value, allowed)
