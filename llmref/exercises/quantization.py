"""Quantization: write the rows of a matrix as small integers, and multiply by them."""

import torch
from jaxtyping import Float, Int8
from torch import Tensor


def quantize_rows(
    weight: Float[Tensor, "rows columns"], largest: int
) -> tuple[Int8[Tensor, "rows columns"], Float[Tensor, "rows"]]:
    """The integers and the scales of a matrix.

    Each row has a scale of its own: the largest size (absolute value) in the
    row, divided by `largest`. The integers, from `-largest` to `largest`, are
    the row divided by its scale and rounded to the nearest; their dtype is
    `torch.int8`. A row of zeros gives zeros, with any scale above 0: nothing
    is divided by 0.
    """
    raise NotImplementedError("write quantize_rows()")


def product(
    x: Float[Tensor, "tokens columns"],
    numbers: Int8[Tensor, "rows columns"],
    scales: Float[Tensor, "rows"],
) -> Float[Tensor, "tokens rows"]:
    """What a linear layer with these weights makes of `x`.

    All integers of a row have the same scale. So multiply by the integers
    first (turn them into real numbers by `.to(x.dtype)`), and by the scales at
    the end: once for each output, and not for each weight.
    """
    raise NotImplementedError("write product()")


# What is checked

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from llmref.tiny import load_tiny


def _matrix() -> Tensor:
    """Rows of very different sizes; in some the number of the largest size is negative."""
    weight = torch.tensor([[1.0, -2.54, 0.4, 2.0], [-0.007, 0.0127, 0.0, -0.002], [30.0, 10.0, -70.0, 69.0]])
    return torch.cat([weight, weight.flip(1) * -3])


def check_integers(answer: Any) -> None:
    """Each row has its own scale, and its integers are the nearest."""
    model, _ = load_tiny()
    for weight, what in (
        (_matrix(), "a small matrix"),
        (model.state_dict()["blocks.0.feedforward.up.weight"], "a matrix of the tiny model"),
    ):
        for largest in (127, 7):
            numbers, scales = answer.quantize_rows(weight.clone(), largest)
            expected = weight.abs().amax(dim=1) / largest
            assert tuple(scales.shape) == (len(weight),), (
                f"expected {len(weight)} scales, one for each row, found the shape {tuple(scales.shape)}"
            )
            _compare(scales, expected, f"the scales of {what}, largest {largest}")
            assert numbers.dtype == torch.int8, f"expected integers of torch.int8, found {numbers.dtype}"
            exact = weight / expected[:, None]
            for row in range(len(weight)):
                far = (numbers[row] - exact[row]).abs().max().item()
                assert far < 0.501, (
                    f"row {row} of {what}, largest {largest}: expected the integers nearest to "
                    f"{_rounded(exact[row])} …, found {numbers[row][:6].tolist()} …"
                )


def check_zeros(answer: Any) -> None:
    """A row of zeros gives zeros, and no number that is none."""
    weight = torch.cat([torch.zeros(1, 4), _matrix()])
    numbers, scales = answer.quantize_rows(weight, 127)
    assert numbers[0].tolist() == [0, 0, 0, 0], f"expected four zeros, found {numbers[0].tolist()}"
    assert (scales > 0).all() and scales.isfinite().all(), (
        f"expected scales above 0, found {scales.tolist()}; to divide by 0 gives no number"
    )
    again = numbers * scales[:, None]
    assert again[0].tolist() == [0.0] * 4, f"expected the row of zeros back, found {again[0].tolist()}"


def check_product(answer: Any) -> None:
    """The product is that with the matrix that the integers and scales stand for."""
    torch.manual_seed(0)
    numbers = torch.randint(-127, 128, (5, 64)).to(torch.int8)  # an 8-bit sum would overflow
    scales, x = torch.rand(5) + 0.1, torch.randn(3, 64)
    found = answer.product(x, numbers, scales)
    assert tuple(found.shape) == (3, 5), f"expected the shape (3, 5), found {tuple(found.shape)}"
    _compare(found, x @ (numbers * scales[:, None]).T, "the product")


class _Scaled(TorchDispatchMode):
    """Counts the numbers that products of one number with one number give."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if operation.overloadpacket in (torch.ops.aten.mul, torch.ops.aten.mul_, torch.ops.aten.div):
            self.numbers += result.numel()
        return result


def check_scaled_last(answer: Any) -> None:
    """Each output is multiplied by its scale once, and not each weight."""
    numbers, scales, x = torch.ones(50, 40, dtype=torch.int8), torch.ones(50), torch.ones(2, 40)
    with _Scaled() as scaled:
        answer.product(x, numbers, scales)
    assert scaled.numbers <= 100, (
        f"expected 2 tokens × 50 rows = 100 products with a scale, found {scaled.numbers:,}; "
        f"multiply by the scales after the matrix product"
    )


def _compare(found: Tensor, expected: Tensor, what: str) -> None:
    assert torch.allclose(found.float(), expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max())), (
        f"{what}: expected {_rounded(expected)}, found {_rounded(found)}"
    )


def _rounded(tensor: Tensor) -> list[float]:
    return [round(number, 5) for number in tensor.flatten().tolist()[:6]]
