"""The product of several tokens with a matrix that was put in order for the processor once, at load.

oneDNN multiplies by weights in blocks that fit its registers. PyTorch's linear layer keeps them in rows, and
reorders them, or does without, at each call. Its compiler packs them when it freezes a model, by operators
that have no public name; they are used here where they exist and give what the plain layer gives.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

PACKABLE = (torch.float32, torch.bfloat16)
EXPECTED_ROWS = 8  # packed for about so many tokens at once; others are right too


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this PyTorch, on this processor, multiplies by packed weights of that dtype, and is right.

    >>> can_pack(torch.int8)
    False
    """
    if dtype not in PACKABLE:
        return False
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 16, generator=generator).to(dtype)
    weight = torch.randn(32, 16, generator=generator).to(dtype)
    try:
        product = packed_linear(x, pack(weight), None)
    except (
        AttributeError,
        RuntimeError,
        NotImplementedError,
    ):  # no such operator; another signature; no oneDNN
        return False
    return torch.allclose(product.float(), (x @ weight.T).float(), rtol=0.02, atol=0.05)


def pack(weight: Float[Tensor, "outputs inputs"]) -> Tensor:
    """A copy of the weights in the processor's order: an opaque tensor, only for `packed_linear`."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), EXPECTED_ROWS)


def packed_linear(
    x: Float[Tensor, "*batch inputs"], packed: Tensor, bias: Float[Tensor, "outputs"] | None
) -> Float[Tensor, "*batch outputs"]:
    """What `nn.functional.linear` gives with the weights before they were packed."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
