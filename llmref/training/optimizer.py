"""The optimizer and its schedule."""

import torch
from torch import nn


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW; only matrices decay, since a norm's weight or a bias has no reason to be small.

    Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), fused=fused)


def learning_rate_at(step: int, peak: float, warmup_steps: int, steps: int) -> float:
    """A line up to the peak over the warm-up, then a line down to nothing at the last step.

    >>> [round(learning_rate_at(step, peak=1.0, warmup_steps=2, steps=6), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (steps - step) / (steps - warmup_steps)
