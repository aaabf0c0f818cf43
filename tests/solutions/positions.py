"""Positions: write ALiBi, which lowers each score in proportion to the distance."""

from torch import Tensor


def alibi_bias(slopes: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
    distance = query_positions[:, None] - key_positions[None, :]
    return -slopes[:, None, None] * distance
