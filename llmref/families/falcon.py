"""Falcon: attention and feedforward read the stream side by side, and few heads hold the keys and values.

Falcon 7B has one key/value head, and one LayerNorm for both layers; Falcon 40B has groups, and a LayerNorm
for each. Source: Almazrouei et al., "The Falcon Series of Open Language Models" (2023), section 4.3.
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.families import llama
from llmref.families.family import Family, Names, Packed, Rows
from llmref.families.values import (
    dense_parts,
    even_share,
    get,
    only,
    plain_parts,
    positive,
    read_activation,
    read_rope,
    renamed,
    write_activation,
    write_rope,
)

OLDER_NAMES = {
    "n_embed": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_head_kv": "num_kv_heads",
}


def names(config: ModelConfig) -> Names:
    """Their name for each of ours: the norms are called otherwise where a parallel block has two."""
    block, (attention, _) = config.blocks[0], dense_parts(config)
    norms = ("input_layernorm", "post_attention_layernorm")
    if block.residual == "parallel" and not block.shared_norm:
        norms = ("ln_attn", "ln_mlp")
    return {
        "transformer.word_embeddings": "embedding",
        f"transformer.h.{{block}}.{norms[0]}": "blocks.{block}.attention_norm",
        "transformer.h.{block}.self_attention.query_key_value": Packed(
            (
                "blocks.{block}.attention.query",
                "blocks.{block}.attention.key",
                "blocks.{block}.attention.value",
            ),
            Rows(groups=attention.n_kv_heads),
        ),
        "transformer.h.{block}.self_attention.dense": "blocks.{block}.attention.output",
        f"transformer.h.{{block}}.{norms[1]}": "blocks.{block}.feedforward_norm",
        "transformer.h.{block}.mlp.dense_h_to_4h": "blocks.{block}.feedforward.up",
        "transformer.h.{block}.mlp.dense_4h_to_h": "blocks.{block}.feedforward.down",
        "transformer.ln_f": "final_norm",
        "lm_head": "lm_head",
    }


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {"max_position_embeddings": 2048, **renamed(values, OLDER_NAMES)}
    # The models with ALiBi (Falcon-RW) were trained with a bias rounded to bfloat16, which ours is not.
    only(values, "alibi", None, False)
    only(values, "apply_residual_connection_post_layernorm", None, False)
    n_heads, d_model = get(values, "num_attention_heads", int), get(values, "hidden_size", int)
    head_dim = even_share(d_model, n_heads)
    parallel = get(values, "parallel_attn", bool, True)
    if get(values, "new_decoder_architecture", bool, False):
        only(values, "parallel_attn", None, True)
        only(values, "num_ln_in_parallel_attn", None, 1, 2)
        n_kv_heads = get(values, "num_kv_heads", int, n_heads)
        shared_norm = values.get("num_ln_in_parallel_attn") == 1
    else:
        only(values, "num_ln_in_parallel_attn", None, 1)
        n_kv_heads = 1 if get(values, "multi_query", bool, True) else n_heads
        shared_norm = parallel
        if n_kv_heads > 1:
            only(values, "num_kv_heads", None, n_heads)
    bias = get(values, "bias", bool, False)
    block = BlockConfig(
        AttentionConfig(
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            head_dim=head_dim,
            bias=bias,
            output_bias=bias,
            rope=read_rope(values, head_dim),
        ),
        FeedForwardConfig(
            get(values, "ffn_hidden_size", int, 4 * d_model),
            read_activation(values, "activation", "gelu"),
            gated=False,
            bias=bias,
        ),
        NormConfig("layer", get(values, "layer_norm_epsilon", float, 1e-5)),
        residual="parallel" if parallel else "serial",
        shared_norm=shared_norm,
    )
    blocks = (block,) * positive(values, "num_hidden_layers")
    return llama.model(values, blocks, tied=True)


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, feedforward, rope = plain_parts(config)
    block = config.blocks[0]
    parallel, all_or_one = block.residual == "parallel", attention.n_kv_heads in (1, attention.n_heads)
    newer = parallel and not (block.shared_norm and all_or_one)
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": len(config.blocks),
        "num_attention_heads": attention.n_heads,
        "new_decoder_architecture": newer,
        "num_kv_heads": attention.n_kv_heads,
        "multi_query": attention.n_kv_heads == 1,
        "parallel_attn": parallel,
        "num_ln_in_parallel_attn": (1 if block.shared_norm else 2) if newer else None,
        "bias": attention.bias,
        "ffn_hidden_size": feedforward.d_ff,
        "activation": write_activation(feedforward.activation),
        "layer_norm_epsilon": config.norm.eps,
        **write_rope(rope, attention.head_dim, config.context_length),
        "tie_word_embeddings": config.tied_embeddings,
    }


FALCON = Family("falcon", "FalconForCausalLM", read, write, names)
