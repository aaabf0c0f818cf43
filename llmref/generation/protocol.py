"""What generation asks of a model: `Transformer` has it, and so has a model prepared to run faster."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmref.cache import Cache
from llmref.config import ModelConfig


@runtime_checkable
class LanguageModel(Protocol):
    """Ids in, logits out, with a cache in between."""

    @property
    def config(self) -> ModelConfig:
        """What it is made of."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """What keys and values are stored in."""

    def new_cache(self, rows: int, length: int) -> Cache:
        """An empty cache for so many texts of at most so many tokens."""

    def hidden_states(
        self,
        ids: Int[Tensor, "batch tokens"],
        positions: Int[Tensor, "batch tokens"],
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """What the LM head reads."""

    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """What the LM head makes of it."""
