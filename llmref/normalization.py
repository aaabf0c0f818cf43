"""Normalization: bring every token's vector to a like size, so that deep stacks stay trainable."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmref.config import NormConfig, QueryKeyNormConfig


class RMSNorm(nn.Module):
    """Divide a vector by its root mean square, then scale each dimension by a learned weight.

    The mean square is taken in float32, whatever the input's dtype.
    Source: Zhang & Sennrich, "Root Mean Square Layer Normalization" (2019), section 3.

    Args:
        d_model: The size of the vectors.
        eps: What is added to the mean square.
        unit_offset: Whether `weight` is stored as the distance of the scale from 1, as Gemma does.

    >>> norm = RMSNorm(4)
    >>> norm(torch.tensor([[[2.0, -2.0, 2.0, -2.0]]])).round(decimals=3).tolist()
    [[[1.0, -1.0, 1.0, -1.0]]]
    """

    def __init__(self, d_model: int, eps: float = 1e-5, unit_offset: bool = False) -> None:
        super().__init__()
        self.eps = eps
        self.unit_offset = unit_offset
        self.weight = nn.Parameter(torch.zeros(d_model) if unit_offset else torch.ones(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The normalized vectors."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        normalized = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        if self.unit_offset:  # 1 + w in float32: near 1 a half-precision number has few steps left for w
            return (normalized * (1 + self.weight.to(wide.dtype))).to(x.dtype)
        return normalized.to(x.dtype) * self.weight


class LayerNorm(nn.Module):
    """Take a vector's mean away, divide by its standard deviation, then scale and shift each dimension.

    Source: Ba et al., "Layer Normalization" (2016), section 3.

    Args:
        d_model: The size of the vectors.
        eps: What is added to the variance.
        bias: Whether each dimension is shifted.

    >>> norm = LayerNorm(4)
    >>> norm(torch.tensor([[[1.0, 3.0, 1.0, 3.0]]])).round(decimals=3).tolist()
    [[[-1.0, 1.0, -1.0, 1.0]]]
    """

    def __init__(self, d_model: int, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The normalized vectors."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        centred = wide - wide.mean(dim=-1, keepdim=True)
        normalized = centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + self.eps)
        scaled = normalized.to(x.dtype) * self.weight
        return scaled if self.bias is None else scaled + self.bias


def make_norm(config: NormConfig, d_model: int) -> nn.Module:
    """The normalization that a config asks for.

    >>> make_norm(NormConfig("layer"), d_model=8)
    LayerNorm()
    """
    if config.kind == "rms":
        return RMSNorm(d_model, config.eps, config.unit_offset)
    return LayerNorm(d_model, config.eps, config.bias)


class QueryKeyNorm(nn.Module):
    """The normalization of queries or of keys: of each head's vector, or of all heads' vectors as one.

    Sources: Henry et al., "Query-Key Normalization for Transformers" (2020), section 3; Dehghani et al.,
    "Scaling Vision Transformers to 22 Billion Parameters" (2023), section 2.

    >>> norm = QueryKeyNorm(QueryKeyNormConfig(), n_heads=2, head_dim=4)
    >>> norm(torch.full((1, 2, 3, 4), 5.0)).mean().round(decimals=3).item()
    1.0
    """

    def __init__(self, config: QueryKeyNormConfig, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.over = config.over
        self.norm = make_norm(config.norm, n_heads * head_dim if config.over == "all_heads" else head_dim)
        if config.over == "each_head":
            weight = torch.full((n_heads, 1, head_dim), 0.0 if config.norm.unit_offset else 1.0)
            self.norm.weight = nn.Parameter(weight)

    def forward(
        self, x: Float[Tensor, "batch heads tokens head_dim"]
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        """The normalized vectors of all heads."""
        if self.over != "all_heads":
            return self.norm(x)
        joined = x.transpose(1, 2).flatten(2)
        return self.norm(joined).unflatten(-1, (x.shape[1], -1)).transpose(1, 2)
