"""Qwen3-MoE: Qwen3 with many small experts in the place of most feedforward networks.

Source: Yang et al., "Qwen3 Technical Report" (2025), section 2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import (
    BlockConfig,
    FeedForwardConfig,
    MixtureConfig,
    ModelConfig,
    QueryKeyNormConfig,
    RouterConfig,
)
from llmref.families import experts, llama, qwen3
from llmref.families.family import Family
from llmref.families.values import get, only, positive

# What the family's files mean where they are silent.
DEFAULTS = {
    "num_key_value_heads": 4,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}
NAMES = {**qwen3.NAMES, **experts.NAMES}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "mlp_bias", None, False)
    norm, dense = llama.norm(values), llama.feedforward(values)
    attention = replace(llama.attention(values), query_key_norm=QueryKeyNormConfig(norm))
    if get(values, "use_sliding_window", bool):
        attention = replace(attention, window=get(values, "sliding_window", int, None))
    mixture = MixtureConfig(
        n_experts=get(values, "num_experts", int, get(values, "num_local_experts", int, 128)),
        n_active=get(values, "num_experts_per_tok", int),
        expert=replace(dense, d_ff=get(values, "moe_intermediate_size", int)),
        router=RouterConfig(normalize=get(values, "norm_topk_prob", bool, False)),
    )
    blocks = [BlockConfig(attention, mixture if sparse else dense, norm) for sparse in has_mixture(values)]
    return llama.model(values, blocks)


def has_mixture(values: Mapping[str, Any]) -> list[bool]:
    """Of each layer, whether it is a mixture: each `decoder_sparse_step`-th one, but for those named."""
    step = get(values, "decoder_sparse_step", int, 1)
    if step < 1:
        raise ValueError(f"decoder_sparse_step must be at least 1, found {step}")
    dense, layers = get(values, "mlp_only_layers", list, []), range(positive(values, "num_hidden_layers"))
    return [layer not in dense and (layer + 1) % step == 0 for layer in layers]


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    mixture, window = experts.first_mixture(config), config.blocks[0].attention.window
    dense = [
        layer for layer, block in enumerate(config.blocks) if isinstance(block.feedforward, FeedForwardConfig)
    ]
    return {
        **llama.write(experts.without_mixtures(config)),
        "intermediate_size": experts.dense_size(config),
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "num_experts": mixture.n_experts,
        "num_experts_per_tok": mixture.n_active,
        "moe_intermediate_size": mixture.expert.d_ff,
        "norm_topk_prob": mixture.router.normalize,
        "decoder_sparse_step": 1,
        "mlp_only_layers": dense,
    }


QWEN3_MOE = Family("qwen3_moe", "Qwen3MoeForCausalLM", read, write, NAMES)
