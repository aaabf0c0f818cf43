"""MPT: ALiBi instead of rotation, and no bias anywhere, in its LayerNorms neither.

Sources: MosaicML NLP Team, "Introducing MPT-7B" (2023); Press et al., "Train Short, Test Long" (2021),
section 3 (ALiBi).
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.families.family import Family, Names, Packed
from llmref.families.values import dense_parts, even_share, get, only, read_token_ids

NAMES: Names = {
    "transformer.wte": "embedding",
    "transformer.blocks.{block}.norm_1": "blocks.{block}.attention_norm",
    "transformer.blocks.{block}.attn.Wqkv": Packed(
        (
            "blocks.{block}.attention.query",
            "blocks.{block}.attention.key",
            "blocks.{block}.attention.value",
        )
    ),
    "transformer.blocks.{block}.attn.out_proj": "blocks.{block}.attention.output",
    "transformer.blocks.{block}.norm_2": "blocks.{block}.feedforward_norm",
    "transformer.blocks.{block}.ffn.up_proj": "blocks.{block}.feedforward.up",
    "transformer.blocks.{block}.ffn.down_proj": "blocks.{block}.feedforward.down",
    "transformer.norm_f": "final_norm",
    "lm_head": "lm_head",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    said = get(values, "attn_config", dict)
    only(said, "alibi", True)
    only(said, "alibi_bias_max", None, 8)
    only(said, "attn_type", None, "multihead_attention")
    for name in ("prefix_lm", "qk_ln", "attn_uses_sequence_id"):
        only(said, name, None, False)
    only(said, "clip_qkv", None)
    only(values, "no_bias", None, True)
    only(values, "expansion_ratio", None, 4)
    only(values, "logit_scale", None)
    only(values, "norm_type", None, "low_precision_layernorm", "layernorm")
    n_heads, d_model = get(values, "n_heads", int), get(values, "d_model", int)
    block = BlockConfig(
        AttentionConfig(
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=even_share(d_model, n_heads),
            rope=None,
            alibi=True,
            scale=get(said, "softmax_scale", float, None),
        ),
        FeedForwardConfig(4 * d_model, "gelu", gated=False),
        NormConfig("layer", get(values, "layer_norm_epsilon", float, 1e-5), bias=False),
    )
    return ModelConfig(
        vocab_size=get(values, "vocab_size", int),
        d_model=d_model,
        context_length=get(values, "max_seq_len", int),
        blocks=(block,) * get(values, "n_layers", int),
        norm=block.norm,
        tied_embeddings=get(values, "tie_word_embeddings", bool, True),
        **read_token_ids(values),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, _ = dense_parts(config)
    return {
        "vocab_size": config.vocab_size,
        "d_model": config.d_model,
        "n_layers": len(config.blocks),
        "n_heads": attention.n_heads,
        "max_seq_len": config.context_length,
        "expansion_ratio": 4,
        "no_bias": True,
        "layer_norm_epsilon": config.norm.eps,
        "attn_config": {"alibi": True, "softmax_scale": attention.scale},
        "tie_word_embeddings": config.tied_embeddings,
    }


MPT = Family("mpt", "MptForCausalLM", read, write, NAMES)
