"""RoPE: turn a query or a key to its position, pair by pair."""

import torch
from torch import Tensor


def rotate(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    head_dim = x.shape[-1]
    frequencies = base ** (-torch.arange(0, head_dim, 2) / head_dim)
    angles = positions[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    first, second = x[:, 0::2], x[:, 1::2]
    return torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(1)
