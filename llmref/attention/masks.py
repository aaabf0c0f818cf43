"""Which token may look at which: masks as an algebra.

A mask is a value. `causal() & window(64) & documents(ids)` reads as what it allows, and its dense form comes
from the positions of the queries and of the keys. Nothing here counts rows: a cache, left padding, packed
documents and a prompt in chunks all have the right mask because their positions are right.

The published sparse patterns are expressions. Child et al., "Generating Long Sequences with Sparse
Transformers" (2019), section 4.3: `causal() & (window(n) | strided(n))`. Beltagy et al., "Longformer" (2020),
section 3.1: `causal() & (window(n) | global_tokens(m))`. Zaheer et al., "Big Bird" (2020), section 2: these
two and `random_blocks(size, count, seed)`. Xiao et al., "Efficient Streaming Language Models with Attention
Sinks" (2023), section 3.2: Longformer's, the first four tokens being the sinks that a head may fall back on.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, reduce
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from llmref.kernels.mask import KernelMask


class Pairs(NamedTuple):
    """Pairs of a query and a key: their places in a batch, and the positions there.

    All in shapes that spread over the pairs: (batch, 1, 1), (1, queries, 1) and (1, 1, keys) for the places
    of a whole batch, single numbers for one pair.
    """

    row: Int[Tensor, "*#pairs"]
    query: Int[Tensor, "*#pairs"]
    key: Int[Tensor, "*#pairs"]
    query_positions: Int[Tensor, "*#pairs"]
    key_positions: Int[Tensor, "*#pairs"]


class Mask:
    """A rule over pairs of a query and a key; masks combine with `&`, `|` and `~`.

    A rule of your own defines `pairs`, or `holds` where it reads more than the positions.
    """

    def pairs(
        self, query_positions: Int[Tensor, "*#pairs"], key_positions: Int[Tensor, "*#pairs"]
    ) -> Bool[Tensor, "*#pairs"]:
        """Whether the rule holds for each pair, were every key a real token.

        Positions come in shapes that spread over the pairs: (batch, queries, 1) and (batch, 1, keys) for all
        of them, single numbers for one.
        """
        raise NotImplementedError

    def holds(self, pairs: Pairs) -> Bool[Tensor, "*#pairs"]:
        """The same of a prepared mask, for pairs of which the places are known too."""
        return self.pairs(pairs.query_positions, pairs.key_positions)

    def prepared(
        self, query_positions: Int[Tensor, "batch queries"], key_positions: Int[Tensor, "batch keys"]
    ) -> "Mask":
        """The mask with all that it needs at these positions at hand: by itself, nothing but them."""
        return self

    def at(
        self, query_positions: Int[Tensor, "batch queries"], key_positions: Int[Tensor, "batch keys"]
    ) -> "PlacedMask":
        """The mask at these positions, not yet written out.

        Raises:
            ValueError: If the mask does not fit the positions (see `documents`).
        """
        return PlacedMask(self.prepared(query_positions, key_positions), query_positions, key_positions)

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
        return self.at(query_positions, key_positions).dense()

    def __and__(self, other: "Mask") -> "Mask":
        return _And(self, other)

    def __or__(self, other: "Mask") -> "Mask":
        return _Or(self, other)

    def __invert__(self) -> "Mask":
        return _Not(self)


@dataclass(frozen=True, eq=False)
class PlacedMask:
    """A mask at the positions of one pass: whole when `dense` is asked for, else a tile at a time.

    So a pass that works in tiles never holds the matrix of queries x keys.

    >>> positions = torch.arange(4)[None]
    >>> placed = (causal() & window(2)).at(positions, positions)
    >>> placed.tile(slice(2, 4), slice(0, 2)).int().tolist()
    [[[0, 1], [0, 0]]]
    >>> placed.queries, placed.keys
    (4, 4)
    """

    mask: Mask
    query_positions: Int[Tensor, "batch queries"]
    key_positions: Int[Tensor, "batch keys"]

    @property
    def queries(self) -> int:
        """How many queries each row has."""
        return self.query_positions.shape[1]

    @property
    def keys(self) -> int:
        """How many keys."""
        return self.key_positions.shape[1]

    def dense(self) -> Bool[Tensor, "batch queries keys"]:
        """True where the query may look at the key; computed once."""
        return self._dense

    @cached_property
    def _dense(self) -> Tensor:
        return self.tile(slice(0, self.queries), slice(0, self.keys))

    def tile(self, rows: slice, columns: slice) -> Bool[Tensor, "batch some_queries some_keys"]:
        """What `dense()[:, rows, columns]` is, without the rest of it."""
        batch, device = len(self.query_positions), self.query_positions.device
        row = torch.arange(batch, device=device)[:, None, None]
        query = torch.arange(*rows.indices(self.queries), device=device)[None, :, None]
        key = torch.arange(*columns.indices(self.keys), device=device)[None, None, :]
        return self.pairs(row, query, key).expand(batch, query.shape[1], key.shape[2])

    @cached_property
    def for_kernels(self) -> KernelMask:
        """The mask as the kernels take it: a matrix only for what is neither `causal()` nor a window."""
        rules = _all_of(self.mask)
        windows = [rule.size for rule in rules if isinstance(rule, _Window)]
        others = [rule for rule in rules if not isinstance(rule, _Causal | _Window)]
        allowed = None
        if others:
            rest = reduce(_And, others)
            allowed = PlacedMask(rest, self.query_positions, self.key_positions).dense()
        return KernelMask(
            self.query_positions.contiguous(),
            self.key_positions.contiguous(),
            causal=len(others) + len(windows) < len(rules),
            window=min(windows, default=None),
            allowed=allowed,
        )

    def pairs(
        self, row: Int[Tensor, "*#pairs"], query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]
    ) -> Bool[Tensor, "*#pairs"]:
        """What `dense()[row, query, key]` is, for pairs of the batch given by their places."""
        query_positions, key_positions = self.query_positions[row, query], self.key_positions[row, key]
        seen = self.mask.holds(Pairs(row, query, key, query_positions, key_positions))
        return seen & (key_positions >= 0)


def dense(allowed: Bool[Tensor, "batch queries keys"] | PlacedMask) -> Bool[Tensor, "batch queries keys"]:
    """The matrix, of a mask that is one already or that is not yet written out."""
    return allowed if isinstance(allowed, Tensor) else allowed.dense()


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


def random_blocks(size: int, count: int, seed: int) -> Mask:
    """A token looks at `count` blocks of `size` positions, drawn for its block from those that lie before it.

    All tokens of a block look at the same ones; where fewer than `count` lie before, at all of them. The draw
    for a block depends on the seed and on the block's number only, so a text that grows keeps its pattern.

    Source: Zaheer et al., "Big Bird: Transformers for Longer Sequences" (2020), section 2, where an encoder
    draws from the whole text. With its other two kinds of keys it is, for a decoder,
    `causal() & (window(n) | global_tokens(m) | random_blocks(size, count, seed))`.

    >>> positions = torch.arange(8)[None]
    >>> random_blocks(2, 1, seed=0).dense(positions, positions)[0, [1, 3, 5, 7]].int().tolist()
    [[0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0, 0]]
    >>> random_blocks(2, 0, seed=0)
    Traceback (most recent call last):
    ...
    ValueError: random blocks need a size and a count of at least 1 and a seed of at least 0, found 2, 0 and 0
    """
    if size < 1 or count < 1 or seed < 0:
        raise ValueError(
            "random blocks need a size and a count of at least 1 and a seed of at least 0, "
            f"found {size}, {count} and {seed}"
        )
    return _RandomBlocks(size, count, seed)


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
        return key_positions <= query_positions

    def __repr__(self) -> str:
        return "causal()"


@dataclass(frozen=True)
class _Window(Mask):
    size: int

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        distance = query_positions - key_positions
        return (distance >= 0) & (distance < self.size)

    def __repr__(self) -> str:
        return f"window({self.size})"


@dataclass(frozen=True)
class _Strided(Mask):
    stride: int

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        return (query_positions - key_positions) % self.stride == 0

    def __repr__(self) -> str:
        return f"strided({self.stride})"


@dataclass(frozen=True)
class _Blocks(Mask):
    size: int

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        return query_positions // self.size == key_positions // self.size

    def __repr__(self) -> str:
        return f"blocks({self.size})"


@dataclass(frozen=True)
class _GlobalTokens(Mask):
    count: int

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        looking = (query_positions >= 0) & (query_positions < self.count)  # padding, at -1, is none of them
        return looking | (key_positions < self.count)

    def __repr__(self) -> str:
        return f"global_tokens({self.count})"


@lru_cache(maxsize=16)
def _drawn(count: int, seed: int, blocks: int) -> Tensor:
    """For each of the first blocks the blocks drawn for it, -1 where there are too few before it."""
    table = torch.full((blocks, count), -1)
    for block in range(1, blocks):
        generator = torch.Generator().manual_seed((1_000_003 * seed + block) % 2**32)
        drawn = torch.randperm(block, generator=generator)[:count]
        table[block, : len(drawn)] = drawn
    return table


@dataclass(frozen=True)
class _RandomBlocks(Mask):
    size: int
    count: int
    seed: int
    drawn: Tensor = field(default_factory=lambda: _drawn(1, 0, 1), compare=False)  # until it is prepared

    def prepared(self, query_positions: Tensor, key_positions: Tensor) -> Mask:
        blocks = int(query_positions.max()) // self.size + 1 if query_positions.numel() else 1
        drawn = _drawn(self.count, self.seed, max(blocks, 1)).to(query_positions.device)
        return replace(self, drawn=drawn)

    def pairs(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        query_block, key_block = (query_positions // self.size).clamp(min=0), key_positions // self.size
        seen = self.drawn[query_block, 0] == key_block
        for turn in range(1, self.count):
            seen = seen | (self.drawn[query_block, turn] == key_block)
        return seen

    def __repr__(self) -> str:
        return f"random_blocks({self.size}, {self.count}, seed={self.seed})"


@dataclass(frozen=True, eq=False)
class _Documents(Mask):
    ids: Tensor
    query_ids: Tensor | None

    def prepared(self, query_positions: Tensor, key_positions: Tensor) -> Mask:
        (batch, queries), keys = query_positions.shape, key_positions.shape[1]
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
        for ids in (self.ids, query_ids):
            if len(ids) not in (1, batch):
                raise ValueError(f"documents() needs 1 row or one for each of the {batch}, found {len(ids)}")
        return _SameDocument(query_ids.expand(batch, -1), self.ids.expand(batch, -1))

    def __repr__(self) -> str:
        return f"documents(<{' x '.join(map(str, self.ids.shape))} ids>)"


@dataclass(frozen=True, eq=False)
class _SameDocument(Mask):
    query_ids: Tensor
    ids: Tensor

    def holds(self, pairs: Pairs) -> Tensor:
        return self.query_ids[pairs.row, pairs.query] == self.ids[pairs.row, pairs.key]


@dataclass(frozen=True)
class _Two(Mask):
    first: Mask
    second: Mask

    def prepared(self, query_positions: Tensor, key_positions: Tensor) -> Mask:
        return type(self)(
            self.first.prepared(query_positions, key_positions),
            self.second.prepared(query_positions, key_positions),
        )


@dataclass(frozen=True)
class _And(_Two):
    def holds(self, pairs: Pairs) -> Tensor:
        return self.first.holds(pairs) & self.second.holds(pairs)

    def __repr__(self) -> str:
        return f"{self.first!r} & {self.second!r}"


def _all_of(mask: Mask) -> list[Mask]:
    """The masks that must all hold."""
    return _all_of(mask.first) + _all_of(mask.second) if isinstance(mask, _And) else [mask]


@dataclass(frozen=True)
class _Or(_Two):
    def holds(self, pairs: Pairs) -> Tensor:
        return self.first.holds(pairs) | self.second.holds(pairs)

    def __repr__(self) -> str:
        return f"({self.first!r} | {self.second!r})"


@dataclass(frozen=True)
class _Not(Mask):
    mask: Mask

    def prepared(self, query_positions: Tensor, key_positions: Tensor) -> Mask:
        return _Not(self.mask.prepared(query_positions, key_positions))

    def holds(self, pairs: Pairs) -> Tensor:
        return ~self.mask.holds(pairs)

    def __repr__(self) -> str:
        return f"~({self.mask!r})"
