"""Feedforward: the plain form and the gated one, from their matrices."""

from torch import Tensor
from torch.nn.functional import relu, silu


def plain(x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return relu(x @ up.T) @ down.T


def gated(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T
