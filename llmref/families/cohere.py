"""Cohere's Command R: attention and feedforward read the stream through one norm and add to it together.

The norm is LayerNorm without a bias, pairs of a rotation lie side by side, logits are scaled, and Command R+
normalizes each head's queries and keys with a weight of the head's own. No paper describes it; its source is
the published checkpoints, c4ai-command-r-v01 and c4ai-command-r-plus (2024).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from llmref.config import BlockConfig, ModelConfig, NormConfig, QueryKeyNormConfig
from llmref.families import llama
from llmref.families.family import Family, Names, Packed
from llmref.families.values import get, only, plain_parts, positive, read_rope

# What the family's files mean where they are silent.
DEFAULTS = {"layer_norm_eps": 1e-5, "logit_scale": 0.0625, "tie_word_embeddings": True}


class RowOfEachHead:
    """A norm's weight for each head: a row of a matrix there, and (heads, 1, head_dim) here."""

    def pack(self, ours: Sequence[Tensor]) -> Tensor:
        """The stored tensor, from ours."""
        return ours[0].squeeze(1)

    def unpack(self, stored: Tensor, ours: Sequence[Tensor]) -> Sequence[Tensor]:
        """Ours, from the stored tensor."""
        return [stored.unsqueeze(1)]


NAMES: Names = {
    **llama.NAMES,
    "model.layers.{block}.self_attn.q_norm": Packed(
        ("blocks.{block}.attention.query_norm.norm",), RowOfEachHead()
    ),
    "model.layers.{block}.self_attn.k_norm": Packed(
        ("blocks.{block}.attention.key_norm.norm",), RowOfEachHead()
    ),
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "mlp_bias", None, False)
    norm = NormConfig("layer", get(values, "layer_norm_eps", float), bias=False)
    rope = read_rope(values, llama.head_dim(values), base=500_000.0, layout="interleaved")
    attention = llama.attention(values, rope)
    if get(values, "use_qk_norm", bool, False):
        attention = replace(attention, query_key_norm=QueryKeyNormConfig(norm, "each_head"))
    block = BlockConfig(attention, llama.feedforward(values), norm, residual="parallel", shared_norm=True)
    model = llama.model(values, (block,) * positive(values, "num_hidden_layers"))
    return replace(model, logit_multiplier=get(values, "logit_scale", float))


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, _, _ = plain_parts(config)
    return {
        **llama.write(config),
        "layer_norm_eps": config.norm.eps,
        "logit_scale": config.logit_multiplier,
        "use_qk_norm": attention.query_key_norm is not None,
    }


COHERE = Family("cohere", "CohereForCausalLM", read, write, NAMES)
