"""What the families with a mixture of experts share: names, and a config as if it had no mixture."""

from dataclasses import replace

from llmref.config import FeedForwardConfig, MixtureConfig, ModelConfig

# Where each expert has tensors of its own.
NAMES = {
    "model.layers.{block}.mlp.gate": "blocks.{block}.feedforward.router",
    "model.layers.{block}.mlp.experts.{expert}.gate_proj": "blocks.{block}.feedforward.experts.{expert}.gate",
    "model.layers.{block}.mlp.experts.{expert}.up_proj": "blocks.{block}.feedforward.experts.{expert}.up",
    "model.layers.{block}.mlp.experts.{expert}.down_proj": "blocks.{block}.feedforward.experts.{expert}.down",
}


def first_mixture(config: ModelConfig) -> MixtureConfig:
    """The mixture of the first block that has one.

    Raises:
        ValueError: If none has.
    """
    for block in config.blocks:
        if isinstance(block.feedforward, MixtureConfig):
            return block.feedforward
    raise ValueError("a block's feedforward must be a MixtureConfig, found none")


def dense_size(config: ModelConfig) -> int:
    """The hidden layer of the first block without a mixture; where each has one, that of an expert."""
    for block in config.blocks:
        if isinstance(block.feedforward, FeedForwardConfig):
            return block.feedforward.d_ff
    return first_mixture(config).expert.d_ff


def without_mixtures(config: ModelConfig) -> ModelConfig:
    """The config with one expert in the place of each mixture: what a family without experts can write."""
    blocks = (
        replace(block, feedforward=block.feedforward.expert)
        if isinstance(block.feedforward, MixtureConfig)
        else block
        for block in config.blocks
    )
    return replace(config, blocks=tuple(blocks))
