"""Llama 2 and 3: the plain block of today. The other families are told as differences from it.

Source: Touvron et al., "Llama 2" (2023), section 2.2; Grattafiori et al., "The Llama 3 Herd of Models"
(2024), section 3.2.
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.families.family import Family
from llmref.families.values import (
    get,
    only,
    plain_parts,
    read_context_length,
    read_rope,
    read_token_ids,
    write_rope,
)

NAMES = {
    "model.embed_tokens": "embedding",
    "model.layers.{block}.input_layernorm": "blocks.{block}.attention_norm",
    "model.layers.{block}.self_attn.q_proj": "blocks.{block}.attention.query",
    "model.layers.{block}.self_attn.k_proj": "blocks.{block}.attention.key",
    "model.layers.{block}.self_attn.v_proj": "blocks.{block}.attention.value",
    "model.layers.{block}.self_attn.o_proj": "blocks.{block}.attention.output",
    "model.layers.{block}.post_attention_layernorm": "blocks.{block}.feedforward_norm",
    "model.layers.{block}.mlp.gate_proj": "blocks.{block}.feedforward.gate",
    "model.layers.{block}.mlp.up_proj": "blocks.{block}.feedforward.up",
    "model.layers.{block}.mlp.down_proj": "blocks.{block}.feedforward.down",
    "model.norm": "final_norm",
    "lm_head": "lm_head",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    only(values, "hidden_act", None, "silu")
    n_heads, d_model = get(values, "num_attention_heads", int), get(values, "hidden_size", int)
    head_dim = get(values, "head_dim", int, d_model // n_heads)
    bias = get(values, "attention_bias", bool, False)
    block = BlockConfig(
        AttentionConfig(
            n_heads=n_heads,
            n_kv_heads=get(values, "num_key_value_heads", int, n_heads),
            head_dim=head_dim,
            bias=bias,
            output_bias=bias,
            rope=(rope := read_rope(values, head_dim)),
        ),
        FeedForwardConfig(get(values, "intermediate_size", int), bias=get(values, "mlp_bias", bool, False)),
        NormConfig("rms", get(values, "rms_norm_eps", float, 1e-6)),
    )
    return ModelConfig(
        vocab_size=get(values, "vocab_size", int),
        d_model=d_model,
        context_length=read_context_length(values, rope),
        blocks=(block,) * get(values, "num_hidden_layers", int),
        norm=block.norm,
        tied_embeddings=get(values, "tie_word_embeddings", bool, False),
        **read_token_ids(values),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, feedforward, rope = plain_parts(config)
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": len(config.blocks),
        "num_attention_heads": attention.n_heads,
        "num_key_value_heads": attention.n_kv_heads,
        "head_dim": attention.head_dim,
        "attention_bias": attention.bias,
        "intermediate_size": feedforward.d_ff,
        "mlp_bias": feedforward.bias,
        "hidden_act": feedforward.activation,
        "rms_norm_eps": config.norm.eps,
        **write_rope(rope, attention.head_dim, config.context_length),
        "tie_word_embeddings": config.tied_embeddings,
    }


LLAMA = Family("llama", "LlamaForCausalLM", read, write, NAMES)
