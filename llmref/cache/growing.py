"""A cache that grows: as short as the idea."""

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.cache.protocol import Keys, NewKey, NewValue, Values, bytes_of, check_rows


class GrowingCache:
    """A cache that grows by concatenation: as short as the idea, and it copies everything at each step.

    >>> cache = GrowingCache()
    >>> cache.extend(torch.tensor([[0, 1]]))
    >>> key, value = cache.update(0, torch.ones(1, 2, 2, 8), torch.ones(1, 2, 2, 8))
    >>> cache.extend(torch.tensor([[2]]))
    >>> key, value = cache.update(0, torch.ones(1, 2, 1, 8), torch.ones(1, 2, 1, 8))
    >>> cache.key_positions(0).tolist(), key.shape, cache.n_bytes
    ([[0, 1, 2]], torch.Size([1, 2, 3, 8]), 384)
    """

    def __init__(self) -> None:
        self.positions: Int[Tensor, "batch keys"] | None = None
        self.keys: list[Keys] = []
        self.values: list[Values] = []

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> None:
        """Append the positions of the new tokens."""
        if self.positions is None:
            self.positions = positions.clone()  # the caller may count on in its own
        else:
            check_rows(len(self.positions), positions)
            self.positions = torch.cat([self.positions, positions], dim=1)

    def key_positions(self, block: int) -> Int[Tensor, "batch keys"]:
        """The positions of all tokens so far, the same for every block."""
        assert self.positions is not None, "extend() comes first"
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
    def n_tokens(self) -> int:
        """How many tokens it holds in each row, padding included."""
        return 0 if self.positions is None else self.positions.shape[1]

    @property
    def n_bytes(self) -> int:
        """The bytes that the stored keys and values take."""
        return bytes_of(*self.keys, *self.values)
