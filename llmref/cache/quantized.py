"""A cache of 8-bit integers: a byte for each number, and a scale for each token of each head.

Source: Dettmers et al., "LLM.int8()" (2022), section 2: absmax quantization, here of one vector at a time.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor

from llmref.cache.growing import GrowingCache
from llmref.cache.protocol import Cache, Keys, NewKey, NewValue, Values


class QuantizedCache:
    """A cache that keeps keys and values as 8-bit integers: about a quarter of float32, a half of bfloat16.

    The key of one token and head is a vector with a scale of its own, and so is the value. Numbers and scales
    lie in a cache each. Attention gets numbers of the dtype that came, each up to half a scale off.

    Args:
        make: Makes a cache that stores what it is given: `GrowingCache`, or `lambda: RollingCache(config)`.

    >>> cache = QuantizedCache()
    >>> cache.extend(torch.tensor([[0, 1]]))
    >>> given = torch.linspace(-1, 1, 16).reshape(1, 1, 2, 8)
    >>> key, value = cache.update(0, given, given)
    >>> cache.n_bytes  # 32 numbers in a byte each, and 4 scales in 4 bytes each; as float32 it were 128
    48
    >>> (key - given).abs().max().item() <= cache.error < 0.004
    True
    """

    def __init__(self, make: Callable[[], Cache] = GrowingCache) -> None:
        self.numbers, self.scales = make(), make()
        self.largest_scale = 0.0

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> None:
        """Announce the tokens to both caches."""
        self.numbers.extend(positions)
        self.scales.extend(positions)

    def key_positions(self, block: int) -> Int[Tensor, "batch keys"]:
        """Those of the cache within."""
        return self.numbers.key_positions(block)

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Store one block's new keys and values quantized; gives all of that block's, back in their dtype."""
        (key_numbers, key_scale), (value_numbers, value_scale) = quantize(key), quantize(value)
        self.largest_scale = max(self.largest_scale, key_scale.max().item(), value_scale.max().item())
        numbers = self.numbers.update(block, key_numbers, value_numbers)
        scales = self.scales.update(block, key_scale, value_scale)
        keys, values = (dequantize(*pair, key.dtype) for pair in zip(numbers, scales, strict=True))
        return keys, values

    @property
    def error(self) -> float:
        """The most that any number so far can be off, beside its rounding to the model's dtype."""
        return self.largest_scale / 2

    @property
    def n_tokens(self) -> int:
        """How many tokens it was given in each row, padding included."""
        return self.numbers.n_tokens

    @property
    def n_bytes(self) -> int:
        """The bytes of the numbers and of the scales."""
        return self.numbers.n_bytes + self.scales.n_bytes


def quantize(
    x: Float[Tensor, "*batch dim"],
) -> tuple[Int8[Tensor, "*batch dim"], Float[Tensor, "*batch 1"]]:
    """Vectors as integers from -127 to 127, each vector with a float32 scale: its largest number over 127.

    >>> numbers, scale = quantize(torch.tensor([254.0, -80.0, 1.2]))
    >>> numbers.tolist(), scale.tolist()
    ([127, -40, 1], [2.0])
    """
    wide = x.float()
    scale = wide.abs().amax(dim=-1, keepdim=True) / 127
    scale = scale.clamp(min=torch.finfo(torch.float32).tiny)  # a vector of zeros is divided too
    return (wide / scale).round().to(torch.int8), scale


def dequantize(
    numbers: Int8[Tensor, "*batch dim"], scale: Float[Tensor, "*batch 1"], dtype: torch.dtype
) -> Float[Tensor, "*batch dim"]:
    """The vectors again, each number at most half a scale from what it was.

    >>> dequantize(*quantize(torch.tensor([254.0, -80.0, 1.2])), torch.float32).tolist()
    [254.0, -80.0, 2.0]
    """
    return (numbers * scale).to(dtype)
