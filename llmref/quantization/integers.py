"""Integers in the place of real numbers: a vector becomes small whole numbers and one scale.

Source: Dettmers et al., "LLM.int8()" (2022), section 2: absmax quantization, here of one vector at a time.
"""

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor


def to_integers(
    x: Float[Tensor, "*batch dim"], largest: int = 127, scale_dtype: torch.dtype = torch.float32
) -> tuple[Int8[Tensor, "*batch dim"], Float[Tensor, "*batch 1"]]:
    """Vectors as integers from `-largest` to `largest`, each with a scale: its largest number over `largest`.

    The scale is rounded to its dtype first, so that each integer is the nearest with the scale that is kept.

    >>> numbers, scale = to_integers(torch.tensor([254.0, -80.0, 1.2]))
    >>> numbers.tolist(), scale.tolist()
    ([127, -40, 1], [2.0])
    """
    wide = x.float()
    scale = wide.abs().amax(dim=-1, keepdim=True) / largest
    scale = scale.clamp(min=torch.finfo(torch.float32).tiny)  # a vector of zeros is divided too
    scale = scale.to(scale_dtype)
    return (wide / scale.float()).round().to(torch.int8), scale


def from_integers(
    numbers: Int8[Tensor, "*batch dim"], scale: Float[Tensor, "*batch 1"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "*batch dim"]:
    """The vectors again, each number at most half a scale from what it was.

    >>> from_integers(*to_integers(torch.tensor([254.0, -80.0, 1.2]))).tolist()
    [254.0, -80.0, 2.0]
    """
    return (numbers * scale.float()).to(dtype)


def pack(numbers: Int8[Tensor, "*batch dim"]) -> UInt8[Tensor, "*batch half"]:
    """Two integers from -8 to 7 in each byte: the first half of a vector in the low bits, the second above.

    Halves, and not neighbours: so what is unpacked lies in two pieces without gaps, which a processor reads
    in its stride.

    Raises:
        ValueError: If their number is odd.

    >>> pack(torch.tensor([-8, 0, 7, 1], dtype=torch.int8)).tolist()  # 0 and 15, 8 and 9
    [240, 152]
    """
    if numbers.shape[-1] % 2 != 0:
        raise ValueError(
            f"two integers share a byte, so their number must be even, found {numbers.shape[-1]}"
        )
    low, high = (numbers + 8).to(torch.uint8).chunk(2, dim=-1)
    return low | (high << 4)


def unpack(packed: UInt8[Tensor, "*batch half"]) -> Int8[Tensor, "*batch dim"]:
    """The integers that `pack` put into the bytes.

    >>> unpack(torch.tensor([240, 152], dtype=torch.uint8)).tolist()
    [-8, 0, 7, 1]
    """
    return torch.cat([packed & 15, packed >> 4], dim=-1).to(torch.int8) - 8
