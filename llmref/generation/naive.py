"""Greedy decoding and speculative decoding, each as short as its idea."""

import torch
from jaxtyping import Float
from torch import Tensor

from llmref.decoding import draw
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
        prompt = torch.tensor([ids], device=model.device)
        logits = model(prompt, sequential_positions(prompt))
        ids.append(int(logits[0, -1].argmax()))
    return ids[start:]


def speculate_naive(
    model: Transformer,
    draft: Transformer,
    ids: list[int],
    max_new_tokens: int,
    draft_tokens: int,
    uniforms: Float[Tensor, "passes decisions"],
) -> list[int]:
    """Speculative decoding as short as the idea: by the models' own probabilities, and nothing kept.

    Args:
        model: The model whose text it is.
        draft: A smaller one with the same vocabulary.
        ids: The prompt's token ids.
        max_new_tokens: How many new tokens.
        draft_tokens: How many tokens the draft proposes for each pass of the model.
        uniforms: For each pass `2 * draft_tokens + 1` numbers in [0, 1): one for each decision.

    >>> import llmref
    >>> from llmref.decoding import strategy, uniforms
    >>> from llmref.generation import DraftModel, speculate
    >>> model, _ = llmref.load_tiny()
    >>> naive = speculate_naive(model, model, [0, 7], 6, 2, uniforms(seed=1, n=30).reshape(6, 5))
    >>> draft = DraftModel(model)
    >>> naive == list(speculate(model, [0, 7], strategy(), 6, draft=draft, draft_tokens=2, seed=1))
    True
    """
    text, end = list(ids), len(ids) + max_new_tokens
    for row in uniforms:
        start = len(text)
        if start == end:
            break
        for number in row[: min(draft_tokens, end - start - 1)]:
            text.append(int(draw(probabilities(draft, text)[-1:], number[None])))
        p, q = probabilities(model, text), probabilities(draft, text)  # row i: what follows token i
        decide = row[draft_tokens : draft_tokens + len(text) - start + 1]
        for number, place in zip(decide, range(start, len(text)), strict=False):
            expected, guessed = p[place - 1], q[place - 1]
            if number * guessed[text[place]] >= expected[text[place]]:  # it is refused, and all after it
                rest = (expected - guessed).clamp(min=0)
                text[place:] = [int(draw(rest[None] / rest.sum(), decide[-1:]))]
                break
        else:  # all were accepted: one more
            text.append(int(draw(p[-1:], decide[-1:])))
    return text[len(ids) :]


def probabilities(model: Transformer, ids: list[int]) -> Float[Tensor, "tokens vocab"]:
    """What the model expects after each token, in float64."""
    tokens = torch.tensor([ids])
    return model(tokens, sequential_positions(tokens))[0].softmax(dim=-1).double()
