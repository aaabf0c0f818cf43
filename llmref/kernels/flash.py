"""Attention by the kernels, with gradients where they are wanted."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmref.kernels.flash_backward import flash_backward
from llmref.kernels.flash_decode import MOST_ROWS, flash_decode
from llmref.kernels.flash_forward import flash_forward
from llmref.kernels.mask import KernelMask


def flash_attention(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    mask: KernelMask,
    scale: float,
    soft_cap: float | None = None,
    bias: Float[Tensor, "#batch heads queries keys"] | None = None,
    sinks: Float[Tensor, "heads"] | None = None,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Attention by the kernel that fits: that of decoding for few queries without gradients.

    >>> query, key, value = torch.randn(3, 1, 2, 20, 8).unbind()
    >>> positions = torch.arange(20)[None]
    >>> mask = KernelMask(positions, positions, causal=True)
    >>> output = flash_attention(query, key, value, mask, scale=0.5)
    >>> twin = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.5)
    >>> torch.allclose(output, twin, atol=1e-5)
    True
    """
    inputs = (query, key, value, bias, sinks)
    wanted = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    with torch.cuda.device_of(query):  # Triton runs on the current GPU, whichever holds the tensors
        if not wanted and query.shape[2] * query.shape[1] // key.shape[1] <= MOST_ROWS:
            return flash_decode(query, key, value, mask, scale, soft_cap, bias, sinks)
        output: Tensor = _FlashAttention.apply(query, key, value, bias, sinks, mask, scale, soft_cap)
        return output


class _FlashAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        sinks: Tensor | None,
        mask: KernelMask,
        scale: float,
        soft_cap: float | None,
    ) -> Tensor:
        output, log_total = flash_forward(query, key, value, mask, scale, soft_cap, bias, sinks)
        ctx.save_for_backward(query, key, value, output, log_total, bias, sinks)
        ctx.mask, ctx.scale, ctx.soft_cap = mask, scale, soft_cap
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, log_total, bias, sinks = ctx.saved_tensors
        with torch.cuda.device_of(query):
            gradients = flash_backward(
                *(grad_output, query, key, value, output, log_total),
                *(ctx.mask, ctx.scale, ctx.soft_cap, bias, sinks, ctx.needs_input_grad[3]),
            )
        return *gradients, None, None, None
