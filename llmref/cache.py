"""The KV cache: keys and values of the tokens already read, so that no step computes them twice.

A cache stores three things: the keys and the values of each block, and the position of each stored token. It
never works a position out for itself; the caller says where its tokens stand.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmref.config import ModelConfig

NewKey = Float[Tensor, "batch heads tokens key_dim"]
NewValue = Float[Tensor, "batch heads tokens value_dim"]
Keys = Float[Tensor, "batch heads keys key_dim"]
Values = Float[Tensor, "batch heads keys value_dim"]


@runtime_checkable
class Cache(Protocol):
    """What attention asks of a cache."""

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch keys"]:
        """Make room for new tokens, once for each forward pass; gives all keys' positions, -1 where empty."""

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Store the new tokens' keys and values of one block; gives all of that block's."""

    @property
    def n_bytes(self) -> int:
        """The bytes that the stored keys and values take."""


class GrowingCache:
    """A cache that grows by concatenation: as short as the idea, and it copies everything at each step.

    >>> cache = GrowingCache()
    >>> positions = cache.extend(torch.tensor([[0, 1]]))
    >>> key, value = cache.update(0, torch.ones(1, 2, 2, 8), torch.ones(1, 2, 2, 8))
    >>> positions = cache.extend(torch.tensor([[2]]))
    >>> key, value = cache.update(0, torch.ones(1, 2, 1, 8), torch.ones(1, 2, 1, 8))
    >>> positions.tolist(), key.shape, cache.n_bytes
    ([[0, 1, 2]], torch.Size([1, 2, 3, 8]), 384)
    """

    def __init__(self) -> None:
        self.positions: Int[Tensor, "batch keys"] | None = None
        self.keys: list[Keys] = []
        self.values: list[Values] = []

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch keys"]:
        """Append the positions of the new tokens; gives the positions of all keys."""
        if self.positions is not None and len(positions) != len(self.positions):
            raise ValueError(
                f"this cache holds {len(self.positions)} rows, found a batch of {len(positions)}"
            )
        self.positions = (
            positions if self.positions is None else torch.cat([self.positions, positions], dim=1)
        )
        return self.positions

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Append one block's keys and values; gives all of that block's."""
        if block == len(self.keys):
            self.keys.append(key)
            self.values.append(value)
        else:
            self.keys[block] = torch.cat([self.keys[block], key], dim=2)
            self.values[block] = torch.cat([self.values[block], value], dim=2)
        return self.keys[block], self.values[block]

    @property
    def n_bytes(self) -> int:
        """The bytes that the stored keys and values take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.keys + self.values)


class StaticCache:
    """A cache allocated once at its full length: no copies, and the same shapes at every step.

    Args:
        config: The model that the cache serves.
        length: How many tokens it can hold.
        batch: How many rows.
        device: Where it lives.
        dtype: The dtype of the model's keys and values.

    Raises:
        ValueError: From `extend`, when more tokens come than the cache can hold.
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

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch keys"]:
        """Write the positions of the new tokens; gives those of all slots, -1 where a slot is empty."""
        batch, tokens = positions.shape
        if batch != self.positions.shape[0]:
            raise ValueError(f"this cache holds {self.positions.shape[0]} rows, found a batch of {batch}")
        if self.used + tokens > self.length:
            raise ValueError(
                f"this cache holds {self.length} tokens; it has {self.used}, and {tokens} more do not fit"
            )
        self.slots = slice(self.used, self.used + tokens)
        self.used += tokens
        self.positions[:, self.slots] = positions
        return self.positions

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Write one block's keys and values into their slots; gives all slots of that block."""
        self.keys[block][:, :, self.slots] = key
        self.values[block][:, :, self.slots] = value
        return self.keys[block], self.values[block]

    @property
    def n_bytes(self) -> int:
        """The bytes that were allocated for keys and values."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.keys + self.values)
