"""Linear layers whose weights are small integers: int8 with a scale for each row, int4 with one for a group.

Only the weights are quantized. What comes in and goes out keeps its dtype, and so does the product: here the
weights become real numbers again before each use. That is the twin to which any faster form is held.

Sources: Dettmers et al., "LLM.int8()" (2022), section 2 (absmax, scales of rows); Frantar et al., "GPTQ"
(2023), section 4 (weights alone, in groups).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmref.quantization.integers import from_integers, pack, to_integers, unpack


class QuantizedLinear(nn.Module):
    """What the quantized layers share. `weight` is the matrix that they stand for.

    The integers and the scales are buffers: they are saved and moved, but not trained.
    """

    numbers: Tensor
    scales: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias

    @property
    def weight(self) -> Float[Tensor, "out_features in_features"]:
        """The weights as real numbers again, in float32."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """The product with the weights, which are made real numbers of the input's dtype for it."""
        return nn.functional.linear(x, self.weight.to(x.dtype), self.bias)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "QuantizedLinear":
        """Move the layer, or change its dtype; the scales keep theirs, for the integers fit to it."""
        before = self.scales
        super()._apply(fn, recurse)
        self.scales = self.scales.to(before.dtype) if before.is_meta else before.to(self.scales.device)
        return self

    def extra_repr(self) -> str:
        """The sizes, for a model that is printed."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Int8Linear(QuantizedLinear):
    """A linear layer with a byte for each weight, and one float32 scale for each row (each output).

    A row's scale is the same for every product that is summed, so a fast form can multiply by it at the end.

    Attributes:
        numbers: The integers, int8 (out_features, in_features).
        scales: float32 (out_features,).

    >>> linear = nn.Linear(64, 3)
    >>> layer = Int8Linear(linear)
    >>> (layer.weight - linear.weight).abs().max() <= layer.scales.max() / 2 * 1.0001
    tensor(True)
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        numbers, scales = to_integers(linear.weight.detach())
        self.register_buffer("numbers", numbers)
        self.register_buffer("scales", scales[:, 0])

    @property
    def weight(self) -> Float[Tensor, "out_features in_features"]:
        """The weights as real numbers again, in float32."""
        return from_integers(self.numbers, self.scales[:, None])


class Int4Linear(QuantizedLinear):
    """A linear layer with half a byte for each weight, and one bfloat16 scale for each group of a row.

    The integers go from -7 to 7, and there is no zero-point: trained weights lie about evenly on both sides
    of 0, so a shift would cost bytes and a subtraction and gain little. A last group that is not full is
    filled up with zeros.

    Args:
        linear: The layer that it stands for.
        group_size: How many weights share a scale; an even number.

    Attributes:
        numbers: Two integers in a byte, uint8 (out_features, groups, group_size / 2); see `pack`.
        scales: bfloat16 (out_features, groups).

    >>> layer = Int4Linear(nn.Linear(64, 3), group_size=32)
    >>> layer.numbers.shape, layer.scales.shape
    (torch.Size([3, 2, 16]), torch.Size([3, 2]))
    """

    def __init__(self, linear: nn.Linear, group_size: int = 32) -> None:
        super().__init__(linear)
        self.group_size = group_size
        numbers, scales = to_integers(grouped(linear.weight.detach(), group_size), 7, torch.bfloat16)
        self.register_buffer("numbers", pack(numbers))
        self.register_buffer("scales", scales[..., 0])

    @property
    def weight(self) -> Float[Tensor, "out_features in_features"]:
        """The weights as real numbers again, in float32."""
        groups = from_integers(unpack(self.numbers), self.scales[..., None])
        return groups.flatten(1)[:, : self.in_features]

    def extra_repr(self) -> str:
        """The sizes, for a model that is printed."""
        return f"{super().extra_repr()}, group_size={self.group_size}"


def grouped(
    weight: Float[Tensor, "rows columns"], group_size: int
) -> Float[Tensor, "rows groups group_size"]:
    """Each row cut into groups, the last one filled up with zeros.

    >>> grouped(torch.tensor([[1.0, 2.0, 3.0]]), 2).tolist()
    [[[1.0, 2.0], [3.0, 0.0]]]
    """
    missing = -weight.shape[1] % group_size
    return nn.functional.pad(weight, (0, missing)).unflatten(1, (-1, group_size))
