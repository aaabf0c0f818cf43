"""StarCoder2: the plain block with LayerNorm, a plain feedforward with GELU, and biases; some have a window.

Source: Lozhkov et al., "StarCoder 2 and The Stack v2: The Next Generation" (2024), section 6.
"""

from collections.abc import Mapping
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.families import llama
from llmref.families.family import Family
from llmref.families.values import (
    get,
    only,
    plain_parts,
    positive,
    read_activation,
    read_rope,
    write_activation,
    write_rope,
)

NAMES = {
    **{theirs: ours for theirs, ours in llama.NAMES.items() if ".mlp." not in theirs},
    "model.layers.{block}.mlp.c_fc": "blocks.{block}.feedforward.up",
    "model.layers.{block}.mlp.c_proj": "blocks.{block}.feedforward.down",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    only(values, "norm_type", None, "layer_norm")
    only(values, "mlp_type", None, "default")
    head_dim = llama.head_dim(values)
    bias = get(values, "use_bias", bool, True)
    block = BlockConfig(
        AttentionConfig(
            n_heads=get(values, "num_attention_heads", int),
            n_kv_heads=get(values, "num_key_value_heads", int),
            head_dim=head_dim,
            window=get(values, "sliding_window", int, None),
            bias=bias,
            output_bias=bias,
            rope=read_rope(values, head_dim),
        ),
        FeedForwardConfig(
            get(values, "intermediate_size", int),
            read_activation(values, "hidden_act", "gelu_pytorch_tanh"),
            gated=False,
            bias=bias,
        ),
        NormConfig("layer", get(values, "norm_epsilon", float, 1e-5)),
    )
    blocks = (block,) * positive(values, "num_hidden_layers")
    return llama.model(values, blocks, tied=True)


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
