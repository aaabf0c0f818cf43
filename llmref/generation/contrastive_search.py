"""Contrastive search: a likely token whose hidden state is unlike those of the text so far.

Source: Su et al., "A Contrastive Framework for Neural Text Generation" (2022), section 3.2.
"""

from collections.abc import Iterator

import torch
from torch.nn.functional import normalize

from llmref.cache import GrowingCache
from llmref.decoding import finite, first_largest
from llmref.generation.loop import allowed_steps
from llmref.model import Transformer, sequential_positions


def contrastive_search(
    model: Transformer, ids: list[int], k: int, alpha: float, max_new_tokens: int
) -> Iterator[int]:
    """The ids that follow a prompt, each chosen for being likely and for saying something new.

    The k likeliest tokens are read, each for itself. The one is taken whose probability is high and whose
    hidden state is unlike that of every token before: the greatest of (1 - alpha) x probability - alpha x
    likeness, where the likeness is the greatest cosine with a hidden state of the text. It draws nothing: the
    text is always the same.

    Args:
        model: The model.
        ids: The prompt's token ids, the begin-of-text token included where the model wants one.
        k: How many tokens are looked at in each step; 1 is greedy.
        alpha: The weight of the likeness, from 0, which is greedy, to 1.
        max_new_tokens: How many new tokens at most.

    Raises:
        ValueError: If k is under 1 or over the vocabulary, or alpha not from 0 to 1; otherwise as
            `generate_ids`.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> ids = [model.config.bos_id, *tokenizer.encode("Once upon a time")]
    >>> found = list(contrastive_search(model, ids, k=4, alpha=0.4, max_new_tokens=6))
    >>> found == contrastive_search_naive(model, ids, k=4, alpha=0.4, max_new_tokens=6)
    True
    """
    if not 1 <= k <= model.config.vocab_size:
        raise ValueError(f"k must be from 1 to the vocabulary's {model.config.vocab_size} tokens, found {k}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, found {alpha!r}")
    return search(model, ids, k, alpha, allowed_steps(model, ids, max_new_tokens))


def search(model: Transformer, ids: list[int], k: int, alpha: float, steps: int) -> Iterator[int]:
    cache = GrowingCache()
    tokens = torch.tensor([ids], device=model.device)
    with torch.inference_mode():
        hidden = model.hidden_states(tokens, sequential_positions(tokens), cache)
        states = normalize(hidden[0].float(), dim=-1)
        last = hidden[:, -1]
    for position in range(len(ids), len(ids) + steps):
        with torch.inference_mode():
            probabilities = finite(model.logits(last)).softmax(dim=-1)[0]
            candidates = probabilities.argsort(descending=True, stable=True)[:k]
            cache.select([0] * k)
            tokens = candidates[:, None]
            hidden = model.hidden_states(tokens, sequential_positions(tokens, position), cache)[:, -1]
            new_states = normalize(hidden.float(), dim=-1)
            likeness = (new_states @ states.T).amax(dim=-1)
            chosen = int(first_largest((1 - alpha) * probabilities[candidates] - alpha * likeness))
            cache.select([chosen])
            states = torch.cat([states, new_states[chosen, None]])
            last = hidden[chosen, None]
        token_id = int(candidates[chosen])
        if token_id in model.config.end_ids:
            return
        yield token_id


@torch.inference_mode()
def contrastive_search_naive(
    model: Transformer, ids: list[int], k: int, alpha: float, max_new_tokens: int
) -> list[int]:
    """Contrastive search as short as the idea: the whole text is read for each candidate, nothing is kept."""
    ids = list(ids)
    start = len(ids)
    for _ in range(max_new_tokens):
        prompt = torch.tensor([ids])
        probabilities = model(prompt, sequential_positions(prompt))[0, -1].softmax(dim=-1)
        scores = {}
        for token_id in probabilities.argsort(descending=True, stable=True)[:k].tolist():
            longer = torch.tensor([[*ids, token_id]])
            states = normalize(model.hidden_states(longer, sequential_positions(longer))[0], dim=-1)
            likeness = (states[:-1] @ states[-1]).max()
            scores[token_id] = float((1 - alpha) * probabilities[token_id] - alpha * likeness)
        ids.append(max(scores, key=lambda token_id: scores[token_id]))
    return ids[start:]
