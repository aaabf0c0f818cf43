"""gpt-oss: experts with a clamped gate and biases, learned sinks, and a window in every other layer.

Source: OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card" (2025), section 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from llmref.config import BlockConfig, FeedForwardConfig, MixtureConfig, ModelConfig, RouterConfig
from llmref.families import llama
from llmref.families.experts import first_mixture, without_mixtures
from llmref.families.family import Family, Names, Packed
from llmref.families.values import get, only, plain_parts, read_windows, write_windows

# What the family's files mean where they are silent.
DEFAULTS = {
    "num_key_value_heads": 8,
    "head_dim": 64,
    "sliding_window": 128,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "swiglu_limit": 7.0,
    "rms_norm_eps": 1e-5,
    "rope_theta": 150_000.0,
    "attention_bias": True,
}
DEFAULT_SCALING = {
    "rope_type": "yarn",
    "factor": 32.0,
    "original_max_position_embeddings": 4096,
    "truncate": False,
}


@dataclass(frozen=True)
class Stacked:
    """All experts in one tensor, with their matrices transposed; the rows of `parts` matrices take turns.

    >>> gates_then_ups = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8]]).unbind()  # of two experts
    >>> Stacked(parts=2).pack(gates_then_ups).tolist()
    [[1, 5, 2, 6], [3, 7, 4, 8]]
    >>> [part.tolist() for part in Stacked(2).unpack(torch.tensor([[1, 5, 2, 6], [3, 7, 4, 8]]), [])]
    [[1, 2], [3, 4], [5, 6], [7, 8]]
    """

    parts: int = 1

    def pack(self, ours: Sequence[Tensor]) -> Tensor:
        """The stored tensor, from ours: the first part of every expert, then the next."""
        each = torch.stack(list(ours)).unflatten(0, (self.parts, -1))  # parts, experts, rows, columns
        mixed = each.movedim(0, 2).flatten(1, 2)
        return mixed.mT if mixed.ndim == 3 else mixed

    def unpack(self, stored: Tensor, ours: Sequence[Tensor]) -> Sequence[Tensor]:
        """Ours, from the stored tensor."""
        mixed = stored.mT if stored.ndim == 3 else stored
        each = mixed.unflatten(1, (-1, self.parts)).movedim(2, 0).flatten(0, 1)
        return [part.contiguous() for part in each]


_MLP, _EXPERTS = "model.layers.{block}.mlp", "blocks.{block}.feedforward.experts.{every}"
NAMES: Names = {
    **{theirs: ours for theirs, ours in llama.NAMES.items() if ".mlp." not in theirs},
    "model.layers.{block}.self_attn.sinks": "blocks.{block}.attention.sinks",
    f"{_MLP}.router": "blocks.{block}.feedforward.router",
    f"{_MLP}.experts.gate_up_proj": Packed((f"{_EXPERTS}.gate.weight", f"{_EXPERTS}.up.weight"), Stacked(2)),
    f"{_MLP}.experts.gate_up_proj_bias": Packed((f"{_EXPERTS}.gate.bias", f"{_EXPERTS}.up.bias"), Stacked(2)),
    f"{_MLP}.experts.down_proj": Packed((f"{_EXPERTS}.down.weight",), Stacked()),
    f"{_MLP}.experts.down_proj_bias": Packed((f"{_EXPERTS}.down.bias",), Stacked()),
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "hidden_act", None, "silu")
    only(values, "swiglu_alpha", None, 1.702)
    if values.get("rope_parameters") is None and values.get("rope_scaling") is None:
        values["rope_scaling"] = DEFAULT_SCALING
    attention, norm = replace(llama.attention(values), sinks=True), llama.norm(values)
    mixture = MixtureConfig(
        n_experts=get(values, "num_local_experts", int),
        n_active=get(values, "num_experts_per_tok", int),
        expert=FeedForwardConfig(
            get(values, "intermediate_size", int),
            "gelu_sigmoid",
            bias=True,
            limit=get(values, "swiglu_limit", float),
            up_offset=1.0,
        ),
        router=RouterConfig(bias=True),
    )
    blocks = [
        BlockConfig(replace(attention, window=window), mixture, norm)
        for window in read_windows(values, lambda layer: layer % 2 == 0)
    ]
    return llama.model(values, blocks)


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    mixture, dense = first_mixture(config), without_mixtures(config)
    attention, _, rope = plain_parts(dense)
    unscaled = {"rope_parameters": {"rope_type": "default", "rope_theta": rope.base}}  # silence means YaRN
    return {
        **llama.write_plain(dense),
        **(unscaled if rope.scaling is None else {}),
        **write_windows(config),
        "attention_bias": attention.bias,
        "hidden_act": "silu",
        "swiglu_limit": mixture.expert.limit,
        "num_local_experts": mixture.n_experts,
        "num_experts_per_tok": mixture.n_active,
    }


GPT_OSS = Family("gpt_oss", "GptOssForCausalLM", read, write, NAMES)
