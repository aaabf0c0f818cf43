"""Qwen2 and Qwen2.5: queries, keys and values have a bias, and the upper layers may have a window.

Source: Yang et al., "Qwen2 Technical Report" (2024), section 2.2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import BlockConfig, ModelConfig
from llmref.families import llama
from llmref.families.family import Family
from llmref.families.values import get, only, read_windows, write_windows

# What the family's files mean where they are silent.
DEFAULTS = {
    "num_key_value_heads": 32,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "mlp_bias", None, False)
    only(values, "use_mrope", None, False)
    attention = replace(llama.attention(values), bias=True, output_bias=False)
    feedforward, norm = llama.feedforward(values), llama.norm(values)
    lower = get(values, "max_window_layers", int)
    blocks = [
        BlockConfig(replace(attention, window=window), feedforward, norm)
        for window in read_windows(values, lambda layer: layer >= lower)
    ]
    return llama.model(values, blocks)


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    return {**llama.write_plain(config), **write_upper_windows(config)}


def write_upper_windows(config: ModelConfig) -> dict[str, Any]:
    """Which layers have a window, said twice: older readers know the number of those below that have none."""
    windows = [block.attention.window is not None for block in config.blocks]
    return {
        **write_windows(config),
        "use_sliding_window": any(windows),
        "max_window_layers": [*windows, True].index(True),
    }


QWEN2 = Family("qwen2", "Qwen2ForCausalLM", read, write, llama.NAMES)
