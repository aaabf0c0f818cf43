"""Transformer block: one put together from its two parts, around the residual stream."""

from torch import Tensor

from llmref.block import TransformerBlock


def run(block: TransformerBlock, x: Tensor, positions: Tensor, allowed: Tensor) -> Tensor:
    x = x + block.attention(block.attention_norm(x), positions, allowed)
    return x + block.feedforward(block.feedforward_norm(x))
