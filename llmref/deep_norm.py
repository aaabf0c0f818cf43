"""DeepNorm: post-norm in which the stream outweighs what a layer adds, for stacks of up to a thousand blocks.

Source: Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers" (2022), section 4, and figure 2 for a
model that has a decoder only.
"""

from collections.abc import Iterable
from dataclasses import replace

from torch import nn

from llmref.block import TransformerBlock
from llmref.config import BlockConfig


def deep_norm(block: BlockConfig, n_blocks: int) -> BlockConfig:
    """The block with DeepNorm, for a stack of so many.

    The paper has `norm(alpha * x + layer(x))`, with alpha = (2 n_blocks) ** (1/4). A norm divides the size of
    what it gets out again, so the same comes of `norm(x + layer(x) / alpha)`: post-norm with a residual
    multiplier. The epsilon alone knows the size; divided by alpha squared, it makes the two equal.

    Args:
        block: The block; where its norms stand and its residual multiplier are replaced.
        n_blocks: How many blocks the stack has.

    Raises:
        ValueError: If there is not at least one block.

    >>> from llmref.config import AttentionConfig, FeedForwardConfig
    >>> block = BlockConfig(AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8), FeedForwardConfig(d_ff=64))
    >>> deep = deep_norm(block, n_blocks=8)  # alpha is 2
    >>> deep.norm_position, deep.residual_multiplier, block.norm.eps / deep.norm.eps
    ('post', 0.5, 4.0)
    """
    if n_blocks < 1:
        raise ValueError(f"DeepNorm needs at least 1 block, found {n_blocks}")
    alpha = (2 * n_blocks) ** 0.25
    return replace(
        block,
        norm_position="post",
        residual="serial",
        residual_multiplier=1 / alpha,
        norm=replace(block.norm, eps=block.norm.eps / alpha**2),
    )


def initialize_deep_norm(blocks: Iterable[TransformerBlock]) -> None:
    """Draw fresh weights as DeepNorm asks for: normal, with deviation gain * sqrt(2 / (inputs + outputs)).

    The gain is beta = (8 n_blocks) ** (-1/4) on the way of what a layer adds: values, attention's output, the
    feedforward network. For queries and keys, which only choose, it is 1.

    >>> import torch
    >>> from llmref.config import AttentionConfig, FeedForwardConfig
    >>> config = BlockConfig(AttentionConfig(n_heads=2, n_kv_heads=2, head_dim=32), FeedForwardConfig(64))
    >>> blocks = [TransformerBlock(deep_norm(config, n_blocks=2), d_model=64) for _ in range(2)]
    >>> generator = torch.manual_seed(0)
    >>> initialize_deep_norm(blocks)  # beta is 0.5
    >>> attention = blocks[0].attention
    >>> round((attention.value.weight.std() / attention.query.weight.std()).item(), 1)
    0.5
    """
    blocks = list(blocks)
    beta = (8 * len(blocks)) ** -0.25
    for block in blocks:
        for name, layer in block.named_modules():
            if isinstance(layer, nn.Linear):
                adds = name in ("attention.value", "attention.output") or name.startswith("feedforward.")
                nn.init.xavier_normal_(layer.weight, gain=beta if adds else 1.0)
