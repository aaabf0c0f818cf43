"""StarCoder2: the plain block with LayerNorm, a plain feedforward with GELU, and biases; some have a window.

Source: Lozhkov et al., "StarCoder 2 and The Stack v2: The Next Generation" (2024), section 6.
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.families.family import Family
from llmref.families.values import (
    even_share,
    get,
    only,
    plain_parts,
    read_activation,
    read_context_length,
    read_rope,
    read_token_ids,
    write_activation,
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
    "model.layers.{block}.mlp.c_fc": "blocks.{block}.feedforward.up",
    "model.layers.{block}.mlp.c_proj": "blocks.{block}.feedforward.down",
    "model.norm": "final_norm",
    "lm_head": "lm_head",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    only(values, "norm_type", None, "layer_norm")
    only(values, "mlp_type", None, "default")
    n_heads, d_model = get(values, "num_attention_heads", int), get(values, "hidden_size", int)
    head_dim = get(values, "head_dim", int, None) or even_share(d_model, n_heads)
    bias = get(values, "use_bias", bool, True)
    block = BlockConfig(
        AttentionConfig(
            n_heads=n_heads,
            n_kv_heads=get(values, "num_key_value_heads", int),
            head_dim=head_dim,
            window=get(values, "sliding_window", int, None),
            bias=bias,
            output_bias=bias,
            rope=(rope := read_rope(values, head_dim)),
        ),
        FeedForwardConfig(
            get(values, "intermediate_size", int),
            read_activation(values, "hidden_act", "gelu_pytorch_tanh"),
            gated=False,
            bias=bias,
        ),
        NormConfig("layer", get(values, "norm_epsilon", float, 1e-5)),
    )
    return ModelConfig(
        vocab_size=get(values, "vocab_size", int),
        d_model=d_model,
        context_length=read_context_length(values, rope),
        blocks=(block,) * get(values, "num_hidden_layers", int),
        norm=block.norm,
        tied_embeddings=get(values, "tie_word_embeddings", bool, True),
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
        "sliding_window": attention.window,
        "use_bias": attention.bias,
        "intermediate_size": feedforward.d_ff,
        "hidden_act": write_activation(feedforward.activation),
        "norm_epsilon": config.norm.eps,
        **write_rope(rope, attention.head_dim, config.context_length),
        "tie_word_embeddings": config.tied_embeddings,
    }


STARCODER2 = Family("starcoder2", "Starcoder2ForCausalLM", read, write, NAMES)
