"""The forward pass, put together from its parts, with the LM head at the last position alone."""

import torch
from torch import Tensor

from llmref.attention import causal
from llmref.model import Transformer, sequential_positions


def next_logits(model: Transformer, ids: list[int]) -> Tensor:
    tokens = torch.tensor([ids])
    positions = sequential_positions(tokens)
    allowed = causal().dense(positions, positions)
    x = model.embedding(tokens)
    for block in model.blocks:
        x = block(x, positions, allowed)
    return model.lm_head(model.final_norm(x)[0, -1])
