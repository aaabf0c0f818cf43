"""How weights are quantized, in two words: int8, or int4 in groups of so many."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from llmref.quantization.linear import Int4Linear, Int8Linear, QuantizedLinear

Kind = Literal["int8", "int4"]
GROUP_SIZE = 32  # of int4, where none is given
LARGEST_GROUP = 4096


@dataclass(frozen=True)
class Quantization:
    """How the linear layers of a model are quantized.

    Attributes:
        kind: `"int8"`, a scale for each row; or `"int4"`, a scale for each group of a row.
        group_size: How many weights of int4 share a scale, an even number; 32 if not given. int8 has none.

    >>> Quantization("int4")
    Quantization(kind='int4', group_size=32)
    >>> Quantization("int4", group_size=5)
    Traceback (most recent call last):
    ...
    ValueError: the group_size of int4 must be an even number from 2 to 4096, found 5
    """

    kind: str
    group_size: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"weights are quantized as {' or '.join(get_args(Kind))}, found {self.kind!r}")
        if self.kind == "int8" and self.group_size is not None:
            raise ValueError(
                f"int8 has a scale for each row and no groups, found a group_size of {self.group_size!r}"
            )
        if self.kind == "int4":
            if self.group_size is None:
                object.__setattr__(self, "group_size", GROUP_SIZE)
            size = self.group_size
            if type(size) is not int or not 2 <= size <= LARGEST_GROUP or size % 2 != 0:
                raise ValueError(
                    f"the group_size of int4 must be an even number from 2 to {LARGEST_GROUP}, found {size!r}"
                )

    def layer(self, linear: nn.Linear) -> QuantizedLinear:
        """The layer that takes a linear layer's place."""
        return Int8Linear(linear) if self.group_size is None else Int4Linear(linear, self.group_size)

    def n_bytes(self, rows: int, columns: int) -> int:
        """The bytes of a matrix: of its integers and of its scales.

        >>> Quantization("int8").n_bytes(4096, 4096), Quantization("int4").n_bytes(4096, 4096)
        (16793600, 9437184)
        """
        if self.group_size is None:
            return rows * (columns + 4)
        groups = -(-columns // self.group_size)
        return rows * groups * (self.group_size // 2 + 2)
