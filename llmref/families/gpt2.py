"""GPT-2: learned positions, LayerNorm, a plain feedforward with GELU, and biases everywhere.

Its matrices are stored with rows and columns changed over. Source: Radford et al., "Language Models are
Unsupervised Multitask Learners" (2019), section 2.3.
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.families.family import Family, Names, Packed, Transposed
from llmref.families.values import (
    dense_parts,
    even_share,
    get,
    only,
    read_activation,
    read_token_ids,
    write_activation,
)

NAMES: Names = {
    "transformer.wte": "embedding",
    "transformer.wpe": "positional_embedding",
    "transformer.h.{block}.ln_1": "blocks.{block}.attention_norm",
    "transformer.h.{block}.attn.c_attn": Packed(
        (
            "blocks.{block}.attention.query",
            "blocks.{block}.attention.key",
            "blocks.{block}.attention.value",
        ),
        Transposed(),
    ),
    "transformer.h.{block}.attn.c_proj": Packed(("blocks.{block}.attention.output",), Transposed()),
    "transformer.h.{block}.ln_2": "blocks.{block}.feedforward_norm",
    "transformer.h.{block}.mlp.c_fc": Packed(("blocks.{block}.feedforward.up",), Transposed()),
    "transformer.h.{block}.mlp.c_proj": Packed(("blocks.{block}.feedforward.down",), Transposed()),
    "transformer.ln_f": "final_norm",
    "lm_head": "lm_head",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    only(values, "scale_attn_by_inverse_layer_idx", None, False)
    only(values, "add_cross_attention", None, False)
    n_heads, d_model = get(values, "n_head", int), get(values, "n_embd", int)
    block = BlockConfig(
        AttentionConfig(
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=even_share(d_model, n_heads),
            bias=True,
            output_bias=True,
            rope=None,
            scale=None if get(values, "scale_attn_weights", bool, True) else 1.0,
        ),
        FeedForwardConfig(
            get(values, "n_inner", int, 4 * d_model),
            read_activation(values, "activation_function", "gelu_new"),
            gated=False,
            bias=True,
        ),
        NormConfig("layer", get(values, "layer_norm_epsilon", float, 1e-5)),
    )
    return ModelConfig(
        vocab_size=get(values, "vocab_size", int),
        d_model=d_model,
        context_length=get(values, "n_positions", int),
        blocks=(block,) * get(values, "n_layer", int),
        norm=block.norm,
        tied_embeddings=get(values, "tie_word_embeddings", bool, True),
        positional_embedding="learned",
        **read_token_ids(values),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, feedforward = dense_parts(config)
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.d_model,
        "n_layer": len(config.blocks),
        "n_head": attention.n_heads,
        "n_inner": feedforward.d_ff,
        "activation_function": write_activation(feedforward.activation),
        "layer_norm_epsilon": config.norm.eps,
        "scale_attn_weights": attention.scale is None,
        "tie_word_embeddings": config.tied_embeddings,
    }


GPT2 = Family(
    "gpt2",
    "GPT2LMHeadModel",
    read,
    write,
    NAMES,
    ignored=(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",),  # the causal mask
    prefix="transformer.",
)
