"""Speculative decoding: the step that accepts or replaces what a draft proposed."""

import torch
from torch import Tensor

from llmref.decoding import draw


def step(p: Tensor, q: Tensor, drafted: list[int], uniforms: list[float]) -> list[int]:
    numbers = torch.tensor(uniforms, dtype=torch.float64)
    written = []
    for place, token in enumerate(drafted):
        if numbers[place] * q[place, token] >= p[place, token]:
            rest = (p[place] - q[place]).clamp(min=0)
            return [*written, int(draw(rest[None] / rest.sum(), numbers[-1:]))]
        written.append(token)
    return [*written, int(draw(p[-1:], numbers[-1:]))]
