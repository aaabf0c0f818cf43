"""DeepSeek-V2: latent attention, and a mixture of small experts beside shared ones.

Source: DeepSeek-AI, "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model"
(2024), section 2.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from llmref.config import (
    BlockConfig,
    FeedForwardConfig,
    LatentAttentionConfig,
    MixtureConfig,
    ModelConfig,
    NormConfig,
    RouterConfig,
    YarnScaling,
)
from llmref.families import experts, llama
from llmref.families.family import Family, Names, Packed, Rows
from llmref.families.values import get, only, positive, read_rope, write_activation, write_rope

# What the family's files mean where they are silent.
DEFAULTS = {
    "first_k_dense_replace": 0,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "moe_intermediate_size": 1407,
    "routed_scaling_factor": 1.0,
}
LATENT_NORM = NormConfig("rms", 1e-6)  # whatever rms_norm_eps says


def _heads(config: ModelConfig) -> Rows:
    return Rows(groups=config.blocks[0].attention.n_heads)  # one head's key, its value, the next head's key …


_ATTENTION = "blocks.{block}.attention"
NAMES: Names = {
    **{theirs: ours for theirs, ours in llama.NAMES.items() if ".self_attn." not in theirs},
    **experts.NAMES,
    "model.layers.{block}.mlp.shared_experts.gate_proj": "blocks.{block}.feedforward.shared.gate",
    "model.layers.{block}.mlp.shared_experts.up_proj": "blocks.{block}.feedforward.shared.up",
    "model.layers.{block}.mlp.shared_experts.down_proj": "blocks.{block}.feedforward.shared.down",
    "model.layers.{block}.self_attn.q_proj": f"{_ATTENTION}.query",
    "model.layers.{block}.self_attn.q_a_proj": f"{_ATTENTION}.query_down",
    "model.layers.{block}.self_attn.q_a_layernorm": f"{_ATTENTION}.query_norm",
    "model.layers.{block}.self_attn.q_b_proj": f"{_ATTENTION}.query_up",
    "model.layers.{block}.self_attn.kv_a_proj_with_mqa": Packed(
        (f"{_ATTENTION}.latent", f"{_ATTENTION}.rotated_key")
    ),
    "model.layers.{block}.self_attn.kv_a_layernorm": f"{_ATTENTION}.latent_norm",
    "model.layers.{block}.self_attn.kv_b_proj": Packed((f"{_ATTENTION}.key", f"{_ATTENTION}.value"), _heads),
    "model.layers.{block}.self_attn.o_proj": f"{_ATTENTION}.output",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "scoring_func", None, "softmax")
    only(values, "norm_topk_prob", None, False)
    only(values, "topk_method", None, "greedy", "group_limited_greedy")
    router = RouterConfig(normalize=False, multiplier=get(values, "routed_scaling_factor", float))
    if values.get("topk_method") == "group_limited_greedy":
        router = replace(
            router, n_groups=get(values, "n_group", int), n_active_groups=get(values, "topk_group", int)
        )
    return read_model(values, latent_attention(values, "interleaved"), router)


def latent_attention(values: Mapping[str, Any], layout: str) -> LatentAttentionConfig:
    """The attention layer."""
    n_heads = get(values, "num_attention_heads", int)
    only(values, "num_key_value_heads", None, n_heads)
    plain_dim, rotated_dim = get(values, "qk_nope_head_dim", int), get(values, "qk_rope_head_dim", int)
    return LatentAttentionConfig(
        n_heads=n_heads,
        latent_dim=get(values, "kv_lora_rank", int),
        plain_dim=plain_dim,
        rotated_dim=rotated_dim,
        value_dim=get(values, "v_head_dim", int),
        query_latent_dim=get(values, "q_lora_rank", int, None),
        norm=LATENT_NORM,
        bias=get(values, "attention_bias", bool, False),
        rope=read_rope(values, rotated_dim, layout=layout),
        scale=_scale(values, plain_dim + rotated_dim),
    )


def read_model(
    values: Mapping[str, Any], attention: LatentAttentionConfig, router: RouterConfig
) -> ModelConfig:
    """The model: its first layers without a mixture, all others with one."""
    only(values, "moe_layer_freq", None, 1)
    dense = llama.feedforward(values)  # and the shared experts may have biases, the others have none
    expert = replace(dense, d_ff=get(values, "moe_intermediate_size", int), bias=False)
    n_shared = get(values, "n_shared_experts", int, 0)
    mixture = MixtureConfig(
        n_experts=get(values, "n_routed_experts", int),
        n_active=get(values, "num_experts_per_tok", int),
        expert=expert,
        shared=replace(expert, d_ff=n_shared * expert.d_ff, bias=dense.bias) if n_shared else None,
        router=router,
    )
    n_dense, norm = get(values, "first_k_dense_replace", int), llama.norm(values)
    blocks = [
        BlockConfig(attention, dense if layer < n_dense else mixture, norm)
        for layer in range(positive(values, "num_hidden_layers"))
    ]
    return llama.model(values, blocks)


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    mixture = experts.first_mixture(config)
    router, grouped = mixture.router, mixture.router.n_groups > 1
    dense = [part for block in config.blocks if isinstance(part := block.feedforward, FeedForwardConfig)]
    return {
        **write_model(config),
        "mlp_bias": any(part.bias for part in (*dense, mixture.shared) if part is not None),
        "scoring_func": router.score,
        "topk_method": "group_limited_greedy" if grouped else "greedy",
        "n_group": router.n_groups if grouped else None,
        "topk_group": router.n_active_groups if grouped else None,
        "norm_topk_prob": router.normalize,
    }


def write_model(config: ModelConfig) -> dict[str, Any]:
    """What both versions of the family write."""
    attention, mixture = config.blocks[-1].attention, experts.first_mixture(config)
    if not isinstance(attention, LatentAttentionConfig):
        raise ValueError(f"a block's attention must be a LatentAttentionConfig, found {attention!r}")
    shared = 0 if mixture.shared is None else mixture.shared.d_ff
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": len(config.blocks),
        "num_attention_heads": attention.n_heads,
        "num_key_value_heads": attention.n_heads,
        "kv_lora_rank": attention.latent_dim,
        "q_lora_rank": attention.query_latent_dim,
        "qk_nope_head_dim": attention.plain_dim,
        "qk_rope_head_dim": attention.rotated_dim,
        "v_head_dim": attention.value_dim,
        "attention_bias": attention.bias,
        "hidden_act": write_activation(mixture.expert.activation),
        "intermediate_size": experts.dense_size(config),
        "moe_intermediate_size": mixture.expert.d_ff,
        "n_routed_experts": mixture.n_experts,
        "n_shared_experts": shared // mixture.expert.d_ff,
        "num_experts_per_tok": mixture.n_active,
        "moe_layer_freq": 1,
        "first_k_dense_replace": sum(isinstance(b.feedforward, FeedForwardConfig) for b in config.blocks),
        "routed_scaling_factor": mixture.router.multiplier,
        "rms_norm_eps": config.norm.eps,
        **_write_rope(attention, config.context_length),
        "tie_word_embeddings": config.tied_embeddings,
    }


def _scale(values: Mapping[str, Any], head_dim: int) -> float | None:
    """The scale of the scores, which a stretched context makes larger; `None` for 1 / sqrt(head_dim)."""
    said = {**get(values, "rope_scaling", dict, {}), **get(values, "rope_parameters", dict, {})}
    sharpness, factor = get(said, "mscale_all_dim", float, 0.0), get(said, "factor", float, 1.0)
    if said.get("rope_type", said.get("type", "default")) == "default" or sharpness == 0.0 or factor <= 1.0:
        return None
    return _sharpened(head_dim, factor, sharpness)


def _sharpened(head_dim: int, factor: float, sharpness: float) -> float:
    return head_dim**-0.5 * _magnitude(factor, sharpness) ** 2


def _magnitude(factor: float, sharpness: float) -> float:
    """How much longer queries and keys are for a context that is longer by the factor."""
    return 0.1 * sharpness * math.log(factor) + 1.0


def _write_rope(attention: LatentAttentionConfig, context_length: int) -> dict[str, Any]:
    """The rotation, and the two sharpnesses that give the scale of the scores and the attention factor."""
    values = write_rope(attention.rope, attention.rotated_dim, context_length)
    scaling, scale = attention.rope.scaling, attention.scale
    if not isinstance(scaling, YarnScaling) or scaling.factor == 1.0 or scale is None:
        return values
    said, factor, one = values["rope_scaling"], scaling.factor, 0.1 * math.log(scaling.factor)
    head_dim = attention.plain_dim + attention.rotated_dim
    near = (math.sqrt(scale * head_dim**0.5) - 1) / one
    below = _solved(lambda x: _sharpened(head_dim, factor, x), scale, near)
    if below is None:
        raise ValueError(f"attention.scale {scale!r} is not one that a context longer by {factor} asks for")
    said["mscale_all_dim"] = below
    if scaling.attention_factor is not None:
        divisor = _magnitude(factor, below)
        near = (scaling.attention_factor * divisor - 1) / one
        sharpness = _solved(lambda x: _magnitude(factor, x) / divisor, scaling.attention_factor, near)
        if sharpness is not None:  # the authors' own code knows no other way to say it
            del said["attention_factor"]
            said["mscale"] = sharpness
    return values


def _solved(function: Callable[[float], float], wanted: float, near: float) -> float | None:
    """The number near a guess of which a growing function makes exactly what is wanted, if there is one."""
    for digits in range(10):  # a short one, if that is what somebody wrote
        if function(round(near, digits)) == wanted:
            return round(near, digits)
    low, high = near - 1e-9, near + 1e-9
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if function(middle) < wanted else (low, middle)
    return high if function(high) == wanted else None


DEEPSEEK_V2 = Family("deepseek_v2", "DeepseekV2ForCausalLM", read, write, NAMES)
