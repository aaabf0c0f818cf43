"""KV cache: write greedy generation that computes each token once."""

import torch

from llmref.cache import GrowingCache
from llmref.model import Transformer, sequential_positions


def greedy(model: Transformer, ids: list[int], max_new_tokens: int) -> list[int]:
    """The `max_new_tokens` ids that follow `ids`, each the likeliest.

    Make one `GrowingCache()`, and give it to every pass:

        logits = model(tokens, positions, cache)

    The first pass reads the whole prompt, each later pass the newest token
    alone. `tokens` and `positions` have the shape [1, tokens], and
    `sequential_positions(tokens, start)` counts up from `start`: a token that
    comes alone still has its place in the text. The last new token needs no
    pass of its own.
    """
    raise NotImplementedError("write greedy()")


# What is checked

from typing import Any

from llmref.generation import generate_naive
from llmref.tiny import load_tiny


def check_same_ids(answer: Any) -> None:
    """The ids are those of generation without a cache."""
    model, tokenizer = load_tiny()
    for prompt in ("옛날에", "Once upon a time"):
        ids = [0, *tokenizer.encode(prompt)]
        expected = generate_naive(model, ids, 16)
        found = answer.greedy(model, list(ids), 16)
        assert found == expected, f"expected the new ids {expected} after {prompt!r}, found {found}"


def check_computed_once(answer: Any) -> None:
    """The first pass reads the prompt, and each later pass one token."""
    model, tokenizer = load_tiny()
    ids = [0, *tokenizer.encode("Once upon a time")]
    computed: list[int] = []
    model.blocks[0].register_forward_pre_hook(lambda block, inputs: computed.append(inputs[0].shape[1]))
    answer.greedy(model, list(ids), 6)
    expected = [len(ids), 1, 1, 1, 1, 1]
    assert computed == expected, f"expected passes over {expected} tokens for 6 new ones, found {computed}"


def check_positions(answer: Any) -> None:
    """Each token has its own position."""
    model, _ = load_tiny()
    given: list[int] = []
    model.blocks[0].register_forward_pre_hook(lambda block, inputs: given.extend(inputs[1][0].tolist()))
    answer.greedy(model, [0, 7, 9], 4)
    expected = [0, 1, 2, 3, 4, 5]
    assert given == expected, f"expected the positions {expected}, found {given}"


def check_nothing_asked(answer: Any) -> None:
    """When no new token is asked for, there is none."""
    found = answer.greedy(load_tiny()[0], [0, 7, 9], 0)
    assert found == [], f"expected no ids for max_new_tokens=0, found {found}"
