"""Speed: write the least time that a decode step can take."""

from llmref.model import Transformer


def floor_milliseconds(model: Transformer, context: int, bandwidth: float) -> float:
    """The least milliseconds for one new token, if reading is what takes the time.

    A decode step reads every weight that it multiplies by, once, and the keys and values of the whole
    context, `context` tokens, the new one included. Divide these bytes by `bandwidth`, in bytes per second.

    Of the token embedding it looks up a single row, which does not count. But where the LM head is the same
    matrix (`model.config.tied_embeddings`), that matrix is read whole, once.

    `model.parameters()` gives each weight once, and a tensor has `nbytes`. What a token leaves in the cache
    follows from the block's `config.blocks[i].attention`: `n_kv_heads` and `head_dim`. The cache has the
    dtype of the weights; `model.embedding.weight.element_size()` says how many bytes a number has.
    """
    raise NotImplementedError("write floor_milliseconds()")


# What is checked

from dataclasses import replace
from typing import Any

import torch

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.cost import cost
from llmref.tiny import load_tiny

BLOCK = BlockConfig(AttentionConfig(n_heads=6, n_kv_heads=2, head_dim=8), FeedForwardConfig(d_ff=80))
ALL_HEADS = replace(BLOCK, attention=AttentionConfig(n_heads=6, n_kv_heads=6, head_dim=8))
UNTIED = ModelConfig(500, 48, 4096, (BLOCK, ALL_HEADS, BLOCK), tied_embeddings=False)


def _compare(answer: Any, model: Transformer, context: int, what: str) -> None:
    bandwidth = 2e9
    number = model.embedding.weight.element_size()
    expected = cost(model.config, context=context, bytes_per_number=number).decode_bytes / bandwidth * 1000
    found = answer.floor_milliseconds(model, context, bandwidth)
    assert abs(found - expected) <= 1e-4 * expected, (
        f"{what}: expected {expected:.6f} ms for a context of {context} at 2 GB/s, found {found:.6f} ms"
    )


def check_looked_up(answer: Any) -> None:
    """Where the LM head has a matrix of its own, the embedding is looked up and not read."""
    _compare(answer, Transformer(UNTIED), 1, "a model that is not tied")


def check_tied(answer: Any) -> None:
    """Where embedding and LM head are one matrix, it is read once."""
    _compare(answer, load_tiny()[0], 1, "the tiny model, which is tied")


def check_cache(answer: Any) -> None:
    """The keys and values of the context are read too; blocks may have different numbers of heads."""
    _compare(answer, load_tiny()[0], 256, "the tiny model")
    _compare(answer, Transformer(UNTIED), 4000, "blocks of 2, 6 and 2 key/value heads")


def check_bytes(answer: Any) -> None:
    """Numbers of half the size take half the time."""
    _compare(answer, Transformer(UNTIED).to(torch.bfloat16), 700, "bfloat16 weights and cache")
