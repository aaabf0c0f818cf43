"""Mixture of experts: the best scores, made to sum to 1; each expert runs once for all of its tokens."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def route(logits: Tensor, n_active: int) -> tuple[Tensor, Tensor]:
    scores, choices = logits.softmax(dim=-1).topk(n_active, dim=-1)
    return scores / scores.sum(dim=-1, keepdim=True), choices


def mix(x: Tensor, weights: Tensor, choices: Tensor, experts: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    mixed = torch.zeros_like(x)
    for number, expert in enumerate(experts):
        tokens, places = (choices == number).nonzero(as_tuple=True)
        if len(tokens) > 0:
            mixed[tokens] += weights[tokens, places, None] * expert(x[tokens])
    return mixed
