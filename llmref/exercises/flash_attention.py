"""FlashAttention: write the softmax of one query whose keys come in tiles, each seen once."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def attend_in_tiles(query: Tensor, tiles: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """One query's output, [head_dim], from tiles of keys and values, each [tokens of the tile, head_dim].

    Each tile comes once, and no list of all scores may be kept: keep the highest score so far, the sum of the
    weights and the mix of the values, and shrink the two when a higher score turns up. There is at least one
    tile. Scores are the dot products divided by √head_dim.
    """
    raise NotImplementedError("write attend_in_tiles()")


# What is checked

from collections.abc import Iterator
from typing import Any


def _case(tokens: int, factor: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    query, key, value = torch.randn(3, tokens, 8, generator=generator, dtype=torch.float64).unbind()
    return factor * query[0], key, value


def _naive(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (key @ query / math.sqrt(len(query))).softmax(dim=0) @ value


def check_same_as_the_whole_softmax(answer: Any) -> None:
    """The output is that of one softmax over all scores, however the keys are cut."""
    for tokens, size in ((12, 4), (12, 12), (13, 5), (9, 1)):
        query, key, value = _case(tokens)
        expected = _naive(query, key, value)
        found = answer.attend_in_tiles(query, zip(key.split(size), value.split(size), strict=True))
        assert found.shape == expected.shape, f"expected the shape {expected.shape}, found {found.shape}"
        assert torch.allclose(found, expected), (
            f"{tokens} keys in tiles of {size}: expected {expected.tolist()}, found {found.tolist()}"
        )


def check_large_scores(answer: Any) -> None:
    """Scores of a thousand and more do not overflow."""
    query, key, value = _case(12, factor=1000.0)
    found = answer.attend_in_tiles(query, zip(key.split(4), value.split(4), strict=True))
    assert found.isfinite().all(), f"expected finite numbers, found {found.tolist()}"
    assert torch.allclose(found, _naive(query, key, value)), (
        f"expected {_naive(query, key, value).tolist()}, found {found.tolist()}"
    )


def check_a_higher_score_later(answer: Any) -> None:
    """A higher score in a later tile shrinks what was summed before it."""
    query = torch.tensor([math.sqrt(2), 0.0], dtype=torch.float64)
    key = torch.tensor([[1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)  # scores 1, then 3
    value = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    found = answer.attend_in_tiles(query, zip(key.split(1), value.split(1), strict=True))
    expected = _naive(query, key, value)
    assert torch.allclose(found, expected), f"expected {expected.tolist()}, found {found.tolist()}"


def check_each_tile_once(answer: Any) -> None:
    """Each tile is let go before the next one comes."""
    query, key, value = _case(12)
    seen: list[Tensor] = []

    def tiles() -> Iterator[tuple[Tensor, Tensor]]:
        for keys, values in zip(key.clone().split(4), value.clone().split(4), strict=True):
            keys, values = keys.clone(), values.clone()
            yield keys, values
            seen.append(keys)
            keys.fill_(math.nan)  # whoever comes back to an earlier tile finds nothing there
            values.fill_(math.nan)

    found = answer.attend_in_tiles(query, tiles())
    assert len(seen) == 3, f"expected all 3 tiles to be read, found {len(seen)}"
    assert found.isfinite().all(), "expected each tile to be used when it comes, found one used again later"
