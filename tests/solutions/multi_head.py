"""Multi-head attention, solved."""

import math

import torch
from torch import Tensor


def multi_head(x: Tensor, query: Tensor, key: Tensor, value: Tensor, output: Tensor, n_heads: int) -> Tensor:
    head_dim = query.shape[1] // n_heads
    later = torch.ones(len(x), len(x), dtype=torch.bool).triu(diagonal=1)
    heads = []
    for q, k, v in zip(*((x @ matrix).split(head_dim, dim=1) for matrix in (query, key, value)), strict=True):
        scores = (q @ k.T / math.sqrt(head_dim)).masked_fill(later, -math.inf)
        heads.append(scores.softmax(dim=-1) @ v)
    return torch.cat(heads, dim=1) @ output
