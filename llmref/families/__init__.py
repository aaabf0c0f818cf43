"""Published families of models, each a short file: its config as a difference, and its names for tensors."""

from collections.abc import Mapping
from typing import Any

from llmref.families.bloom import BLOOM
from llmref.families.cohere import COHERE
from llmref.families.deepseek_v2 import DEEPSEEK_V2
from llmref.families.deepseek_v3 import DEEPSEEK_V3
from llmref.families.difference import Difference, Differences, diff, differences
from llmref.families.falcon import FALCON
from llmref.families.family import Family, Packed, Rows, Stored, Transposed
from llmref.families.gemma2 import GEMMA2
from llmref.families.gemma3 import GEMMA3
from llmref.families.gpt2 import GPT2
from llmref.families.gpt_neox import GPT_NEOX
from llmref.families.gpt_oss import GPT_OSS
from llmref.families.granite import GRANITE
from llmref.families.llama import LLAMA
from llmref.families.mistral import MISTRAL
from llmref.families.mixtral import MIXTRAL
from llmref.families.mpt import MPT
from llmref.families.olmo2 import OLMO2
from llmref.families.phi3 import PHI3
from llmref.families.qwen2 import QWEN2
from llmref.families.qwen3 import QWEN3
from llmref.families.qwen3_moe import QWEN3_MOE
from llmref.families.smollm3 import SMOLLM3
from llmref.families.starcoder2 import STARCODER2

__all__ = [
    "FAMILIES",
    "Difference",
    "Differences",
    "Family",
    "Packed",
    "Rows",
    "Stored",
    "Transposed",
    "diff",
    "differences",
    "family_of",
]

FAMILIES = {
    family.model_type: family
    for family in (
        BLOOM,
        COHERE,
        DEEPSEEK_V2,
        DEEPSEEK_V3,
        FALCON,
        GEMMA2,
        GEMMA3,
        GPT2,
        GPT_NEOX,
        GPT_OSS,
        GRANITE,
        LLAMA,
        MISTRAL,
        MIXTRAL,
        MPT,
        OLMO2,
        PHI3,
        QWEN2,
        QWEN3,
        QWEN3_MOE,
        SMOLLM3,
        STARCODER2,
    )
}


def family_of(values: Mapping[str, Any]) -> Family:
    """The family that a `config.json` names.

    Raises:
        ValueError: If it names none, or one that is not known; the message lists those that are.

    >>> family_of({"model_type": "llama"}).architecture
    'LlamaForCausalLM'
    """
    name = values.get("model_type")
    if name not in FAMILIES:
        raise ValueError(f"model_type must be one of {', '.join(sorted(FAMILIES))}, found {name!r}")
    return FAMILIES[name]
