"""DeepSeek-V3 and R1: DeepSeek-V2 with another router: sigmoid scores, and a bias that balances the experts.

Source: DeepSeek-AI, "DeepSeek-V3 Technical Report" (2024), section 2.1.
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import ModelConfig, RouterConfig
from llmref.families import deepseek_v2, experts
from llmref.families.family import Family, Names
from llmref.families.values import get, only

# What the family's files mean where they are silent.
DEFAULTS = {
    **deepseek_v2.DEFAULTS,
    "first_k_dense_replace": 3,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
    "routed_scaling_factor": 2.5,
    "n_group": 8,
    "topk_group": 4,
}
NAMES: Names = {
    **deepseek_v2.NAMES,
    "model.layers.{block}.mlp.gate.e_score_correction_bias": "blocks.{block}.feedforward.router.choice_bias",
}
MORE_TOKENS = r"model\.layers\.{n_blocks}\..*"  # a layer behind the last, which predicts one more token


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "scoring_func", None, "sigmoid")
    only(values, "topk_method", None, "noaux_tc")
    only(values, "mlp_bias", None, False)
    router = RouterConfig(
        "sigmoid",
        normalize=get(values, "norm_topk_prob", bool, True),
        multiplier=get(values, "routed_scaling_factor", float),
        choice_bias=True,
        n_groups=get(values, "n_group", int),
        n_active_groups=get(values, "topk_group", int),
        group_score="best_two",
    )
    layout = "interleaved" if get(values, "rope_interleave", bool, True) else "half"
    return deepseek_v2.read_model(values, deepseek_v2.latent_attention(values, layout), router)


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    values, router = deepseek_v2.write_model(config), experts.first_mixture(config).router
    rope = config.blocks[0].attention.rope
    return {
        **values,
        "rope_interleave": rope is not None and rope.layout == "interleaved",
        "scoring_func": router.score,
        "topk_method": "noaux_tc",
        "n_group": router.n_groups,
        "topk_group": router.n_active_groups,
        "norm_topk_prob": router.normalize,
    }


DEEPSEEK_V3 = Family("deepseek_v3", "DeepseekV3ForCausalLM", read, write, NAMES, (MORE_TOKENS,))
