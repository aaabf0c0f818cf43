"""How two configs differ, value by value: an architecture is a difference."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from llmref.config import ModelConfig
from llmref.files import read_object

ABSENT = "-"
MOST_CONFIG_BYTES = 4 * 2**20  # the largest config.json that is known has 60 kB


class Difference(NamedTuple):
    """One value that two configs do not share.

    Attributes:
        place: Where it stands, as `blocks[0-31].attention.window`; the blocks counted from 0.
        first: What the first config has there; `"-"` if it has no such place.
        second: What the second one has.
    """

    place: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Differences:
    """Where two configs differ, in the order of the fields; `print` shows it as a table."""

    rows: tuple[Difference, ...]

    def __str__(self) -> str:
        if not self.rows:
            return "no difference"
        cells = [(row.place, shown(row.first), shown(row.second)) for row in self.rows]
        place, first = (max(len(row[column]) for row in cells) for column in (0, 1))
        return "\n".join(f"{row[0]:{place}}  {row[1]:{first}} | {row[2]}" for row in cells)


Source = ModelConfig | Mapping[str, Any] | str | os.PathLike[str]


def diff(first: Source, second: Source) -> Differences:
    """How two models differ, as a table to print; blocks that differ alike are one row.

    Args:
        first: A config, what a `config.json` of a known family says, or the path of that file or its folder.
        second: Another.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not the config of a known family; the message says why.

    >>> sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4}
    >>> sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    >>> print(diff({"model_type": "llama", **sizes}, {"model_type": "smollm3", **sizes}))
    blocks[0-2].attention.rope.base  10000.0      | 2000000.0
    blocks[3].attention.rope         RopeConfig() | none
    tied_embeddings                  no           | yes
    """
    return Differences(tuple(differences(_config(first), _config(second))))


def differences(first: ModelConfig, second: ModelConfig) -> list[Difference]:
    """Where two configs differ, and what each says there, in the order of the fields.

    Blocks that differ alike are one entry, with the blocks' numbers. If one config has more blocks than the
    other, the first of them are compared.

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
    blocks: dict[Difference, list[int]] = {}
    for block, found in _differences("", first, second):
        blocks.setdefault(found, []).append(block)
    return [
        found._replace(place=found.place.replace("blocks[]", f"blocks[{ranges(numbers)}]"))
        for found, numbers in blocks.items()
    ]


def _differences(place: str, first: Any, second: Any, block: int = -1) -> Iterator[tuple[int, Difference]]:
    """Each difference, with the number of its block."""
    if first == second and type(first) is type(second):
        return
    if place == "blocks":
        if len(first) != len(second):
            yield block, Difference("len(blocks)", len(first), len(second))
        for index, (one, other) in enumerate(zip(first, second, strict=False)):
            yield from _differences("blocks[]", one, other, index)
    elif is_dataclass(first) and is_dataclass(second):
        if type(first) is not type(second):
            yield block, Difference(place, type(first).__name__, type(second).__name__)
        for name in dict.fromkeys(entry.name for entry in (*fields(first), *fields(second))):
            inner = f"{place}.{name}".removeprefix(".")
            one, other = getattr(first, name, ABSENT), getattr(second, name, ABSENT)
            yield from _differences(inner, one, other, block)
    else:
        yield block, Difference(place, first, second)


def ranges(numbers: Sequence[int]) -> str:
    """Growing numbers in short.

    >>> ranges([0, 1, 2, 3]), ranges([0, 1, 3, 6, 7]), ranges([5, 11, 17, 23])
    ('0-3', '0-1, 3, 6-7', '5-23 by 6')
    >>> ranges([0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14])
    '0-14 but 3-11 by 4'
    """
    steps = {after - before for before, after in zip(numbers, numbers[1:], strict=False)}
    if len(numbers) > 2 and len(steps) == 1 and steps != {1}:
        return f"{numbers[0]}-{numbers[-1]} by {steps.pop()}"
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    if len(starts) > 3:
        others = ranges([number for number in range(starts[0], ends[-1]) if number not in numbers])
        if " by " in others and " but " not in others:
            return f"{starts[0]}-{ends[-1]} but {others}"
    runs = zip(starts, ends, strict=True)
    return ", ".join(str(start) if start == end else f"{start}-{end}" for start, end in runs)


def shown(value: Any) -> str:
    """A value of a config, short enough for a table: of its parts only what is not the default.

    >>> from llmref.config import QueryKeyNormConfig, RopeConfig
    >>> shown(None), shown(True), shown(RopeConfig(base=500.0)), shown(QueryKeyNormConfig(over="all_heads"))
    ('none', 'yes', 'RopeConfig(base=500.0)', 'QueryKeyNormConfig(over=all_heads)')
    """
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, float) and len(str(value)) > 10:
        return f"{value:.6g}"
    if isinstance(value, tuple):
        few = ", ".join(shown(each) for each in value[:3])
        return f"({few})" if len(value) <= 3 else f"({few}, … {len(value)} in all)"
    if not is_dataclass(value):
        return str(value)
    parts = [
        f"{entry.name}={shown(part)}"
        for entry in fields(value)
        if (part := getattr(value, entry.name)) != _default(entry)
    ]
    return f"{type(value).__name__}({', '.join(parts)})"


def _default(entry: Any) -> Any:
    return entry.default_factory() if entry.default_factory is not MISSING else entry.default


def _config(source: Source) -> ModelConfig:
    if isinstance(source, ModelConfig):
        return source
    # Here and not above: every family's module imports this one.
    from llmref.families import family_of

    if isinstance(source, Mapping):
        return family_of(source).read(source)
    file = Path(source)
    file = file / "config.json" if file.is_dir() else file
    values = read_object(file, MOST_CONFIG_BYTES)
    try:
        return family_of(values).read(values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
