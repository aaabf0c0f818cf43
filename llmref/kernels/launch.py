"""What the kernels are launched with: sizes of tiles, and tensors as they take them."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llmref.kernels import interpreted


@dataclass(frozen=True)
class TileSizes:
    """How many queries and keys a tile holds (powers of two, at least 16), and what a GPU gives to a program.

    Attributes:
        queries: Queries of a tile.
        keys: Keys of a tile.
        warps: How many warps of 32 threads run one program.
        stages: How many tiles of a loop are on their way at once.
    """

    queries: int
    keys: int
    warps: int = 4
    stages: int = 1


INTERPRETED = TileSizes(16, 16)
"""Under the interpreter small tiles, so that a short text has several."""

# By the larger of the two blocks of dimensions, for numbers of 2 bytes and of 4. Each fits into the 99 KiB of
# shared memory of the smaller chips since Ampere.
FORWARD = {
    2: {64: TileSizes(128, 64, 4, 2), 128: TileSizes(128, 32, 8, 2), 256: TileSizes(64, 32, 8, 1)},
    4: {64: TileSizes(64, 32, 8, 1), 128: TileSizes(32, 32, 4, 1), 256: TileSizes(16, 16, 4, 1)},
}
BACKWARD = {
    2: {64: TileSizes(64, 64, 8, 2), 128: TileSizes(64, 64, 8, 1), 256: TileSizes(16, 32, 8, 1)},
    4: {64: TileSizes(32, 32, 4, 1), 128: TileSizes(16, 32, 4, 1), 256: TileSizes(16, 16, 4, 1)},
}
DECODE = {
    2: {64: TileSizes(16, 64, 4, 2), 128: TileSizes(16, 64, 4, 1), 256: TileSizes(16, 32, 4, 1)},
    4: {64: TileSizes(16, 32, 4, 2), 128: TileSizes(16, 32, 4, 1), 256: TileSizes(16, 16, 4, 1)},
}
"""The queries of a step of decoding are as many as there are."""


def programs(device: torch.device) -> int:
    """How many programs keep a chip busy: two for each of its multiprocessors."""
    return 8 if interpreted() else 2 * torch.cuda.get_device_properties(device).multi_processor_count


def block(size: int) -> int:
    """The power of two from 16 on that holds this many.

    >>> block(6), block(16), block(80)
    (16, 16, 128)
    """
    return max(16, 1 << (size - 1).bit_length())


def sizes_for(table: dict[int, dict[int, TileSizes]], query: Tensor, value: Tensor) -> TileSizes:
    """The sizes of a table that fit the dtype and the heads."""
    if interpreted():
        return INTERPRETED
    largest = max(block(query.shape[3]), block(value.shape[3]), 64)
    return table[query.element_size()][largest]


def compiled_for(sizes: TileSizes, query: Tensor, value: Tensor) -> dict[str, Any]:
    """What a kernel knows when it is compiled."""
    return dict(
        HEAD_DIM=query.shape[3],
        HEAD_BLOCK=block(query.shape[3]),
        VALUE_DIM=value.shape[3],
        VALUE_BLOCK=block(value.shape[3]),
        QUERY_TILE=sizes.queries,
        KEY_TILE=sizes.keys,
        num_warps=sizes.warps,
        num_stages=sizes.stages,
    )


def with_strides(tensor: Tensor | None, dims: int) -> tuple[Any, ...]:
    """The tensor and the strides of its first dimensions; the last one has its numbers side by side.

    >>> with_strides(torch.zeros(2, 3, 4), 2)[1:], with_strides(None, 2)
    ((12, 4), (None, 0, 0))
    """
    if tensor is None:
        return (None, *[0] * dims)
    tensor = tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor
    return (tensor, *tensor.stride()[:dims])


def side_by_side(tensor: Tensor) -> Tensor:
    """The tensor with the numbers of its last dimension side by side in memory; copied if they are not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def expanded(
    bias: Float[Tensor, "#batch heads queries keys"] | None, batch: int
) -> Float[Tensor, "batch heads queries keys"] | None:
    """The bias with a row for each of the batch, none of them copied."""
    return None if bias is None else side_by_side(bias).expand(batch, -1, -1, -1)
