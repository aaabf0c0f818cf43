"""What a checkpoint of a model contains: the model without its numbers, and how its tensors are stored."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from llmref.checkpoint.configuration import MODEL_TYPE
from llmref.config import MixtureConfig, ModelConfig
from llmref.families import FAMILIES, Rows, Stored
from llmref.model import Transformer

MOST_PARTS = 50_000  # blocks and experts; the largest known model has half as many


def outline(config: ModelConfig) -> Transformer:
    """The model on the meta device: its tensors have shapes and take no memory, whatever the config says.

    Raises:
        ValueError: If it has more blocks and experts than any known model, or sizes beyond all numbers.

    >>> from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig
    >>> block = BlockConfig(AttentionConfig(10**5, n_kv_heads=1, head_dim=8), FeedForwardConfig(10**6))
    >>> outline(ModelConfig(10**6, 10**5, 32, (block,))).n_parameters
    560001900000
    """
    parts = len(config.blocks)
    for block in config.blocks:
        parts += block.feedforward.n_experts if isinstance(block.feedforward, MixtureConfig) else 0
    if parts > MOST_PARTS:
        raise ValueError(f"blocks and experts must be at most {MOST_PARTS:,} together, found {parts:,}")
    try:
        with torch.device("meta"), _NothingDrawn():
            return Transformer(config)
    except (RuntimeError, TypeError) as error:  # sizes that PyTorch cannot count
        reason = str(error).splitlines()[0]
        raise ValueError(f"no tensor can be as large as this config says ({reason})") from None


class _NothingDrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights: where there are no numbers it does nothing, and slowly."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (init.normal_, init.uniform_, init.kaiming_uniform_):
            return kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def tensors_of(model: Transformer) -> dict[str, Tensor]:
    """The tensors that a checkpoint holds: all of a model's, a tied matrix once."""
    tensors = dict(model.state_dict())
    if model.config.tied_embeddings:
        del tensors["lm_head.weight"]
    return tensors


def stored_as(
    family: str, config: ModelConfig, ours: Mapping[str, Tensor], found: Collection[str] = ()
) -> list[Stored]:
    """How a checkpoint of that family holds our tensors; in our own format by their own names.

    Args:
        family: The family, or `MODEL_TYPE`.
        config: The model's config.
        ours: Our tensors.
        found: The names in the checkpoint, if there is one: it may leave out the family's prefix.

    Raises:
        ValueError: If the family has no name for a tensor.
    """
    if family == MODEL_TYPE:
        return [Stored(name, (name,), Rows()) for name in ours]
    stored = FAMILIES[family].stored(config, ours)
    return FAMILIES[family].as_found(stored, found) if found else stored
