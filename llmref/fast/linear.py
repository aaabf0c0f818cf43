"""A linear layer that takes the way that suits what comes in: streamed, packed, or its own."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmref.fast.packed import can_pack, pack, packed_linear
from llmref.fast.streaming_linear import stream, tensors_of
from llmref.quantization import QuantizedLinear


class FastLinear(nn.Module):
    """A linear layer, quantized or not, as a compiled step wants it for one token, and packed for several.

    Args:
        layer: The layer whose weights it has; they are shared.
        packed: The dtype of a packed copy, for all that is not a compiled step of one token: much faster
            there, and the weights are in memory once more. `None` for no copy; there is none either where
            the processor takes none.

    >>> layer = nn.Linear(8, 3)
    >>> x = torch.randn(2, 5, 8)
    >>> torch.allclose(FastLinear(layer, torch.float32)(x), layer(x), atol=1e-6)
    True
    """

    def __init__(self, layer: nn.Linear | QuantizedLinear, packed: torch.dtype | None) -> None:
        super().__init__()
        self.layer = layer
        self.packed: Tensor | None = None
        if packed is not None and layer.weight.device.type == "cpu" and can_pack(packed):
            self.packed = pack(layer.weight.to(packed))

    @property
    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """The matrix itself, for a layer that does more with it than multiply."""
        return self.layer.weight

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """What the layer gives."""
        if torch.compiler.is_compiling():
            one = x.numel() == x.shape[-1]
            return stream(x, self.layer, tensors_of(self.layer)) if one else self.layer(x)
        if self.packed is not None and x.dtype == self.packed.dtype:
            return packed_linear(x, self.packed, self.layer.bias)
        return self.layer(x)


def make_fast(module: nn.Module, packed: torch.dtype | None) -> None:
    """Put a `FastLinear` in the place of every linear layer inside a module."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear | QuantizedLinear):
            setattr(module, name, FastLinear(child, packed))
        elif not isinstance(child, FastLinear):
            make_fast(child, packed)
