"""Mixtral: Mistral with eight feedforward networks in each block, of which a token goes through two.

Source: Jiang et al., "Mixtral of Experts" (2024), section 2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import BlockConfig, MixtureConfig, ModelConfig
from llmref.families import llama
from llmref.families.experts import first_mixture, without_mixtures
from llmref.families.family import Family
from llmref.families.values import get, only, positive

# What the family's files mean where they are silent.
DEFAULTS = {
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1_000_000.0,
}
_EXPERT = "blocks.{block}.feedforward.experts.{expert}"
NAMES = {
    **{theirs: ours for theirs, ours in llama.NAMES.items() if ".mlp." not in theirs},
    "model.layers.{block}.block_sparse_moe.gate": "blocks.{block}.feedforward.router",
    "model.layers.{block}.block_sparse_moe.experts.{expert}.w1": f"{_EXPERT}.gate",
    "model.layers.{block}.block_sparse_moe.experts.{expert}.w3": f"{_EXPERT}.up",
    "model.layers.{block}.block_sparse_moe.experts.{expert}.w2": f"{_EXPERT}.down",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "attention_bias", None, False)
    only(values, "mlp_bias", None, False)
    attention = replace(llama.attention(values), window=get(values, "sliding_window", int, None))
    mixture = MixtureConfig(
        n_experts=get(values, "num_local_experts", int),
        n_active=get(values, "num_experts_per_tok", int),
        expert=llama.feedforward(values),
    )
    block = BlockConfig(attention, mixture, llama.norm(values))
    return llama.model(values, (block,) * positive(values, "num_hidden_layers"))


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    mixture = first_mixture(config)
    return {
        **llama.write_plain(without_mixtures(config)),
        "sliding_window": config.blocks[0].attention.window,
        "num_local_experts": mixture.n_experts,
        "num_experts_per_tok": mixture.n_active,
    }


MIXTRAL = Family("mixtral", "MixtralForCausalLM", read, write, NAMES)
