"""How dot products become weights, beyond the plain two steps: a scale, a soft cap, a bias, sinks.

Each is a value of a `Scoring`, and the plain one changes nothing. Sources: Press et al., "Train Short, Test
Long" (2021), section 3 (a bias by distance); Gemma Team, "Gemma 2" (2024), section 2 (soft cap); OpenAI,
"gpt-oss-120b & gpt-oss-20b Model Card" (2025), section 2.3 (learned sinks); Xiao et al., "Efficient Streaming
Language Models with Attention Sinks" (2023), section 3.1 (why heads want one).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmref.attention.dot_product import attention_weights, combine, relevance_scores


def soft_cap(scores: Float[Tensor, "*shape"], cap: float) -> Float[Tensor, "*shape"]:
    """Bend numbers so that they stay between -cap and cap: small ones hardly move, great ones level off.

    >>> soft_cap(torch.tensor([1.0, 50.0, 1000.0]), cap=50.0).round(decimals=1).tolist()
    [1.0, 38.0..., 50.0]
    """
    return cap * torch.tanh(scores / cap)


def weights_with_sinks(
    scores: Float[Tensor, "batch heads queries keys"],
    allowed: Bool[Tensor, "batch queries keys"],
    sinks: Float[Tensor, "heads"],
) -> Float[Tensor, "batch heads queries keys"]:
    """The weights where each head has a sink: one more score in the softmax, that of a key with no value.

    A row of weights then sums to less than 1: a head with nothing to say can give its weight to the sink.

    >>> allowed = torch.ones(1, 1, 2, dtype=torch.bool)
    >>> weights_with_sinks(torch.zeros(1, 1, 1, 2), allowed, torch.zeros(1)).tolist()
    [[[[0.333..., 0.333...]]]]
    """
    column = sinks.to(scores.dtype)[None, :, None, None].expand(*scores.shape[:3], 1)
    always = torch.ones_like(allowed[..., :1])
    weights = attention_weights(torch.cat([scores, column], dim=-1), torch.cat([allowed, always], dim=-1))
    return weights[..., :-1]


@dataclass(frozen=True, eq=False)
class Scoring:
    """What is done to the scores, in this order: scale, soft cap, bias; then the softmax, with sinks.

    Attributes:
        scale: What a dot product is multiplied by; 1 / sqrt(head_dim) if `None`.
        soft_cap: Scores are bent so that they stay between minus this and this; `None` leaves them.
        bias: Finite numbers (batch or 1, heads, queries, keys) that are added; `None` adds nothing.
        sinks: One more score for each head in the softmax; `None` for no sink.

    >>> query = key = torch.ones(1, 1, 1, 4)
    >>> Scoring().scores(query, key).item(), Scoring(scale=1.0).scores(query, key).item()
    (2.0, 4.0)
    """

    scale: float | None = None
    soft_cap: float | None = None
    bias: Float[Tensor, "#batch heads queries keys"] | None = None
    sinks: Float[Tensor, "heads"] | None = None

    def scale_for(self, head_dim: int) -> float:
        """What a dot product of two vectors of this size is multiplied by."""
        return 1 / math.sqrt(head_dim) if self.scale is None else self.scale

    def scores(
        self,
        query: Float[Tensor, "batch heads queries head_dim"],
        key: Float[Tensor, "batch heads keys head_dim"],
    ) -> Float[Tensor, "batch heads queries keys"]:
        """Step one: how relevant each key is to each query."""
        scores = relevance_scores(query, key)
        if self.scale is not None:
            scores = scores * (self.scale * math.sqrt(query.shape[-1]))
        if self.soft_cap is not None:
            scores = soft_cap(scores, self.soft_cap)
        return scores if self.bias is None else scores + self.bias.to(scores.dtype)

    def weights(
        self,
        scores: Float[Tensor, "batch heads queries keys"],
        allowed: Bool[Tensor, "batch queries keys"],
    ) -> Float[Tensor, "batch heads queries keys"]:
        """The weights of the allowed keys, by the softmax."""
        if self.sinks is None:
            return attention_weights(scores, allowed)
        return weights_with_sinks(scores, allowed, self.sinks)

    def attention(
        self,
        query: Float[Tensor, "batch heads queries head_dim"],
        key: Float[Tensor, "batch heads keys head_dim"],
        value: Float[Tensor, "batch heads keys value_dim"],
        allowed: Bool[Tensor, "batch queries keys"],
    ) -> Float[Tensor, "batch heads queries value_dim"]:
        """Both steps, every matrix written out."""
        return combine(self.weights(self.scores(query, key), allowed), value)


PLAIN = Scoring()
"""The plain two steps."""
