"""Qwen3: each head's query and key are normalized before they are rotated; there is no bias.

Source: Yang et al., "Qwen3 Technical Report" (2025), section 2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import BlockConfig, ModelConfig, QueryKeyNormConfig
from llmref.families import llama, qwen2
from llmref.families.family import Family
from llmref.families.values import get, only, read_windows

# What the family's files mean where they are silent.
DEFAULTS = {**qwen2.DEFAULTS, "head_dim": 128}
NAMES = {
    **llama.NAMES,
    "model.layers.{block}.self_attn.q_norm": "blocks.{block}.attention.query_norm.norm",
    "model.layers.{block}.self_attn.k_norm": "blocks.{block}.attention.key_norm.norm",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "mlp_bias", None, False)
    feedforward, norm = llama.feedforward(values), llama.norm(values)
    attention = replace(llama.attention(values), query_key_norm=QueryKeyNormConfig(norm))
    lower = get(values, "max_window_layers", int)
    blocks = [
        BlockConfig(replace(attention, window=window), feedforward, norm)
        for window in read_windows(values, lambda layer: layer >= lower)
    ]
    return llama.model(values, blocks)


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    return {**llama.write(config), **qwen2.write_upper_windows(config)}


QWEN3 = Family("qwen3", "Qwen3ForCausalLM", read, write, NAMES)
