"""One call, several ways to run it: every backend gives what the naive two steps give."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmref import kernels
from llmref.attention.flash import copied_heads, tiled_attention
from llmref.attention.flex import flex_attention
from llmref.attention.flex import refusal as flex_refusal
from llmref.attention.masks import PlacedMask, dense
from llmref.attention.scoring import PLAIN, Scoring
from llmref.kernels.mask import KernelMask

Backend = Literal["auto", "naive", "sdpa", "tiled", "flex", "triton"]
Allowed = Tensor | PlacedMask
Way = Callable[[Tensor, Tensor, Tensor, Allowed, Scoring], Tensor]
Refusal = Callable[[Tensor, Tensor, Tensor, Scoring], str | None]

LARGE = 512
"""With this many queries and keys, a head's scores no longer fit into a processor's cache."""
LONG = 8192
"""With this many queries and keys, the matrix of allowed pairs takes 64 MiB for each row of the batch."""


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


def triton_backend(query: Tensor, key: Tensor, value: Tensor, allowed: Allowed, scoring: Scoring) -> Tensor:
    """FlashAttention as Triton kernels."""
    from llmref.kernels.flash import flash_attention  # Triton is not everywhere

    if isinstance(allowed, PlacedMask):
        mask = allowed.for_kernels
    else:  # no rule about positions: all may stand at 0
        mask = KernelMask(
            torch.zeros(len(query), query.shape[2], dtype=torch.long, device=query.device),
            torch.zeros(len(query), key.shape[2], dtype=torch.long, device=query.device),
            allowed=allowed.contiguous(),
        )
    scale = scoring.scale_for(query.shape[3])
    return flash_attention(query, key, value, mask, scale, scoring.soft_cap, scoring.bias, scoring.sinks)


def fused_refusal(query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> str | None:
    """What keeps PyTorch's fused kernel from running this."""
    if scoring.soft_cap is not None:
        return "has no soft cap"
    return None if scoring.sinks is None else "has no sinks"


def triton_refusal(query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> str | None:
    """What keeps the kernels from running this."""
    return kernels.refusal(query.device, query.dtype, query.shape[3], value.shape[3])


def no_refusal(query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> None:
    """Runs whatever there is."""


BACKENDS: dict[str, tuple[Way, Refusal]] = {
    "naive": (naive_backend, no_refusal),
    "sdpa": (fused_backend, fused_refusal),
    "tiled": (tiled_attention, no_refusal),
    "flex": (flex_attention, flex_refusal),
    "triton": (triton_backend, triton_refusal),
}


@dataclass(frozen=True)
class Choice:
    """The backend that `"auto"` takes, and why.

    Attributes:
        backend: Its name.
        order: Which backends are asked, the first first.
        refusals: For each backend that cannot run this attention, what keeps it from doing so.
    """

    backend: str
    order: tuple[str, ...]
    refusals: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.backend}: the first that can of {', '.join(self.order)}"]
        return "\n".join(lines + [f"not {name}: it {reason}" for name, reason in self.refusals.items()])


def order_for(query: Tensor, key: Tensor, allowed: Allowed) -> tuple[str, ...]:
    """The backends for such tensors, the first first: the last one runs whatever there is."""
    size = min(query.shape[2], key.shape[2])
    if query.is_cuda:
        long = size >= LONG and isinstance(allowed, PlacedMask)  # no matrix yet, and better none at all
        return ("triton", "flex", "sdpa", "tiled") if long else ("sdpa", "triton", "flex", "tiled")
    return ("sdpa", "tiled") if size >= LARGE else ("sdpa", "naive")


def refusal(name: str, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> str | None:
    """What keeps the backend of that name from running this, or `None` if nothing does."""
    _, refuse = BACKENDS[name]
    return refuse(query, key, value, scoring)


def first_that_can(
    order: tuple[str, ...], query: Tensor, key: Tensor, value: Tensor, scoring: Scoring
) -> str:
    """The first backend of these that can run this."""
    return next(name for name in order if refusal(name, query, key, value, scoring) is None)


def choose(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    allowed: Bool[Tensor, "batch queries keys"] | PlacedMask,
    scoring: Scoring = PLAIN,
) -> Choice:
    """The backend that `attend` takes if it is to choose, and what keeps others from running this.

    It depends on the device, the dtype, the lengths, the sizes of the heads, on whether gradients are to be
    kept, and on the scoring. Every backend takes every mask; whether it is written out already decides too.

    >>> query = key = value = torch.zeros(1, 4, 20, 64, dtype=torch.float64)
    >>> allowed = torch.ones(1, 20, 20, dtype=torch.bool)
    >>> print(choose(query, key, value, allowed, Scoring(soft_cap=50.0)))
    naive: the first that can of sdpa, naive
    not sdpa: it has no soft cap
    not triton: it ...
    """
    order = order_for(query, key, allowed)
    refusals = {name: refusal(name, query, key, value, scoring) for name in BACKENDS}
    return Choice(
        first_that_can(order, query, key, value, scoring),
        order,
        {name: reason for name, reason in refusals.items() if reason is not None},
    )


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
        backend: How to run it; `choose` tells what `"auto"` takes, and why.
        scoring: What is done to the scores beside the plain two steps.

    Raises:
        ValueError: If there is no such backend, or it cannot run this.

    >>> query, key, value = torch.randn(3, 1, 2, 5, 8).unbind()
    >>> allowed = torch.ones(5, 5, dtype=torch.bool).tril()[None]
    >>> naive, fused = (attend(query, key, value, allowed, backend) for backend in ("naive", "sdpa"))
    >>> torch.allclose(naive, fused, atol=1e-6)
    True
    """
    check_backend(backend)
    name: str = backend
    if backend == "auto":  # no more are asked than it takes: this runs in every layer at every step
        name = first_that_can(order_for(query, key, allowed), query, key, value, scoring)
    elif reason := refusal(backend, query, key, value, scoring):
        raise ValueError(f"backend {backend!r} cannot run this attention: it {reason}")
    run, _ = BACKENDS[name]
    return run(query, key, value, allowed, scoring)


def check_backend(backend: str) -> None:
    """Refuse a name that is no backend's.

    Raises:
        ValueError: If there is no such backend.
    """
    names = get_args(Backend)
    if backend not in names:
        raise ValueError(f"no attention backend is named {backend!r}; there are {', '.join(sorted(names))}")
