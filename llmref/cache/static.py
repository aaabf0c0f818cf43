"""A cache of a fixed size: nothing is copied, and no shape ever changes."""

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.cache.protocol import Keys, NewKey, NewValue, Values, bytes_of, check_rows
from llmref.config import ModelConfig


class StaticCache:
    """A cache allocated once at its full length: no copies, and the same shapes at every step.

    Args:
        config: The model that the cache serves.
        length: How many tokens it can hold.
        batch: How many rows.
        device: Where it lives.
        dtype: The dtype of the model's keys and values.

    Raises:
        ValueError: From `extend`, when more tokens come than the cache can hold; from `update`, when the
            keys have another dtype.
    """

    def __init__(
        self,
        config: ModelConfig,
        length: int,
        batch: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if length < 1 or batch < 1:
            raise ValueError(
                f"a static cache needs a length and a batch of at least 1, found {length} and {batch}"
            )
        self.length = length
        self.used = 0
        self.positions = torch.full((batch, length), -1, dtype=torch.long, device=device)
        self.keys, self.values = [], []
        for heads, key_dim, value_dim in (block.attention.cached for block in config.blocks):
            self.keys.append(torch.zeros(batch, heads, length, key_dim, device=device, dtype=dtype))
            self.values.append(torch.zeros(batch, heads, length, value_dim, device=device, dtype=dtype))

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> None:
        """Write the positions of the new tokens into the next slots."""
        check_rows(len(self.positions), positions)
        tokens = positions.shape[1]
        if self.used + tokens > self.length:
            raise ValueError(
                f"this cache holds {self.length} tokens; it has {self.used}, and {tokens} more do not fit"
            )
        self.slots = slice(self.used, self.used + tokens)
        self.used += tokens
        self.positions[:, self.slots] = positions

    def key_positions(self, block: int) -> Int[Tensor, "batch keys"]:
        """The positions of all slots, -1 where a slot is empty; the same for every block."""
        return self.positions

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Write one block's keys and values into their slots; gives all slots of that block."""
        if key.dtype != self.keys[block].dtype:
            raise ValueError(f"this cache holds {self.keys[block].dtype}, found keys of {key.dtype}")
        self.keys[block][:, :, self.slots] = key
        self.values[block][:, :, self.slots] = value
        return self.keys[block], self.values[block]

    @property
    def n_tokens(self) -> int:
        """How many slots are used, padding included."""
        return self.used

    @property
    def n_bytes(self) -> int:
        """The bytes that were allocated for keys and values."""
        return bytes_of(*self.keys, *self.values)
