"""Greedy decoding as short as the idea."""

import torch

from llmref.model import Transformer, sequential_positions


def generate_naive(model: Transformer, ids: list[int], max_new_tokens: int) -> list[int]:
    """Greedy decoding as short as the idea: one whole forward pass for each new token, and nothing kept.

    >>> import llmref
    >>> from llmref.decoding import Strategy
    >>> from llmref.generation import generate_ids
    >>> model, tokenizer = llmref.load_tiny()
    >>> ids = [model.config.bos_id, *tokenizer.encode("Once upon a time")]
    >>> naive = generate_naive(model, ids, 8)
    >>> naive == list(generate_ids(model, ids, Strategy(greedy=True), 8))
    True
    """
    ids = list(ids)
    start = len(ids)
    for _ in range(max_new_tokens):
        prompt = torch.tensor([ids])
        logits = model(prompt, sequential_positions(prompt))
        ids.append(int(logits[0, -1].argmax()))
    return ids[start:]
