"""OLMo 2: a layer's output is normalized, not its input, and so are the queries and keys, all heads as one.

Source: OLMo Team, "2 OLMo 2 Furious" (2024), section 2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import BlockConfig, ModelConfig, QueryKeyNormConfig
from llmref.families import llama
from llmref.families.family import Family
from llmref.families.values import only, positive

# What the family's files mean where they are silent.
DEFAULTS = {"rms_norm_eps": 1e-5}
NAMES = {
    **llama.NAMES,
    "model.layers.{block}.self_attn.q_norm": "blocks.{block}.attention.query_norm.norm",
    "model.layers.{block}.self_attn.k_norm": "blocks.{block}.attention.key_norm.norm",
    "model.layers.{block}.post_attention_layernorm": "blocks.{block}.attention_output_norm",
    "model.layers.{block}.post_feedforward_layernorm": "blocks.{block}.feedforward_output_norm",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "mlp_bias", None, False)
    norm = llama.norm(values)
    attention = replace(llama.attention(values), query_key_norm=QueryKeyNormConfig(norm, "all_heads"))
    block = BlockConfig(attention, llama.feedforward(values), norm, "output")
    return llama.model(values, (block,) * positive(values, "num_hidden_layers"))


OLMO2 = Family("olmo2", "Olmo2ForCausalLM", read, llama.write, NAMES)
