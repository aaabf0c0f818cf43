"""How two configs differ, value by value: an architecture is a difference."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from llmref.config import ModelConfig


class Difference(NamedTuple):
    place: str
    first: Any
    second: Any


def differences(first: ModelConfig, second: ModelConfig) -> list[Difference]:
    """Where two configs differ, and what each says there, in the order of the fields.

    Blocks that differ alike are one entry, with the blocks' numbers.

    >>> from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig
    >>> block = BlockConfig(AttentionConfig(n_heads=2, n_kv_heads=2, head_dim=8), FeedForwardConfig(d_ff=64))
    >>> other = BlockConfig(AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8), FeedForwardConfig(d_ff=64))
    >>> for place, one, two in differences(
    ...     ModelConfig(50, 16, 32, (block, block)), ModelConfig(50, 16, 64, (block, other))
    ... ):
    ...     print(place, one, two)
    context_length 32 64
    blocks[1].attention.n_kv_heads 2 1
    """
    return list(_differences("", first, second))


def _differences(place: str, first: Any, second: Any) -> Iterator[Difference]:
    if first == second:
        return
    if is_dataclass(first) and type(first) is type(second):
        for entry in fields(first):
            inner = f"{place}.{entry.name}".removeprefix(".")
            yield from _differences(inner, getattr(first, entry.name), getattr(second, entry.name))
    elif place == "blocks" and len(first) == len(second):
        for index, pair in enumerate(zip(first, second, strict=True)):
            yield from _differences(f"blocks[{index}]", *pair)
    else:
        yield Difference(place, first, second)
