"""FlashAttention as Triton kernels: forward, backward, and one for decoding with a cache.

Their twin in plain PyTorch is `llmref.attention.flash`. The kernels run on a GPU. Under Triton's interpreter
they run on any machine, slowly, one tile after the other: set `TRITON_INTERPRET=1` before Triton is first
imported. The tests run them so, and compile them for NVIDIA's chips.
"""

import os
from functools import cache
from importlib.util import find_spec

import torch

LARGEST_HEAD = 256
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def installed() -> bool:
    """Whether Triton is there."""
    return find_spec("triton") is not None


def refusal(device: torch.device, dtype: torch.dtype, head_dim: int, value_dim: int) -> str | None:
    """What keeps Triton from running on such tensors, or `None` if nothing does.

    >>> refusal(torch.device("cuda"), torch.float64, 64, 64)
    'has no float64'
    >>> refusal(torch.device("cuda"), torch.float16, 576, 512)
    'takes heads of at most 256 dimensions, found 576'
    """
    if dtype not in DTYPES:
        return f"has no {str(dtype).removeprefix('torch.')}"
    if max(head_dim, value_dim) > LARGEST_HEAD:
        return f"takes heads of at most {LARGEST_HEAD} dimensions, found {max(head_dim, value_dim)}"
    if not installed():
        return "is not installed"
    if device.type != "cuda" and not interpreted():
        return f"runs on a GPU, and the tensors are on the {device.type}"
    return None
