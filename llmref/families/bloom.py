"""Bloom: ALiBi instead of rotation, and a LayerNorm between the embedding and the first block.

A plain feedforward with GELU, biases everywhere. Source: BigScience Workshop, "BLOOM: A 176B-Parameter
Open-Access Multilingual Language Model" (2022), section 3.2.
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.families.family import Family, Names, Packed, Rows
from llmref.families.values import dense_parts, even_share, get, only, read_token_ids, renamed

NAMES: Names = {
    "transformer.word_embeddings": "embedding",
    "transformer.word_embeddings_layernorm": "embedding_norm",
    "transformer.h.{block}.input_layernorm": "blocks.{block}.attention_norm",
    "transformer.h.{block}.self_attention.query_key_value": Packed(
        (
            "blocks.{block}.attention.query",
            "blocks.{block}.attention.key",
            "blocks.{block}.attention.value",
        ),
        lambda config: Rows(groups=config.blocks[0].attention.n_heads),
    ),
    "transformer.h.{block}.self_attention.dense": "blocks.{block}.attention.output",
    "transformer.h.{block}.post_attention_layernorm": "blocks.{block}.feedforward_norm",
    "transformer.h.{block}.mlp.dense_h_to_4h": "blocks.{block}.feedforward.up",
    "transformer.h.{block}.mlp.dense_4h_to_h": "blocks.{block}.feedforward.down",
    "transformer.ln_f": "final_norm",
    "lm_head": "lm_head",
}
OLDER_NAMES = {"n_embed": "hidden_size", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = renamed(values, OLDER_NAMES)
    n_heads, d_model = get(values, "n_head", int), get(values, "hidden_size", int)
    only(values, "apply_residual_connection_post_layernorm", None, False)
    only(values, "slow_but_exact", None, False)
    only(values, "n_inner", None, 4 * d_model)
    block = BlockConfig(
        AttentionConfig(
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=even_share(d_model, n_heads),
            bias=True,
            output_bias=True,
            rope=None,
            alibi=True,
        ),
        FeedForwardConfig(4 * d_model, "gelu_tanh", gated=False, bias=True),
        NormConfig("layer", get(values, "layer_norm_epsilon", float, 1e-5)),
    )
    return ModelConfig(
        vocab_size=get(values, "vocab_size", int),
        d_model=d_model,
        context_length=get(values, "seq_length", int, 2048),  # ALiBi knows no end; that of the training
        blocks=(block,) * get(values, "n_layer", int),
        norm=block.norm,
        tied_embeddings=get(values, "tie_word_embeddings", bool, True),
        embedding_norm=True,
        **read_token_ids(values),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, _ = dense_parts(config)
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "n_layer": len(config.blocks),
        "n_head": attention.n_heads,
        "seq_length": config.context_length,
        "layer_norm_epsilon": config.norm.eps,
        "tie_word_embeddings": config.tied_embeddings,
    }


BLOOM = Family("bloom", "BloomForCausalLM", read, write, NAMES, prefix="transformer.")
