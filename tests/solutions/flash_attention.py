"""FlashAttention: the softmax of one query whose keys come in tiles, each seen once."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def attend_in_tiles(query: Tensor, tiles: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    highest, total = torch.tensor(-math.inf), torch.tensor(0.0)
    mix = torch.zeros_like(query)
    for key, value in tiles:
        scores = key @ query / math.sqrt(len(query))
        before, highest = highest, torch.maximum(highest, scores.max())
        rescale, weights = (before - highest).exp(), (scores - highest).exp()
        total = rescale * total + weights.sum()
        mix = rescale * mix + weights @ value
    return mix / total
