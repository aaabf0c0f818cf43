"""Gemma 3, the text model: five blocks of six have a window, and rotate with a smaller base than the sixth.

Otherwise it is Gemma 2 with a norm of queries and keys in the place of the caps. Source: Gemma Team, "Gemma 3
Technical Report" (2025), section 2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import ModelConfig, QueryKeyNormConfig, RopeConfig
from llmref.families import gemma2, llama
from llmref.families.family import Family
from llmref.families.values import (
    FULL,
    SLIDING,
    get,
    only,
    plain_parts,
    positive,
    read_rope,
    read_windows,
    write_rope,
)

# What the family's files mean where they are silent.
DEFAULTS = {
    **gemma2.DEFAULTS,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "sliding_window_pattern": 6,
}
NAMES = {
    **gemma2.NAMES,
    "model.layers.{block}.self_attn.q_norm": "blocks.{block}.attention.query_norm.norm",
    "model.layers.{block}.self_attn.k_norm": "blocks.{block}.attention.key_norm.norm",
}


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    values = {**DEFAULTS, **values}
    only(values, "attn_logit_softcapping", None)
    distant, near = positions(values)
    attention = replace(
        llama.attention(values, rope=distant),
        scale=gemma2.scale(values),
        query_key_norm=QueryKeyNormConfig(gemma2.norm(values)),
    )
    period = positive(values, "sliding_window_pattern")
    layers = [
        attention if window is None else replace(attention, window=window, rope=near)
        for window in read_windows(values, lambda layer: (layer + 1) % period != 0)
    ]
    # Unlike elsewhere the length in the file is the one after the scaling.
    return replace(gemma2.model(values, layers), context_length=positive(values, "max_position_embeddings"))


def positions(values: Mapping[str, Any]) -> tuple[RopeConfig, RopeConfig]:
    """The rotation of blocks that see all tokens, and of those that have a window, which is never scaled."""
    head_dim = llama.head_dim(values)
    local = {"rope_theta": get(values, "rope_local_base_freq", float, 10_000.0), "rope_scaling": None}
    return (
        read_rope(values, head_dim, base=1_000_000.0, layers=FULL),
        read_rope({**values, **local}, head_dim, layers=SLIDING),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, _, _ = plain_parts(config)
    ropes = {block.attention.window is None: block.attention.rope for block in config.blocks}
    distant, near = (ropes.get(sees_all) or RopeConfig() for sees_all in (True, False))
    return {
        **gemma2.write(config),
        **write_rope(distant, attention.head_dim, config.context_length),
        "max_position_embeddings": config.context_length,
        "rope_local_base_freq": near.base,
    }


GEMMA3 = Family("gemma3_text", "Gemma3ForCausalLM", read, write, NAMES)
