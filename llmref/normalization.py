"""Normalization: bring every token's vector to a like size, so that deep stacks stay trainable."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmref.config import NormConfig


class RMSNorm(nn.Module):
    """Divide a vector by its root mean square, then scale each dimension by a learned weight.

    The mean square is taken in float32, whatever the input's dtype.
    Source: Zhang & Sennrich, "Root Mean Square Layer Normalization" (2019), section 3.

    >>> norm = RMSNorm(4)
    >>> norm(torch.tensor([[[2.0, -2.0, 2.0, -2.0]]])).round(decimals=3).tolist()
    [[[1.0, -1.0, 1.0, -1.0]]]
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The normalized vectors."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        normalized = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return normalized.to(x.dtype) * self.weight


class LayerNorm(nn.Module):
    """Take a vector's mean away, divide by its standard deviation, then scale and shift each dimension.

    Source: Ba et al., "Layer Normalization" (2016), section 3.

    >>> norm = LayerNorm(4)
    >>> norm(torch.tensor([[[1.0, 3.0, 1.0, 3.0]]])).round(decimals=3).tolist()
    [[[-1.0, 1.0, -1.0, 1.0]]]
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The normalized vectors."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        centred = wide - wide.mean(dim=-1, keepdim=True)
        normalized = centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + self.eps)
        return normalized.to(x.dtype) * self.weight + self.bias


def make_norm(config: NormConfig, d_model: int) -> nn.Module:
    """The normalization that a config asks for.

    >>> make_norm(NormConfig("layer"), d_model=8)
    LayerNorm()
    """
    kinds: dict[str, type[RMSNorm] | type[LayerNorm]] = {"rms": RMSNorm, "layer": LayerNorm}
    return kinds[config.kind](d_model, config.eps)
