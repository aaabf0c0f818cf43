"""SmolLM3: every fourth block rotates nothing, and knows the order of tokens from the other blocks alone.

Source: Bakouch et al., "SmolLM3: smol, multilingual, long-context reasoner" (2025), its section on the
architecture; after Yang et al., "RoPE to NoPE and Back Again" (2025).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import BlockConfig, ModelConfig
from llmref.families import llama
from llmref.families.family import Family
from llmref.families.values import get, positive, read_windows, write_windows

# What the family's files mean where they are silent.
DEFAULTS = {
    "num_key_value_heads": 4,
    "use_sliding_window": False,
    "no_rope_layer_interval": 4,
    "rope_theta": 2_000_000.0,
    "tie_word_embeddings": True,
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    attention, feedforward, norm = llama.attention(values), llama.feedforward(values), llama.norm(values)
    rotates = rotating_layers(values)
    windows = read_windows(values, lambda layer: not rotates[layer])
    layers = [
        replace(attention, window=window, rope=attention.rope if rotated else None)
        for window, rotated in zip(windows, rotates, strict=True)
    ]
    return llama.model(values, [BlockConfig(layer, feedforward, norm) for layer in layers])


def rotating_layers(values: Mapping[str, Any]) -> list[bool]:
    """Which layers rotate: a 1 in the list, which despite its name says who does; all but every so many."""
    n_layers, period = positive(values, "num_hidden_layers"), positive(values, "no_rope_layer_interval")
    said = get(values, "no_rope_layers", list, None)
    if said is None:
        return [(layer + 1) % period != 0 for layer in range(n_layers)]
    if len(said) < n_layers or any(value not in (0, 1) for value in said):
        raise ValueError(f"no_rope_layers must be a 0 or 1 for each of {n_layers} layers, found {said!r}")
    return [value == 1 for value in said[:n_layers]]


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    return {
        **llama.write(config),
        "no_rope_layers": [int(block.attention.rope is not None) for block in config.blocks],
        "use_sliding_window": any(block.attention.window is not None for block in config.blocks),
        **write_windows(config),
    }


SMOLLM3 = Family("smollm3", "SmolLM3ForCausalLM", read, write, llama.NAMES)
