"""Parallel streams: every token of a text scored with a single forward pass."""

import torch

from llmref.model import Transformer, sequential_positions


def score(model: Transformer, ids: list[int]) -> list[float]:
    tokens = torch.tensor([ids])
    with torch.no_grad():
        log_probabilities = model(tokens, sequential_positions(tokens))[0].log_softmax(dim=-1)
    following = tokens[0, 1:]
    return log_probabilities[:-1].gather(1, following[:, None])[:, 0].tolist()
