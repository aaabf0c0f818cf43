"""GPT-NeoX and Pythia: attention and feedforward read the stream side by side, and a part of a head rotates.

Each has its own LayerNorm and they add together; biases everywhere. Source: Black et al., "GPT-NeoX-20B"
(2022), section 2.1.
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.families import llama
from llmref.families.family import Family, Names, Packed, Rows
from llmref.families.values import (
    even_share,
    get,
    plain_parts,
    positive,
    read_activation,
    read_rope,
    renamed,
    write_activation,
    write_rope,
)

NAMES: Names = {
    "gpt_neox.embed_in": "embedding",
    "gpt_neox.layers.{block}.input_layernorm": "blocks.{block}.attention_norm",
    "gpt_neox.layers.{block}.attention.query_key_value": Packed(
        (
            "blocks.{block}.attention.query",
            "blocks.{block}.attention.key",
            "blocks.{block}.attention.value",
        ),
        lambda config: Rows(groups=config.blocks[0].attention.n_heads),
    ),
    "gpt_neox.layers.{block}.attention.dense": "blocks.{block}.attention.output",
    "gpt_neox.layers.{block}.post_attention_layernorm": "blocks.{block}.feedforward_norm",
    "gpt_neox.layers.{block}.mlp.dense_h_to_4h": "blocks.{block}.feedforward.up",
    "gpt_neox.layers.{block}.mlp.dense_4h_to_h": "blocks.{block}.feedforward.down",
    "gpt_neox.final_layer_norm": "final_norm",
    "embed_out": "lm_head",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = renamed(values, {"rotary_pct": "partial_rotary_factor", "rotary_emb_base": "rope_theta"})
    values.setdefault("partial_rotary_factor", 0.25)
    n_heads, d_model = get(values, "num_attention_heads", int), get(values, "hidden_size", int)
    head_dim = even_share(d_model, n_heads)
    bias = get(values, "attention_bias", bool, True)
    block = BlockConfig(
        AttentionConfig(
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=head_dim,
            bias=bias,
            output_bias=bias,
            rope=read_rope(values, head_dim),
        ),
        FeedForwardConfig(
            get(values, "intermediate_size", int),
            read_activation(values, "hidden_act", "gelu"),
            gated=False,
            bias=True,
        ),
        NormConfig("layer", get(values, "layer_norm_eps", float, 1e-5)),
        residual="parallel" if get(values, "use_parallel_residual", bool, True) else "serial",
    )
    blocks = (block,) * positive(values, "num_hidden_layers")
    return llama.model(values, blocks)


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, feedforward, rope = plain_parts(config)
    rotation = write_rope(rope, attention.head_dim, config.context_length)
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": len(config.blocks),
        "num_attention_heads": attention.n_heads,
        "attention_bias": attention.bias,
        "intermediate_size": feedforward.d_ff,
        "hidden_act": write_activation(feedforward.activation),
        "layer_norm_eps": config.norm.eps,
        "use_parallel_residual": config.blocks[0].residual == "parallel",
        "rotary_emb_base": rotation.pop("rope_theta"),
        "rotary_pct": rotation.pop("partial_rotary_factor", 1.0),
        **rotation,
        "tie_word_embeddings": config.tied_embeddings,
    }


GPT_NEOX = Family(
    "gpt_neox",
    "GPTNeoXForCausalLM",
    read,
    write,
    NAMES,
    ignored=(r"gpt_neox\.layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",),
)
