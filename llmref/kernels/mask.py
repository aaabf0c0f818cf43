"""A mask in the form that the kernels take: rules about positions, and a matrix for all that is none."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, eq=False)
class KernelMask:
    """Which keys each query may look at. All that is said must hold; a key at -1 is an empty slot.

    Attributes:
        query_positions: Where the queries stand.
        key_positions: Where the keys stand.
        causal: A query looks at nothing that stands after it.
        window: It looks at this many positions that end with its own; `None` for no such bound.
        allowed: The pairs that are allowed beside; `None` if that is all.
    """

    query_positions: Int[Tensor, "batch queries"]
    key_positions: Int[Tensor, "batch keys"]
    causal: bool = False
    window: int | None = None
    allowed: Bool[Tensor, "batch queries keys"] | None = None
    _ranges: dict[tuple[str, int, int], Tensor] = field(default_factory=dict)

    def key_ranges(self, query_tile: int, key_tile: int) -> Int[Tensor, "batch tiles 2"]:
        """For each tile of queries the first tile of keys it may have to look at, and the one after the last.

        >>> positions = torch.arange(6)[None]
        >>> KernelMask(positions, positions, causal=True, window=2).key_ranges(2, 2).tolist()
        [[[0, 1], [0, 2], [1, 3]]]
        """
        return self._computed_once("keys", query_tile, key_tile)

    def query_ranges(self, query_tile: int, key_tile: int) -> Int[Tensor, "batch tiles 2"]:
        """For each tile of keys the tiles of queries that may look at it, in the same form.

        >>> positions = torch.arange(6)[None]
        >>> KernelMask(positions, positions, causal=True, window=2).query_ranges(2, 2).tolist()
        [[[0, 2], [1, 3], [2, 3]]]
        """
        return self._computed_once("queries", query_tile, key_tile)

    def _computed_once(self, of: str, query_tile: int, key_tile: int) -> Tensor:
        if (of, query_tile, key_tile) not in self._ranges:
            needed = self._needed(query_tile, key_tile)
            self._ranges[of, query_tile, key_tile] = _ranges(needed if of == "keys" else needed.mT)
        return self._ranges[of, query_tile, key_tile]

    def _needed(self, query_tile: int, key_tile: int) -> Bool[Tensor, "batch query_tiles key_tiles"]:
        """Whether the positions leave any pair of two tiles: never false where one is allowed."""
        first_query, last_query = _extremes(self.query_positions, query_tile)
        first_key, last_key = _extremes(self.key_positions, key_tile)
        needed = (last_key >= 0)[:, None, :].expand(-1, first_query.shape[1], -1)
        if self.causal or self.window is not None:
            needed = needed & (first_key[:, None, :] <= last_query[:, :, None])
        if self.window is not None:
            needed = needed & (last_key[:, None, :] > first_query[:, :, None] - self.window)
        return needed


def _extremes(positions: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The lowest and the highest position of each tile, empty slots aside."""
    tiles = pad(positions, (0, -positions.shape[1] % size), value=-1).unflatten(1, (-1, size))
    nowhere = torch.iinfo(tiles.dtype).max
    return tiles.masked_fill(tiles < 0, nowhere).amin(dim=2), tiles.amax(dim=2)


def _ranges(needed: Tensor) -> Tensor:
    """From the first tile that is needed to the one after the last; nothing where none is."""
    first = needed.int().argmax(dim=2)
    end = (needed.shape[2] - needed.flip(2).int().argmax(dim=2)) * needed.any(dim=2)
    return torch.stack([first, end], dim=2).int()
