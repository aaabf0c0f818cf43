"""Phi-3 and Phi-4-mini: fused matrices, a window, and long-rope for long texts.

One matrix holds the projections to queries, keys and values, another the two into the feedforward network.
Phi-4-mini rotates a part of each head. Sources: Abdin et al., "Phi-3 Technical Report" (2024), section 2;
Ding et al., "LongRoPE" (2024), section 3.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import BlockConfig, LongRopeScaling, ModelConfig, RopeConfig
from llmref.families import llama
from llmref.families.family import Family, Names, Packed
from llmref.families.values import get, only, plain_parts, positive, read_rope

# What the family's files mean where they are silent.
DEFAULTS = {"rms_norm_eps": 1e-5, "original_max_position_embeddings": 4096}
_FUSED = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
NAMES: Names = {
    **{theirs: ours for theirs, ours in llama.NAMES.items() if not theirs.endswith(_FUSED)},
    "model.layers.{block}.self_attn.qkv_proj": Packed(
        tuple(f"blocks.{{block}}.attention.{part}" for part in ("query", "key", "value"))
    ),
    "model.layers.{block}.mlp.gate_up_proj": Packed(
        tuple(f"blocks.{{block}}.feedforward.{part}" for part in ("gate", "up"))
    ),
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "attention_bias", None, False)
    only(values, "mlp_bias", None, False)
    only(values, "lm_head_bias", None, False)
    attention = llama.attention(values, rope=positions(values))
    attention = replace(attention, window=get(values, "sliding_window", int, None))
    block = BlockConfig(attention, llama.feedforward(values), llama.norm(values))
    return llama.model(values, (block,) * positive(values, "num_hidden_layers"))


def positions(values: Mapping[str, Any]) -> RopeConfig:
    """Long-rope, which older files call "su" or "yarn", or no scaling at all."""
    said = {**get(values, "rope_scaling", dict, {}), **get(values, "rope_parameters", dict, {})}
    kind = "rope_type" if "rope_type" in said else "type"
    only(said, kind, None, "default", "longrope", "su", "yarn")
    if said.get(kind) == "yarn":
        said[kind] = "longrope"
    original = "original_max_position_embeddings"  # these files have it beside the scaling
    only(said, original, None, get(values, original, int))
    said[original] = values[original]
    return read_rope({**values, "rope_parameters": said}, llama.head_dim(values))


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, _, rope = plain_parts(config)
    values = {**llama.write(config), "sliding_window": attention.window}
    if isinstance(rope.scaling, LongRopeScaling):
        values["original_max_position_embeddings"] = rope.scaling.original_context_length
    return values


PHI3 = Family("phi3", "Phi3ForCausalLM", read, write, NAMES)
