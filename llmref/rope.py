"""Rotary positional embedding (RoPE): a position turns a vector, pair of dimensions by pair.

Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021), section 3.2.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor


def rotation(
    positions: Int[Tensor, "batch tokens"], head_dim: int, base: float = 10_000.0
) -> tuple[Float[Tensor, "batch tokens half"], Float[Tensor, "batch tokens half"]]:
    """The cosine and sine of each pair's angle at each position.

    Pair i of a head turns by `position * base ** (-2 i / head_dim)` radians. The tables are float32 whatever
    the model's dtype: a half-precision angle is wrong by whole turns at long positions.

    Args:
        positions: The position of each token.
        head_dim: The size of a head, an even number; it has `half = head_dim / 2` pairs.
        base: The base of the frequencies.

    >>> cos, sin = rotation(torch.tensor([[0, 1]]), head_dim=2)
    >>> cos.tolist(), sin.tolist()
    ([[[1.0], [0.5403...]]], [[[0.0], [0.8414...]]])
    """
    pair = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    frequencies = base ** (-pair / head_dim)
    angles = positions[..., None].float() * frequencies
    return angles.cos(), angles.sin()


def rotate(
    x: Float[Tensor, "batch heads tokens head_dim"],
    cos: Float[Tensor, "batch tokens half"],
    sin: Float[Tensor, "batch tokens half"],
    layout: Literal["half", "interleaved"] = "half",
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Turn each pair of dimensions by its token's angle.

    Args:
        x: Queries or keys.
        cos: From `rotation`.
        sin: From `rotation`.
        layout: `"half"` pairs dimension i with i + head_dim / 2 (Llama's checkpoints in the Hugging Face
            layout); `"interleaved"` pairs 2i with 2i + 1 (the paper). The two give different vectors from the
            same weights.

    >>> cos, sin = rotation(torch.tensor([[0, 5]]), head_dim=4)
    >>> x = torch.ones(1, 1, 2, 4)
    >>> turned = rotate(x, cos, sin)
    >>> torch.equal(turned[..., 0, :], x[..., 0, :])  # position 0 turns nothing
    True
    >>> torch.allclose(turned.norm(dim=-1), x.norm(dim=-1))  # no rotation changes a length
    True
    """
    cos, sin = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
    if layout == "half":
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(-2)
