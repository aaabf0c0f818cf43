"""Which token may look at which: masks as an algebra.

A mask is a value. `causal() & window(64) & documents(ids)` reads as what it allows, and its dense form comes
from the positions of the queries and of the keys. Nothing here counts rows: a cache, left padding, packed
documents and a prompt in chunks all have the right mask because their positions are right.

The published sparse patterns are expressions. Child et al., "Generating Long Sequences with Sparse
Transformers" (2019), section 4.3: `causal() & (window(n) | strided(n))`. Beltagy et al., "Longformer" (2020),
section 3.1: `causal() & (window(n) | global_tokens(m))`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Mask:
    """A rule over pairs of a query and a key; masks combine with `&`, `|` and `~`."""

    def pairs(
        self, query_positions: Int[Tensor, "batch queries"], key_positions: Int[Tensor, "batch keys"]
    ) -> Bool[Tensor, "batch queries keys"]:
        """Whether the rule holds for each pair, were every key a real token."""
        raise NotImplementedError

    def dense(
        self, query_positions: Int[Tensor, "batch queries"], key_positions: Int[Tensor, "batch keys"]
    ) -> Bool[Tensor, "batch queries keys"]:
        """True where the query may look at the key. A key at a negative position is an empty slot: never.

        >>> positions = torch.arange(4)[None]
        >>> causal().dense(positions, positions).int().tolist()
        [[[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]]
        >>> (causal() & window(2)).dense(positions[:, 2:], positions).int().tolist()  # two queries, four keys
        [[[0, 1, 1, 0], [0, 0, 1, 1]]]
        """
        return self.pairs(query_positions, key_positions) & (key_positions >= 0)[:, None, :]

    def __and__(self, other: "Mask") -> "Mask":
        return _And(self, other)

    def __or__(self, other: "Mask") -> "Mask":
        return _Or(self, other)

    def __invert__(self) -> "Mask":
        return _Not(self)


def causal() -> Mask:
    """A token looks at itself and at what stands before it."""
    return _Causal()


def window(size: int) -> Mask:
    """A token looks at `size` positions that end with its own: itself and the `size - 1` before it.

    >>> window(0)
    Traceback (most recent call last):
    ...
    ValueError: a window counts the token itself, so its size must be at least 1, found 0
    """
    if size < 1:
        raise ValueError(f"a window counts the token itself, so its size must be at least 1, found {size}")
    return _Window(size)


def strided(stride: int) -> Mask:
    """A token looks at every `stride`-th position, counted from its own, itself included.

    Source: Child et al., "Generating Long Sequences with Sparse Transformers" (2019), section 4.3, where some
    heads look through a window and some look strided, so that two layers join any two positions.

    >>> positions = torch.arange(5)[None]
    >>> (causal() & strided(2)).dense(positions, positions)[0, 4].int().tolist()
    [1, 0, 1, 0, 1]
    >>> strided(0)
    Traceback (most recent call last):
    ...
    ValueError: a stride must be at least 1, found 0
    """
    if stride < 1:
        raise ValueError(f"a stride must be at least 1, found {stride}")
    return _Strided(stride)


def blocks(size: int) -> Mask:
    """A token looks inside its own block: positions 0 … `size` - 1 are one block, the next `size` another.

    Source: Child et al. (2019), section 4.3, the first half of their fixed pattern; the second half, columns
    that all later tokens look at, they give to other heads.

    >>> positions = torch.arange(4)[None]
    >>> blocks(2).dense(positions, positions).int().tolist()
    [[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]]
    >>> blocks(0)
    Traceback (most recent call last):
    ...
    ValueError: a block holds at least 1 position, found 0
    """
    if size < 1:
        raise ValueError(f"a block holds at least 1 position, found {size}")
    return _Blocks(size)


def global_tokens(count: int) -> Mask:
    """The first `count` positions look at all, and are looked at by all.

    Source: Beltagy et al., "Longformer: The Long-Document Transformer" (2020), section 3.1. Beside
    `causal()` only their being looked at is left, for nothing stands before them.

    >>> positions = torch.arange(4)[None]
    >>> global_tokens(1).dense(positions, positions).int().tolist()
    [[[1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]]
    >>> (causal() & (window(2) | global_tokens(1))).dense(positions, positions).int().tolist()
    [[[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1]]]
    >>> global_tokens(0)
    Traceback (most recent call last):
    ...
    ValueError: there must be at least 1 global token, found 0
    """
    if count < 1:
        raise ValueError(f"there must be at least 1 global token, found {count}")
    return _GlobalTokens(count)


def documents(ids: Int[Tensor, "batch keys"], query_ids: Int[Tensor, "batch queries"] | None = None) -> Mask:
    """A token looks at tokens of its own document.

    Args:
        ids: The number of the document that each key belongs to.
        query_ids: That of each query. Not needed when the queries are the last of the keys, as they are in a
            pass without a cache or with a growing one; a static cache has empty slots behind them.

    Raises:
        ValueError: From `dense`, when `ids` do not fit the keys, or `query_ids` are needed.

    >>> positions = torch.tensor([[0, 1, 0, 1]])  # two documents of two tokens, packed into one row
    >>> mask = causal() & documents(torch.tensor([[0, 0, 1, 1]]))
    >>> mask.dense(positions, positions).int().tolist()
    [[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]]
    """
    return _Documents(ids, query_ids)


@dataclass(frozen=True)
class _Causal(Mask):
    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        return key_positions[:, None, :] <= query_positions[:, :, None]

    def __repr__(self) -> str:
        return "causal()"


@dataclass(frozen=True)
class _Window(Mask):
    size: int

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        distance = query_positions[:, :, None] - key_positions[:, None, :]
        return (distance >= 0) & (distance < self.size)

    def __repr__(self) -> str:
        return f"window({self.size})"


@dataclass(frozen=True)
class _Strided(Mask):
    stride: int

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        return (query_positions[:, :, None] - key_positions[:, None, :]) % self.stride == 0

    def __repr__(self) -> str:
        return f"strided({self.stride})"


@dataclass(frozen=True)
class _Blocks(Mask):
    size: int

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        return query_positions[:, :, None] // self.size == key_positions[:, None, :] // self.size

    def __repr__(self) -> str:
        return f"blocks({self.size})"


@dataclass(frozen=True)
class _GlobalTokens(Mask):
    count: int

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        looking = (query_positions >= 0) & (query_positions < self.count)  # padding, at -1, is none of them
        return looking[:, :, None] | (key_positions < self.count)[:, None, :]

    def __repr__(self) -> str:
        return f"global_tokens({self.count})"


@dataclass(frozen=True, eq=False)
class _Documents(Mask):
    ids: Tensor
    query_ids: Tensor | None

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        queries, keys = query_positions.shape[1], key_positions.shape[1]
        if self.ids.shape[1] != keys:
            raise ValueError(
                f"documents() needs a document for each of the {keys} keys, found {self.ids.shape[1]}"
            )
        query_ids = self.query_ids
        if query_ids is None:
            if not torch.equal(key_positions[:, keys - queries :], query_positions):
                raise ValueError("documents() needs query_ids where the queries are not the last of the keys")
            query_ids = self.ids[:, keys - queries :]
        elif query_ids.shape[1] != queries:
            raise ValueError(
                f"documents() needs a document for each of the {queries} queries, found {query_ids.shape[1]}"
            )
        return query_ids[:, :, None] == self.ids[:, None, :]

    def __repr__(self) -> str:
        return f"documents(<{' x '.join(map(str, self.ids.shape))} ids>)"


@dataclass(frozen=True)
class _And(Mask):
    first: Mask
    second: Mask

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        return self.first.pairs(query_positions, key_positions) & self.second.pairs(
            query_positions, key_positions
        )

    def __repr__(self) -> str:
        return f"{self.first!r} & {self.second!r}"


@dataclass(frozen=True)
class _Or(Mask):
    first: Mask
    second: Mask

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        return self.first.pairs(query_positions, key_positions) | self.second.pairs(
            query_positions, key_positions
        )

    def __repr__(self) -> str:
        return f"({self.first!r} | {self.second!r})"


@dataclass(frozen=True)
class _Not(Mask):
    mask: Mask

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        return ~self.mask.pairs(query_positions, key_positions)

    def __repr__(self) -> str:
        return f"~({self.mask!r})"
