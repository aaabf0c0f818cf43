"""Transformer block: put one together from its two parts, around the residual stream."""

from torch import Tensor

from llmref.block import TransformerBlock


def run(block: TransformerBlock, x: Tensor, positions: Tensor, allowed: Tensor) -> Tensor:
    """The residual stream after a pre-norm block, from the stream `x` [batch, tokens, d_model] before it.

    Do not call `block(…)` itself, but its parts:

        block.attention(…, positions, allowed)    # what attention adds
        block.feedforward(…)                      # what feedforward adds
        block.attention_norm(…)                   # what attention reads is normalized first,
        block.feedforward_norm(…)                 # and so is what feedforward reads

    Feedforward reads the stream that attention has already added to. The stream itself is never normalized.
    """
    raise NotImplementedError("write run()")


# What is checked

from typing import Any
from unittest.mock import patch

import torch

from llmref.attention import causal
from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, NormConfig
from llmref.model import Transformer
from llmref.tiny import load_tiny
from llmref.trace import Cut, cutting


def check_tiny(answer: Any) -> None:
    """The stream is that of the tiny model, after every block."""
    model, tokenizer = load_tiny()
    for text in ("The dog chased the squirrel", "강아지가 다람쥐를 쫓아갔습니다."):
        positions, allowed, x = _start(model, [0, *tokenizer.encode(text)])
        with torch.no_grad():
            for number, block in enumerate(model.blocks):
                expected, found = block(x, positions, allowed), answer.run(block, x, positions, allowed)
                _compare(found, expected, f"after block {number} of {text!r}")
                x = expected


def check_parts(answer: Any) -> None:
    """The parts are called, not the whole block."""
    model, _ = load_tiny()
    positions, allowed, x = _start(model, [0, 7, 9])
    refusal = AssertionError("put the block together from block.attention, block.feedforward and the norms")
    with patch.object(model.blocks[0], "forward", side_effect=refusal):
        answer.run(model.blocks[0], x, positions, allowed)


def check_stream(answer: Any) -> None:
    """Where both parts add nothing, the stream passes through unchanged."""
    model, _ = load_tiny()
    positions, allowed, x = _start(model, [0, 7, 9])
    with cutting(model, [Cut("blocks.0.attention"), Cut("blocks.0.feedforward")]), torch.no_grad():
        found = answer.run(model.blocks[0], x, positions, allowed)
    difference = float((found - x).abs().max())
    assert difference == 0, f"expected the stream as it came in, found a difference of {difference:.3g}"


def check_another_block(answer: Any) -> None:
    """It runs a block of another shape, with LayerNorm, as well."""
    torch.manual_seed(0)
    config = BlockConfig(AttentionConfig(2, 1, 8), FeedForwardConfig(24, gated=False), NormConfig("layer"))
    block, x, positions = TransformerBlock(config, 12), torch.randn(2, 5, 12), torch.arange(5).expand(2, 5)
    allowed = causal().dense(positions, positions)
    with torch.no_grad():
        expected, found = block(x, positions, allowed), answer.run(block, x, positions, allowed)
    _compare(found, expected, "with d_model 12")


def _start(model: Transformer, ids: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    positions = torch.arange(len(ids))[None]
    with torch.no_grad():
        return positions, causal().dense(positions, positions), model.embedding(torch.tensor([ids]))


def _compare(found: Tensor, expected: Tensor, where: str) -> None:
    assert found.shape == expected.shape, (
        f"{where}: expected a stream of shape {tuple(expected.shape)}, found {tuple(found.shape)}"
    )
    difference = float((found - expected).abs().max())
    assert difference < 1e-4, f"{where} the stream differs from the block's by up to {difference:.3g}"
