"""One choice: the likeliest token, or a draw, in which one uniform number chooses."""

import torch
from jaxtyping import Float, Float64, Int, Num
from torch import Tensor

PARTS = 2.0**52  # so many equal parts make up a probability of 1: whole numbers that float64 holds exactly


def first_largest(numbers: Num[Tensor, "*batch numbers"]) -> Int[Tensor, "*batch"]:
    """Where the largest number of each row stands; of equals, the first, which `argmax` does not promise.

    >>> first_largest(torch.tensor([[1.0, 3.0, 3.0]])).tolist()
    [1]
    """
    return (numbers == numbers.amax(dim=-1, keepdim=True)).int().argmax(dim=-1)


def draw(
    probabilities: Float[Tensor, "batch vocab"], uniform: Float[Tensor, "batch"]
) -> Int[Tensor, "batch"]:
    """The token of each row on which a number from 0 to 1 falls, where each is as wide as its probability.

    The tokens lie side by side in the order of their ids, and the number is a place on that line: the
    cumulative distribution, inverted. It is counted in whole parts, whose sum is the same in any order, so a
    row gets the same token on any device and in any batch. A token of probability 0 is never drawn.

    Args:
        probabilities: A distribution in each row.
        uniform: A number in [0, 1) for each row.

    >>> row = torch.tensor([[0.5, 0.0, 0.25, 0.25]])
    >>> [draw(row, torch.tensor([u])).item() for u in (0.0, 0.49, 0.5, 0.74, 0.75, 0.99)]
    [0, 0, 2, 2, 3, 3]
    """
    if probabilities.device.type == "mps":  # it has no float64
        return draw(probabilities.cpu(), uniform.cpu()).to(probabilities.device)
    uniform = uniform.to(probabilities.device)
    ends = (probabilities.double() * PARTS).round().long().cumsum(dim=-1)
    place = (uniform.double() * ends[:, -1]).long()
    return torch.searchsorted(ends, place[:, None], right=True)[:, 0]


def uniforms(seed: int | None, n: int) -> Float64[Tensor, "n"]:
    """The first n of a seed's random numbers in [0, 1): one for each token of a text.

    They come from the CPU, so that a seed means the same anywhere, and all at once, so that nothing has to
    wait for them later. Without a seed they are others each time.

    >>> uniforms(0, 3).equal(uniforms(0, 8)[:3])
    True
    """
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    return torch.rand(n, dtype=torch.float64, generator=generator)
