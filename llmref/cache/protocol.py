"""What the model and its attention layers ask of a cache."""

from typing import Protocol, runtime_checkable

from jaxtyping import Int, Num
from torch import Tensor

NewKey = Num[Tensor, "batch heads tokens key_dim"]
NewValue = Num[Tensor, "batch heads tokens value_dim"]
Keys = Num[Tensor, "batch heads keys key_dim"]
Values = Num[Tensor, "batch heads keys value_dim"]


@runtime_checkable
class Cache(Protocol):
    """One forward pass: `extend` once, then for each block `key_positions` and `update`."""

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> None:
        """Announce the tokens of a pass by their positions, -1 for padding.

        Raises:
            ValueError: If they do not fit; the cache is then as it was.
        """

    def key_positions(self, block: int) -> Int[Tensor, "batch keys"]:
        """Where the keys of a block stand in this pass, -1 where nobody may look.

        Blocks that look through the same window have the same.
        """

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Store the new tokens' keys and values of one block; gives those that this pass may look at."""

    @property
    def n_tokens(self) -> int:
        """How many tokens it was given in each row, padding included."""

    @property
    def n_bytes(self) -> int:
        """The bytes that the stored keys and values take."""


def bytes_of(*tensors: Tensor) -> int:
    """The bytes of the numbers of some tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def check_rows(rows: int, positions: Int[Tensor, "batch tokens"]) -> None:
    """A cache holds as many rows as it began with.

    Raises:
        ValueError: If a pass has another number of them.
    """
    if len(positions) != rows:
        raise ValueError(f"this cache holds {rows} rows, found a batch of {len(positions)}")
