"""The product of one token's vector with a matrix, so that each weight is read once and in its stride.

For one token a linear layer is bound by memory: two operations for each weight. Written as a product and a
sum, it is one loop for a compiler, which reads the weights as they are stored and sums in float32. Without a
compiler all products are written to memory first.
"""

from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn

from llmref.quantization import Int4Linear, Int8Linear, QuantizedLinear


def streamed(
    x: Float[Tensor, "... inputs"], weight: Float[Tensor, "... outputs inputs"]
) -> Float[Tensor, "... outputs"]:
    """Weights of any floating dtype; the result has the input's.

    >>> import torch

    >>> x, weight = torch.randn(1, 1, 8), torch.randn(3, 8)
    >>> torch.allclose(streamed(x, weight), x @ weight.T, atol=1e-6)
    True
    """
    return (x[..., None, :].float() * weight.float()).sum(dim=-1).to(x.dtype)


def streamed_int8(
    x: Float[Tensor, "... inputs"],
    numbers: Int8[Tensor, "... outputs inputs"],
    scales: Float[Tensor, "... outputs"],
) -> Float[Tensor, "... outputs"]:
    """Weights of `Int8Linear`: all products of a row have one scale, which comes last.

    >>> import torch

    >>> layer, x = Int8Linear(nn.Linear(8, 3, bias=False)), torch.randn(1, 1, 8)
    >>> torch.allclose(streamed_int8(x, layer.numbers, layer.scales), layer(x), atol=1e-6)
    True
    """
    return ((x[..., None, :].float() * numbers.float()).sum(dim=-1) * scales).to(x.dtype)


def streamed_int4(
    x: Float[Tensor, "... inputs"],
    numbers: UInt8[Tensor, "... outputs groups half"],
    scales: Float[Tensor, "... outputs groups"],
) -> Float[Tensor, "... outputs"]:
    """Weights of `Int4Linear`: two integers in a byte, and a scale for each group.

    >>> import torch

    >>> layer, x = Int4Linear(nn.Linear(12, 3, bias=False), group_size=8), torch.randn(1, 1, 12)
    >>> torch.allclose(streamed_int4(x, layer.numbers, layer.scales), layer(x), atol=1e-6)
    True
    """
    groups, half = numbers.shape[-2:]
    filled = nn.functional.pad(x.float(), (0, 2 * groups * half - x.shape[-1]))  # as the last group was
    first, second = filled.unflatten(-1, (1, groups, 2, half)).unbind(dim=-2)
    low, high = (numbers & 15).float() - 8, (numbers >> 4).float() - 8
    return ((first * low + second * high).sum(dim=-1) * scales.float()).sum(dim=-1).to(x.dtype)


def tensors_of(layer: nn.Linear | QuantizedLinear) -> dict[str, Tensor]:
    """The weights of a linear layer as they are stored, by name.

    >>> sorted(tensors_of(nn.Linear(8, 3)))
    ['bias', 'weight']
    """
    return {name: tensor.detach() for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]}


def stream(
    x: Float[Tensor, "... inputs"], layer: nn.Linear | QuantizedLinear, tensors: dict[str, Tensor]
) -> Float[Tensor, "... outputs"]:
    """The product by the kind of the layer, with its bias: by its own tensors, or others like them.

    >>> import torch

    >>> layer, x = nn.Linear(8, 3), torch.randn(1, 8)
    >>> torch.allclose(stream(x, layer, tensors_of(layer)), layer(x), atol=1e-6)
    True
    """
    if isinstance(layer, Int8Linear):
        product = streamed_int8(x, tensors["numbers"], tensors["scales"])
    elif isinstance(layer, Int4Linear):
        product = streamed_int4(x, tensors["numbers"], tensors["scales"])
    else:
        product = streamed(x, tensors["weight"])
    return product + tensors["bias"] if "bias" in tensors else product
