"""Positions that need no rotation: vectors added to the embedding, and a penalty on the scores.

Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.5 (sinusoidal); Radford et al.,
"Improving Language Understanding by Generative Pre-Training" (2018), section 4.1 (learned); Press et al.,
"Train Short, Test Long" (2021), section 3 (ALiBi). Rotary positions are in `llmref.rope`.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def sinusoidal(positions: Int[Tensor, "batch tokens"], d_model: int) -> Float[Tensor, "batch tokens d_model"]:
    """A vector for each position: waves of many lengths, sine in the even dimensions, cosine in the odd ones.

    Dimension 2i is `sin(position / 10000 ** (2i / d_model))`, dimension 2i + 1 the cosine of the same angle.

    Args:
        positions: Where each token stands.
        d_model: The width of the vectors, an even number.

    Raises:
        ValueError: If `d_model` is odd.

    >>> sinusoidal(torch.tensor([[0, 1]]), d_model=2).tolist()
    [[[0.0, 1.0], [0.8414..., 0.5403...]]]
    """
    if d_model % 2:
        raise ValueError(f"sinusoidal positions need an even d_model, found {d_model}")
    pair = torch.arange(0, d_model, 2, device=positions.device, dtype=torch.float32)
    angles = positions[..., None].float() * 10_000.0 ** (-pair / d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class SinusoidalPositions(nn.Module):
    """`sinusoidal` as a layer, sized to embeddings whose numbers have deviation 1 / sqrt(d_model).

    A sinusoidal vector's length is sqrt(d_model / 2); divided by sqrt(d_model) it stands beside a token's
    vector as an equal. (Vaswani et al. multiply the token's vector by sqrt(d_model): the same proportion.)

    >>> SinusoidalPositions(d_model=4)(torch.tensor([[0]])).tolist()
    [[[0.0, 0.5, 0.0, 0.5]]]
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model

    def forward(self, positions: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d_model"]:
        """The vectors to add; those of padding (-1) mean nothing, for nobody looks there."""
        return sinusoidal(positions, self.d_model) * self.d_model**-0.5


class LearnedPositions(nn.Module):
    """A table of vectors, one for each position of the context; training finds them.

    >>> LearnedPositions(context_length=8, d_model=4)(torch.tensor([[0, 7]])).shape
    torch.Size([1, 2, 4])
    """

    def __init__(self, context_length: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(context_length, d_model))
        nn.init.normal_(self.weight, std=d_model**-0.5)

    def forward(self, positions: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d_model"]:
        """The vectors to add; padding (-1) gets that of position 0, for nobody looks there.

        Raises:
            IndexError: If a position lies outside the table; `Transformer` says which.
        """
        return nn.functional.embedding(positions.clamp(min=0), self.weight)


def alibi_slopes(n_heads: int) -> Float[Tensor, "heads"]:
    """How much each head's score falls with each step of distance.

    For a power of two the slopes are a geometric series that starts at `2 ** (-8 / n_heads)` and has the same
    ratio. Otherwise they are those of the next lower power of two, then every other one of the next higher.

    >>> alibi_slopes(8).tolist()
    [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]
    """
    lower = 2 ** (n_heads.bit_length() - 1)
    slopes = [2 ** (-8 * head / lower) for head in range(1, lower + 1)]
    slopes += [2 ** (-4 * head / lower) for head in range(1, 2 * (n_heads - lower), 2)]
    return torch.tensor(slopes)


def alibi_bias(
    slopes: Float[Tensor, "heads"],
    query_positions: Int[Tensor, "batch queries"],
    key_positions: Int[Tensor, "batch keys"],
) -> Float[Tensor, "batch heads queries keys"]:
    """What is added to the scores: minus slope times distance, in float32.

    >>> positions = torch.arange(3)[None]
    >>> alibi_bias(torch.tensor([0.5]), positions, positions).tril()[0, 0].tolist()
    [[0.0, 0.0, 0.0], [-0.5, 0.0, 0.0], [-1.0, -0.5, 0.0]]
    """
    distance = query_positions[:, :, None] - key_positions[:, None, :]
    return slopes.to(distance.device)[:, None, None] * -distance[:, None]
