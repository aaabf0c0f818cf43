"""What a family of published models is: its config and its tensors' names, each in both directions."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

import torch
from torch import Tensor

from llmref.config import ModelConfig
from llmref.families.difference import differences
from llmref.families.values import token_ids


class Layout(Protocol):
    """How one stored tensor holds one or more of ours."""

    def pack(self, ours: Sequence[Tensor]) -> Tensor:
        """The stored tensor, from ours."""

    def unpack(self, stored: Tensor, ours: Sequence[Tensor]) -> Sequence[Tensor]:
        """Ours, from the stored tensor; `ours` gives their shapes and holds no numbers."""


@dataclass(frozen=True)
class Rows:
    """Ours stand one below the other, in `groups` groups: all of group 0, then all of group 1.

    With one group it is a plain concatenation, and with one tensor of ours the stored tensor itself.

    >>> query, key = torch.tensor([1, 2, 3, 4]), torch.tensor([7, 8])
    >>> Rows().pack([query, key]).tolist(), Rows(groups=2).pack([query, key]).tolist()
    ([1, 2, 3, 4, 7, 8], [1, 2, 7, 3, 4, 8])
    >>> [part.tolist() for part in Rows(groups=2).unpack(torch.tensor([1, 2, 7, 3, 4, 8]), [query, key])]
    [[1, 2, 3, 4], [7, 8]]
    """

    groups: int = 1

    def pack(self, ours: Sequence[Tensor]) -> Tensor:
        """The stored tensor, from ours."""
        if len(ours) == 1:
            return ours[0]
        return torch.cat([part.unflatten(0, (self.groups, -1)) for part in ours], dim=1).flatten(0, 1)

    def unpack(self, stored: Tensor, ours: Sequence[Tensor]) -> Sequence[Tensor]:
        """Ours, from the stored tensor."""
        if len(ours) == 1:
            return [stored]
        sizes = [len(part) // self.groups for part in ours]
        parts = stored.unflatten(0, (self.groups, -1)).split(sizes, dim=1)
        return [part.flatten(0, 1) for part in parts]


@dataclass(frozen=True)
class Transposed:
    """As another layout, with rows and columns changed over; a bias has neither.

    >>> Transposed().pack([torch.zeros(3, 2)]).shape
    torch.Size([2, 3])
    """

    inner: Layout = Rows()

    def pack(self, ours: Sequence[Tensor]) -> Tensor:
        """The stored tensor, from ours."""
        packed = self.inner.pack(ours)
        return packed.T if packed.ndim == 2 else packed

    def unpack(self, stored: Tensor, ours: Sequence[Tensor]) -> Sequence[Tensor]:
        """Ours, from the stored tensor."""
        return self.inner.unpack(stored.T if stored.ndim == 2 else stored, ours)


@dataclass(frozen=True)
class Packed:
    """A row of a family's table where the stored tensor holds several of ours, or holds them otherwise.

    Attributes:
        ours: Our names. `{block}` and `{expert}` stand for a number that the stored name has too, `{every}`
            for all experts one after the other.
        layout: How they are stored; it may depend on the config.
    """

    ours: tuple[str, ...]
    layout: Layout | Callable[[ModelConfig], Layout] = Rows()


@dataclass(frozen=True)
class Stored:
    """One tensor of a checkpoint: its name there, and ours that it holds."""

    name: str
    ours: tuple[str, ...]
    layout: Layout


Names = Mapping[str, str | Packed]


@dataclass(frozen=True)
class Family:
    """A family: what its `config.json` means, and where its tensors go.

    Attributes:
        model_type: The family's name in `config.json`.
        architecture: The name of its model with an LM head, as the peer library calls it.
        read: The config that a `config.json` describes.
        write: What `config.json` says of such a config, besides `model_type` and `architectures`.
        names: Their name for each of ours: of a module (its `weight` and `bias` follow) or of a tensor.
            `{block}` and `{expert}` stand for a number. A row for what a model does not have is left out.
            A function, where the names depend on the config.
        ignored: Tensors that some checkpoints hold and that a model does not need, as regular expressions;
            `{n_blocks}` stands for the number of its blocks.
        prefix: What most of the stored names begin with, where some checkpoints leave it out.
    """

    model_type: str
    architecture: str
    read: Callable[[Mapping[str, Any]], ModelConfig]
    write: Callable[[ModelConfig], dict[str, Any]]
    names: Names | Callable[[ModelConfig], Names]
    ignored: tuple[str, ...] = ()
    prefix: str = ""

    def to_json(self, config: ModelConfig) -> dict[str, Any]:
        """The `config.json` of a model of this family.

        Raises:
            ValueError: If the family cannot say all that the config says; the message names what is lost.
        """
        try:
            values = {
                "model_type": self.model_type,
                "architectures": [self.architecture],
                **token_ids(config),
                **self.write(config),
            }
            again = self.read(values)
        except ValueError as error:  # a part of another kind than the family has, or a value of another range
            raise ValueError(f"a config.json of {self.model_type} cannot say this config: {error}") from None
        if again != config:
            place, wanted, found = differences(config, again)[0]
            raise ValueError(
                f"a config.json of {self.model_type} cannot say this config: {place} is {wanted!r}, "
                f"and would be read as {found!r}"
            )
        return values

    def stored(self, config: ModelConfig, ours: Mapping[str, Tensor]) -> list[Stored]:
        """The tensors of a checkpoint, for a model that has these.

        Raises:
            ValueError: If the family has no name for a tensor.
        """
        found = list(self._stored(config, ours))
        named = {name for each in found for name in each.ours}
        if unnamed := [name for name in ours if name not in named]:
            raise ValueError(f"{self.model_type} has no name for {unnamed[0]}")
        return found

    def as_found(self, stored: Sequence[Stored], found: Collection[str]) -> list[Stored]:
        """The tensors that `stored` gave, under the names of a checkpoint that may leave out the prefix.

        >>> from llmref.families import FAMILIES
        >>> table = Stored("transformer.wte.weight", ("embedding.weight",), Rows())
        >>> FAMILIES["gpt2"].as_found([table], ["wte.weight", "wpe.weight"])[0].name
        'wte.weight'
        """
        if any(name.startswith(self.prefix) for name in found):
            return list(stored)
        return [replace(each, name=each.name.removeprefix(self.prefix)) for each in stored]

    def ignores(self, name: str, config: ModelConfig) -> bool:
        """Whether a model of that config does not need the stored tensor of that name.

        >>> import llmref
        >>> from llmref.families import FAMILIES
        >>> model, _ = llmref.load_tiny()  # of five blocks, 0 to 4
        >>> FAMILIES["deepseek_v3"].ignores("model.layers.5.eh_proj.weight", model.config)
        True
        """
        return any(
            re.fullmatch(each.replace("{n_blocks}", str(len(config.blocks))), name) for each in self.ignored
        )

    def _stored(self, config: ModelConfig, ours: Mapping[str, Tensor]) -> Iterator[Stored]:
        table = self.names(config) if callable(self.names) else self.names
        for theirs, row in table.items():
            packed = Packed((row,)) if isinstance(row, str) else row
            layout = packed.layout(config) if callable(packed.layout) else packed.layout
            for suffix in ("", ".weight", ".bias"):
                patterns = [name + suffix for name in packed.ours]
                for numbers in _numbers(patterns[0], ours):
                    names = [name for pattern in patterns for name in _every(_named(pattern, numbers), ours)]
                    if all(name in ours for name in names):
                        yield Stored(_named(theirs, numbers) + suffix, tuple(names), layout)


def _numbers(pattern: str, ours: Mapping[str, Tensor]) -> Iterator[dict[str, int]]:
    """The numbers for which a model has a tensor of that name, each once."""
    expression = re.escape(pattern).replace(r"\{every\}", r"0")
    expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", expression)
    for name in ours:
        if match := re.fullmatch(expression, name):
            yield {kind: int(number) for kind, number in match.groupdict().items()}


def _every(pattern: str, ours: Mapping[str, Tensor]) -> Iterator[str]:
    """The name, or that of each expert where the name stands for all of them."""
    if "{every}" not in pattern:
        yield pattern
        return
    for number in count():
        name = pattern.replace("{every}", str(number))
        if name not in ours:
            return
        yield name


def _named(pattern: str, numbers: Mapping[str, int]) -> str:
    for kind, number in numbers.items():
        pattern = pattern.replace(f"{{{kind}}}", str(number))
    return pattern
