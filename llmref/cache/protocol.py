"""What the model and its attention layers ask of a cache."""

from typing import Protocol, runtime_checkable

from jaxtyping import Int, Num
from torch import Tensor

NewKey = Num[Tensor, "batch heads tokens key_dim"]
NewValue = Num[Tensor, "batch heads tokens value_dim"]
Keys = Num[Tensor, "batch heads keys key_dim"]
Values = Num[Tensor, "batch heads keys value_dim"]


@runtime_checkable
class Store(Protocol):
    """What the blocks ask for in a pass: for each block `key_positions`, then `update`."""

    def key_positions(self, block: int) -> Int[Tensor, "batch keys"]:
        """Where the keys of a block stand in this pass, -1 where nobody may look.

        Blocks that look through the same window have the same.
        """

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Store the new tokens' keys and values of one block; gives those that this pass may look at."""


@runtime_checkable
class Cache(Store, Protocol):
    """One forward pass: `extend` once, then for each block `key_positions` and `update`."""

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> None:
        """Announce the tokens of a pass by their positions, -1 for padding.

        Raises:
            ValueError: If they do not fit; the cache is then as it was.
        """

    def select(self, rows: list[int]) -> None:
        """Between two passes: go on with these rows, in this order; a row may come more than once.

        What is padding in all of them may be forgotten.

        Raises:
            ValueError: If there is no such row; the cache is then as it was.
        """

    def crop(self, n_tokens: int) -> None:
        """Keep so many of the tokens it was given in each row, and forget those that came after them.

        Raises:
            ValueError: If it holds fewer, or cannot go back; the cache is then as it was.
        """

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


def check_selection(rows: list[int], held: int) -> None:
    """Only rows that a cache holds can be selected.

    Raises:
        ValueError: If there is none, or one that it does not hold.
    """
    if not rows:
        raise ValueError("select at least one row of a cache, found none")
    for row in rows:
        if not 0 <= row < held:
            raise ValueError(f"this cache holds rows 0 to {held - 1}, found row {row}")


def without_shared_padding(positions: Int[Tensor, "batch keys"]) -> slice | Tensor:
    """The keys that stand somewhere in at least one row, as an index: most often all of them."""
    seen = (positions >= 0).any(dim=0)
    return slice(None) if seen.all() else seen


def check_crop(cache: Cache, n_tokens: int) -> None:
    """A cache can be cut back to what it holds, and no further.

    Raises:
        ValueError: If it is to keep more tokens than it holds, or fewer than none.
    """
    if not 0 <= n_tokens <= cache.n_tokens:
        raise ValueError(
            f"this cache holds {cache.n_tokens} tokens, so it can keep 0 to {cache.n_tokens} of them, "
            f"found {n_tokens}"
        )
