"""The forward pass: put it together from its parts, with the LM head at the last position alone."""

import torch
from torch import Tensor

from llmref.attention import causal
from llmref.model import Transformer, sequential_positions


def next_logits(model: Transformer, ids: list[int]) -> Tensor:
    """The logits of the next token, of the shape [vocabulary].

    Call neither `model(…)` nor `model.hidden_states(…)`, but the parts:

        model.embedding(tokens)         # tokens has the shape [1, tokens]
        block(x, positions, allowed)    # each block of model.blocks, in order
        model.final_norm(x)
        model.lm_head(…)                # for the last position only

    `allowed` is the causal mask: `causal().dense(positions, positions)`.
    """
    raise NotImplementedError("write next_logits()")


# What is checked

from typing import Any
from unittest.mock import patch

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.tiny import load_tiny


def check_tiny(answer: Any) -> None:
    """The logits are those of the tiny model, in both languages."""
    model, tokenizer = load_tiny()
    for prompt in ("민지는 숲에", "Minji lives in the"):
        _compare(answer, model, [0, *tokenizer.encode(prompt)], f"after {prompt!r}")


def check_another_model(answer: Any) -> None:
    """It runs a model with another number of blocks as well."""
    block = BlockConfig(AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8), FeedForwardConfig(d_ff=32))
    for blocks in (1, 3):
        config = ModelConfig(vocab_size=40, d_model=16, context_length=16, blocks=(block,) * blocks)
        _compare(answer, Transformer(config), [3, 1, 4, 1, 5], f"with {blocks} blocks")


def check_parts(answer: Any) -> None:
    """The parts are called one by one, not the whole model."""
    model, _ = load_tiny()
    refusal = AssertionError("put the pass together from model.embedding, model.blocks and the rest")
    with patch.object(model, "hidden_states", side_effect=refusal):
        answer.next_logits(model, [0, 7, 9])


def check_head(answer: Any) -> None:
    """The LM head reads one position."""
    model, _ = load_tiny()
    read: list[int] = []
    width = model.config.d_model
    model.lm_head.register_forward_pre_hook(lambda head, inputs: read.append(inputs[0].numel() // width))
    answer.next_logits(model, [0, 7, 9, 11])
    assert read == [1], f"expected one call of the LM head, for 1 position; found calls for {read}"


def _compare(answer: Any, model: Transformer, ids: list[int], where: str) -> None:
    tokens = torch.tensor([ids])
    with torch.no_grad():
        expected = model(tokens, sequential_positions(tokens))[0, -1]
        found = answer.next_logits(model, ids)
    assert found.shape == expected.shape, (
        f"expected logits of the shape {tuple(expected.shape)}, found {tuple(found.shape)}"
    )
    difference = float((found - expected).abs().max())
    assert difference < 1e-4, f"{where} the logits differ from the model's by up to {difference:.3g}"
