"""Granite 3: Llama's block with four multipliers, so that what was tuned on a small model fits a large one.

Source: Granite Team, IBM, "Granite 3.0 Language Models" (2024), after Yang et al., "Tensor Programs V"
(2022), section 4.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmref.config import ModelConfig
from llmref.families import llama
from llmref.families.family import Family
from llmref.families.values import get, plain_parts


def read(values: Mapping[str, Any]) -> ModelConfig:
    """The config that a `config.json` describes."""
    config = llama.read(values)
    block = config.blocks[0]
    block = replace(
        block,
        attention=replace(block.attention, scale=get(values, "attention_multiplier", float, 1.0)),
        residual_multiplier=get(values, "residual_multiplier", float, 1.0),
    )
    return replace(
        config,
        blocks=(block,) * len(config.blocks),
        embedding_multiplier=get(values, "embedding_multiplier", float, 1.0),
        logit_multiplier=1 / get(values, "logits_scaling", float, 1.0),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of it."""
    attention, _, _ = plain_parts(config)
    return {
        **llama.write(config),
        "attention_multiplier": attention.scale,
        "residual_multiplier": config.blocks[0].residual_multiplier,
        "embedding_multiplier": config.embedding_multiplier,
        "logits_scaling": 1 / config.logit_multiplier,
    }


GRANITE = Family("granite", "GraniteForCausalLM", read, write, llama.NAMES)
