"""LM head: ask the head after every block what it would say (the logit lens)."""

import torch
from torch import Tensor

from llmref.model import Transformer
from llmref.trace import trace


@torch.no_grad()
def logit_lens(model: Transformer, ids: list[int]) -> Tensor:
    """The final norm, the head and the softmax, on the stream after each block."""
    seen = trace(model, ids)
    streams = [seen[f"blocks.{block}.output"][0, -1] for block in range(len(model.blocks))]
    return torch.stack([model.lm_head(model.final_norm(stream)).softmax(dim=-1) for stream in streams])
