"""One token at a time: the loop, with any rule for choosing, up to the end of the text."""

from collections.abc import Callable

import torch
from torch import Tensor

from llmref.model import Transformer, sequential_positions


def write(
    model: Transformer, ids: list[int], choose: Callable[[Tensor], int], max_new_tokens: int
) -> list[int]:
    new: list[int] = []
    for _ in range(max_new_tokens):
        tokens = torch.tensor([ids + new])
        logits = model(tokens, sequential_positions(tokens))
        chosen = choose(logits[0, -1].softmax(dim=-1))
        if chosen == model.config.eos_id:
            break
        new.append(chosen)
    return new
