"""PyTorch's FlexAttention: the rule of a mask and of a score, as functions of one pair, become its kernel.

Source: Dong et al., "Flex Attention: A Programming Model for Generating Optimized Attention Kernels" (2024),
section 3. On a GPU it is compiled; on the CPU it runs as it is, which is slow and gives no gradients.
"""

import warnings
from functools import cache
from typing import Any, no_type_check
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention import flex_attention as flex

from llmref.attention.masks import PlacedMask
from llmref.attention.scoring import Scoring, soft_cap

_block_masks: WeakKeyDictionary[PlacedMask, flex.BlockMask] = WeakKeyDictionary()


@cache
def _call(device_type: str) -> Any:
    """What to call for tensors on a device of this type."""
    return torch.compile(flex.flex_attention) if device_type == "cuda" else flex.flex_attention


def refusal(query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> str | None:
    """What keeps FlexAttention from running this, or `None` if nothing does.

    >>> plain, trained = torch.zeros(1, 1, 4, 16), torch.zeros(1, 1, 4, 16, requires_grad=True)
    >>> refusal(trained, plain, plain, Scoring())
    'gives no gradients on the CPU'
    """
    inputs = (query, key, value, scoring.bias, scoring.sinks)
    wanted = [torch.is_grad_enabled() and x is not None and x.requires_grad for x in inputs]
    if query.device.type == "cpu" and any(wanted):
        return "gives no gradients on the CPU"
    if wanted[3]:
        return "gives no gradient to a bias"
    if query.device.type == "cuda" and query.dtype == torch.float64:
        return "has no float64 on a GPU"
    if scoring.sinks is not None and not hasattr(flex, "AuxRequest"):
        return "has no sinks before PyTorch 2.9"
    return None


def block_mask(
    allowed: Bool[Tensor, "batch queries keys"] | PlacedMask, batch: int, queries: int, keys: int
) -> flex.BlockMask:
    """Which blocks of 128 queries and 128 keys hold an allowed pair, and the rule for the pairs in them.

    >>> from llmref.attention.masks import causal, window
    >>> positions = torch.arange(256)[None]
    >>> block_mask((causal() & window(100)).at(positions, positions), 1, 256, 256).sparsity()
    25.0
    """
    if isinstance(allowed, PlacedMask) and allowed in _block_masks:
        return _block_masks[allowed]  # all layers of a pass share it

    @no_type_check  # PyTorch counts the arguments of what it gets
    def rule(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return allowed[row, query, key] if isinstance(allowed, Tensor) else allowed.pairs(row, query, key)

    device = allowed.device if isinstance(allowed, Tensor) else allowed.query_positions.device
    made = flex.create_block_mask(rule, batch, None, queries, keys, device=str(device))
    if isinstance(allowed, PlacedMask):
        _block_masks[allowed] = made
    return made


def flex_attention(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    allowed: Bool[Tensor, "batch queries keys"] | PlacedMask,
    scoring: Scoring,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Both steps by FlexAttention.

    >>> from llmref.attention.masks import causal
    >>> query, key, value = torch.randn(3, 1, 2, 20, 8).unbind()
    >>> mask = causal().at(torch.arange(20)[None], torch.arange(20)[None])
    >>> scoring = Scoring(soft_cap=5.0)
    >>> output = flex_attention(query, key, value, mask, scoring)
    >>> torch.allclose(output, scoring.attention(query, key, value, mask.dense()), atol=1e-6)
    True
    """
    bias = None
    if scoring.bias is not None:
        bias = scoring.bias.to(query.dtype).expand(len(query), -1, -1, -1)

    @no_type_check
    def score(score: Tensor, row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if scoring.soft_cap is not None:
            score = soft_cap(score, scoring.soft_cap)
        return score if bias is None else score + bias[row, head, query, key]

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        found = _call(query.device.type)(
            query,
            key,
            value,
            score_mod=score if scoring.soft_cap is not None or bias is not None else None,
            block_mask=block_mask(allowed, len(query), query.shape[2], key.shape[2]),
            scale=scoring.scale,
            enable_gqa=query.shape[1] != key.shape[1],
            **({} if scoring.sinks is None else {"return_aux": flex.AuxRequest(lse=True)}),
        )
    if scoring.sinks is None:
        return found
    # Of the softmax's sum the keys have e^lse and the sink has e^sink; the output knows of the keys alone.
    output, aux = found
    return output * (aux.lse - scoring.sinks[:, None]).sigmoid()[..., None].to(output.dtype)
