"""Mistral: the plain block with a window, so that a token sees no further back than so many tokens.

Source: Jiang et al., "Mistral 7B" (2023), section 2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import BlockConfig, ModelConfig
from llmref.families import llama
from llmref.families.family import Family
from llmref.families.values import get, only, positive

# What the family's files mean where they are silent.
DEFAULTS = {"num_key_value_heads": 8, "sliding_window": 4096}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "attention_bias", None, False)
    only(values, "mlp_bias", None, False)
    only(values, "layer_types", None)
    attention = replace(llama.attention(values), window=get(values, "sliding_window", int, None))
    block = BlockConfig(attention, llama.feedforward(values), llama.norm(values))
    return llama.model(values, (block,) * positive(values, "num_hidden_layers"))


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    return {**llama.write(config), "sliding_window": config.blocks[0].attention.window}


MISTRAL = Family("mistral", "MistralForCausalLM", read, write, llama.NAMES)
