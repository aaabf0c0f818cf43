"""KV cache: greedy generation that computes each token once."""

import torch

from llmref.cache import GrowingCache
from llmref.model import Transformer, sequential_positions


def greedy(model: Transformer, ids: list[int], max_new_tokens: int) -> list[int]:
    cache, new = GrowingCache(), []
    tokens, start = torch.tensor([ids]), 0
    for _ in range(max_new_tokens):
        logits = model(tokens, sequential_positions(tokens, start), cache)
        start += tokens.shape[1]
        new.append(int(logits[0, -1].argmax()))
        tokens = torch.tensor([new[-1:]])
    return new
