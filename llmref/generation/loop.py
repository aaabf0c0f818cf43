"""The loop: predict, choose, append, and again, until the text ends."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.cache import Cache, GrowingCache
from llmref.decoding import Strategy
from llmref.model import Transformer, sequential_positions


def generate_ids(
    model: Transformer,
    ids: list[int],
    strategy: Strategy,
    max_new_tokens: int,
    *,
    seed: int | None = None,
    cache: Cache | None = None,
) -> Iterator[int]:
    """The ids that follow a prompt, one at a time.

    The first pass reads the whole prompt (prefill); each later pass reads one token and finds the rest in the
    cache. It ends before the model's end-of-text token, after `max_new_tokens`, or when the context is full.

    Args:
        model: The model.
        ids: The prompt's token ids, the begin-of-text token included where the model wants one.
        strategy: How a token is chosen.
        max_new_tokens: How many new tokens at most.
        seed: Makes the draws repeatable.
        cache: An empty cache to use; a growing one if not given.

    Raises:
        ValueError: If the prompt is empty or longer than the context, an id is out of range,
            `max_new_tokens` is negative, or the cache already holds tokens.
    """
    steps = allowed_steps(model, ids, max_new_tokens)
    if cache is not None and cache.n_tokens:
        raise ValueError(f"generation needs an empty cache, found one that holds {cache.n_tokens} tokens")
    return write(model, ids, strategy, steps, seed, cache or GrowingCache())


def allowed_steps(model: Transformer, ids: list[int], max_new_tokens: int) -> int:
    """How many new tokens there may be."""
    if not ids:
        raise ValueError("the prompt is empty: give at least one token")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, found {max_new_tokens}")
    context_length = model.config.context_length
    if len(ids) > context_length:
        raise ValueError(
            f"the prompt has {len(ids)} tokens, and this model's context length is {context_length}"
        )
    return min(max_new_tokens, context_length - len(ids))


def write(
    model: Transformer, ids: list[int], strategy: Strategy, steps: int, seed: int | None, cache: Cache
) -> Iterator[int]:
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    tokens: Int[Tensor, "batch tokens"] = torch.tensor([ids], device=model.device)
    so_far, position = tokens, 0
    for _ in range(steps):
        with torch.inference_mode():
            hidden = model.hidden_states(tokens, sequential_positions(tokens, position), cache)
            logits = model.logits(hidden[:, -1])
            position += tokens.shape[1]
            chosen = strategy.choose(logits, generator, so_far, prompt_length=len(ids))
        token_id = int(chosen)
        if token_id in model.config.end_ids:
            return
        yield token_id
        tokens = chosen[:, None]
        so_far = torch.cat([so_far, tokens], dim=1)
