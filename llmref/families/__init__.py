"""Published families of models, each a short file: its config as a difference, and its names for tensors."""

from collections.abc import Mapping
from typing import Any

from llmref.families.difference import Difference, differences
from llmref.families.family import Family, Packed, Rows, Stored, Transposed
from llmref.families.llama import LLAMA

__all__ = [
    "FAMILIES",
    "Difference",
    "Family",
    "Packed",
    "Rows",
    "Stored",
    "Transposed",
    "differences",
    "family_of",
]

FAMILIES = {family.model_type: family for family in (LLAMA,)}


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
