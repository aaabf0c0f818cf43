"""Llama 2 and 3: the plain block of today. The other families are told as differences from it.

Source: Touvron et al., "Llama 2" (2023), section 2.2; Grattafiori et al., "The Llama 3 Herd of Models"
(2024), section 3.2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from llmref.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    ModelConfig,
    NormConfig,
    RopeConfig,
)
from llmref.families.family import Family
from llmref.families.values import (
    even_share,
    first_rotation,
    get,
    plain_parts,
    positive,
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
    "model.layers.{block}.mlp.gate_proj": "blocks.{block}.feedforward.gate",
    "model.layers.{block}.mlp.up_proj": "blocks.{block}.feedforward.up",
    "model.layers.{block}.mlp.down_proj": "blocks.{block}.feedforward.down",
    "model.norm": "final_norm",
    "lm_head": "lm_head",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    block = BlockConfig(attention(values), feedforward(values), norm(values))
    return model(values, (block,) * positive(values, "num_hidden_layers"))


def head_dim(values: Mapping[str, Any]) -> int:
    """The size of a head: what `config.json` says, or an equal share of the stream's width."""
    d_model, n_heads = get(values, "hidden_size", int), get(values, "num_attention_heads", int)
    return get(values, "head_dim", int, None) or even_share(d_model, n_heads)


def attention(values: Mapping[str, Any], rope: RopeConfig | None = None) -> AttentionConfig:
    """The attention layer; `rope` where its positions are not those of the whole head, in halves."""
    if rope is None:
        rope = read_rope(values, head_dim(values))
        if rope.dims is not None:
            raise ValueError(
                f"all {head_dim(values)} dimensions of a head must be rotated, found {rope.dims}"
            )
    n_heads, bias = get(values, "num_attention_heads", int), get(values, "attention_bias", bool, False)
    return AttentionConfig(
        n_heads=n_heads,
        n_kv_heads=get(values, "num_key_value_heads", int, n_heads),
        head_dim=head_dim(values),
        bias=bias,
        output_bias=bias,
        rope=rope,
    )


def feedforward(values: Mapping[str, Any]) -> FeedForwardConfig:
    """The feedforward layer, gated."""
    return FeedForwardConfig(
        get(values, "intermediate_size", int),
        read_activation(values, "hidden_act", "silu"),
        bias=get(values, "mlp_bias", bool, False),
    )


def norm(values: Mapping[str, Any]) -> NormConfig:
    """The normalization of every layer."""
    return NormConfig("rms", get(values, "rms_norm_eps", float, 1e-6))


def model(values: Mapping[str, Any], blocks: Sequence[BlockConfig], tied: bool = False) -> ModelConfig:
    """The model with these blocks; `tied` is what a file means that says nothing of its embeddings."""
    return ModelConfig(
        vocab_size=get(values, "vocab_size", int),
        d_model=get(values, "hidden_size", int),
        context_length=read_context_length(values, first_rotation(blocks)),
        blocks=tuple(blocks),
        norm=blocks[0].norm,
        tied_embeddings=get(values, "tie_word_embeddings", bool, tied),
        **read_token_ids(values),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, feedforward, _ = plain_parts(config)
    return {**write_plain(config), "attention_bias": attention.bias, "mlp_bias": feedforward.bias}


def write_plain(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it where the family has no word for a bias."""
    attention, feedforward, rope = plain_parts(config)
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": len(config.blocks),
        "num_attention_heads": attention.n_heads,
        "num_key_value_heads": attention.n_kv_heads,
        "head_dim": attention.head_dim,
        "intermediate_size": feedforward.d_ff,
        "hidden_act": write_activation(feedforward.activation),
        "rms_norm_eps": config.norm.eps,
        **write_rope(rope, attention.head_dim, config.context_length),
        "tie_word_embeddings": config.tied_embeddings,
    }


LLAMA = Family("llama", "LlamaForCausalLM", read, write, NAMES)
