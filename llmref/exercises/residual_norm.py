"""Residual and norm: write RMSNorm, and the two orders in which a block can use it."""

from collections.abc import Callable

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Each vector of `x` [tokens, d_model] divided by its root mean square, times `weight` [d_model].

    The mean is over the d_model numbers of one token (`dim=-1, keepdim=True`); `eps` is added to the mean
    square before the root.
    """
    raise NotImplementedError("write rms_norm()")


def pre_norm(x: Tensor, layer: Callable[[Tensor], Tensor], norm: Callable[[Tensor], Tensor]) -> Tensor:
    """The residual stream after a layer that reads it normalized. The stream itself is not normalized."""
    raise NotImplementedError("write pre_norm()")


def post_norm(x: Tensor, layer: Callable[[Tensor], Tensor], norm: Callable[[Tensor], Tensor]) -> Tensor:
    """The residual stream after a layer has added to it, and the sum has been normalized."""
    raise NotImplementedError("write post_norm()")


# What is checked

from typing import Any


def _same(found: Any, expected: Tensor, what: str) -> None:
    assert isinstance(found, Tensor) and found.shape == expected.shape, (
        f"{what}: expected a tensor of shape {tuple(expected.shape)}, found {getattr(found, 'shape', found)}"
    )
    assert torch.allclose(found, expected, atol=1e-4), (
        f"{what}: expected {expected.flatten()[:4].tolist()} …, found {found.flatten()[:4].tolist()} …"
    )


def check_rms_norm(answer: Any) -> None:
    """rms_norm is PyTorch's, for vectors large and small, with any eps."""
    torch.manual_seed(0)
    weight = torch.randn(6)
    for size, eps in ((1.0, 1e-5), (1000.0, 1e-5), (0.01, 0.5)):
        x = size * torch.randn(4, 6) + size  # the mean is not 0, and stays
        expected = torch.nn.functional.rms_norm(x, (6,), weight, eps)
        _same(answer.rms_norm(x, weight, eps), expected, f"vectors of size {size:g}, eps {eps:g}")


def check_pre_norm(answer: Any) -> None:
    """Pre-norm leaves the stream as it is where the layer gives nothing."""
    x = torch.tensor([[3.0, -1.0], [10.0, 20.0]])
    _same(answer.pre_norm(x, torch.zeros_like, lambda y: y / 10), x, "a layer that gives 0")
    found = answer.pre_norm(x, lambda y: y + 1, lambda y: y / 10)
    _same(found, x + x / 10 + 1, "layer: + 1, norm: / 10")


def check_post_norm(answer: Any) -> None:
    """Post-norm normalizes the sum, and the layer reads the stream as it is."""
    x = torch.tensor([[3.0, -1.0], [10.0, 20.0]])
    found = answer.post_norm(x, lambda y: y + 1, lambda y: y / 10)
    _same(found, (2 * x + 1) / 10, "layer: + 1, norm: / 10")
