"""Latent attention: the key matrices are taken into the query, and the value matrices come last."""

import torch
from torch import Tensor


def decode_step(
    query: Tensor, latent: Tensor, rotated_key: Tensor, key_weight: Tensor, value_weight: Tensor
) -> Tensor:
    plain, rotated = query.split([key_weight.shape[1], rotated_key.shape[1]], dim=-1)
    absorbed = (plain[:, None] @ key_weight)[:, 0]
    scores = torch.cat([absorbed, rotated], dim=-1) @ torch.cat([latent, rotated_key], dim=-1).T
    weights = (scores / query.shape[-1] ** 0.5).softmax(dim=-1)
    return (value_weight @ (weights @ latent)[:, :, None])[:, :, 0]
