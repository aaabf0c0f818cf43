"""Self-attention: from the hidden states to the mix of values, in one head."""

import math

import torch
from torch import Tensor


def self_attention(
    x: Tensor, query_matrix: Tensor, key_matrix: Tensor, value_matrix: Tensor
) -> tuple[Tensor, Tensor]:
    query, key, value = x @ query_matrix, x @ key_matrix, x @ value_matrix
    scores = query @ key.T / math.sqrt(query.shape[-1])
    allowed = torch.ones(len(x), len(x)).tril() == 1
    weights = scores.masked_fill(~allowed, -math.inf).softmax(dim=-1)
    return weights @ value, weights
