"""Gemma 2: every second block has a window, norms before and after each layer, caps on scores and logits.

Embeddings are multiplied by the root of their size, a norm's weight is kept as its distance from 1, and the
gate is GELU. Source: Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size" (2024),
section 2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, ModelConfig, NormConfig
from llmref.families import llama
from llmref.families.family import Family
from llmref.families.values import (
    get,
    only,
    plain_parts,
    read_activation,
    read_windows,
    write_activation,
    write_windows,
)

# What the family's files mean where they are silent.
DEFAULTS = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
    "query_pre_attn_scalar": 256,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "tie_word_embeddings": True,
}
NAMES = {
    **llama.NAMES,
    "model.layers.{block}.post_attention_layernorm": "blocks.{block}.attention_output_norm",
    "model.layers.{block}.pre_feedforward_layernorm": "blocks.{block}.feedforward_norm",
    "model.layers.{block}.post_feedforward_layernorm": "blocks.{block}.feedforward_output_norm",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    attention = replace(
        llama.attention(values),
        scale=scale(values),
        soft_cap=get(values, "attn_logit_softcapping", float, None),
    )
    windows = read_windows(values, lambda layer: layer % 2 == 0)
    return model(values, [replace(attention, window=window) for window in windows])


def scale(values: Mapping[str, Any]) -> float | None:
    """What a dot product is multiplied by; `None` where it is what every model does."""
    scalar = get(values, "query_pre_attn_scalar", float)
    if scalar <= 0:
        raise ValueError(f"query_pre_attn_scalar must be a number above 0, found {scalar}")
    return None if scalar == llama.head_dim(values) else scalar**-0.5


def norm(values: Mapping[str, Any]) -> NormConfig:
    """The normalization of every layer."""
    return replace(llama.norm(values), unit_offset=True)


def model(values: Mapping[str, Any], attention: list[AttentionConfig]) -> ModelConfig:
    """The model with these attention layers."""
    only(values, "use_bidirectional_attention", None, False)
    only(values, "mlp_bias", None, False)
    if (
        values.get("hidden_activation") is None
    ):  # older files have another name, and do not all mean what it says
        only(values, "hidden_act", None, "gelu_pytorch_tanh")
    activation = read_activation(values, "hidden_activation", "gelu_pytorch_tanh")
    feedforward = replace(llama.feedforward(values), activation=activation)
    blocks = [BlockConfig(layer, feedforward, norm(values), "sandwich") for layer in attention]
    plain = llama.model(values, blocks)
    return replace(
        plain,
        embedding_multiplier=plain.d_model**0.5,
        logit_soft_cap=get(values, "final_logit_softcapping", float, None),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, feedforward, _ = plain_parts(config)
    scalar = attention.head_dim if attention.scale is None else round(attention.scale**-2)
    return {
        **llama.write(config),
        "hidden_activation": write_activation(feedforward.activation),
        "query_pre_attn_scalar": scalar,
        "attn_logit_softcapping": attention.soft_cap,
        "final_logit_softcapping": config.logit_soft_cap,
        **write_windows(config),
    }


GEMMA2 = Family("gemma2", "Gemma2ForCausalLM", read, write, NAMES)
