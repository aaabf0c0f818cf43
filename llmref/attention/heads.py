"""Several heads at once: multi-head, grouped-query and multi-query attention in one module.

Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.2; Shazeer, "Fast Transformer
Decoding: One Write-Head is All You Need" (2019); Ainslie et al., "GQA" (2023), section 2.2.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmref.attention.backends import Backend, attend
from llmref.attention.dot_product import combine
from llmref.attention.masks import PlacedMask, dense
from llmref.attention.scoring import Scoring
from llmref.config import AttentionConfig
from llmref.normalization import QueryKeyNorm
from llmref.positions import alibi_bias, alibi_slopes
from llmref.rope import rotate, rotation
from llmref.sites import sites

Update = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class MultiHeadAttention(nn.Module):
    """Attention with `n_heads` query heads over `n_kv_heads` key/value heads.

    Each head has its own query projection. Heads of one group share their keys and values: head h uses
    key/value head `h // (n_heads / n_kv_heads)`. With as many key/value heads as heads nothing is shared.

    >>> import torch
    >>> layer = MultiHeadAttention(AttentionConfig(n_heads=4, n_kv_heads=2, head_dim=8), d_model=32)
    >>> positions = torch.arange(5)[None]
    >>> allowed = torch.ones(1, 5, 5, dtype=torch.bool).tril()
    >>> layer(torch.zeros(1, 5, 32), positions, allowed).shape
    torch.Size([1, 5, 32])
    """

    def __init__(self, config: AttentionConfig, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.backend: Backend = "auto"
        self.query = nn.Linear(d_model, config.n_heads * config.head_dim, bias=config.bias)
        self.key = nn.Linear(d_model, config.n_kv_heads * config.head_dim, bias=config.bias)
        self.value = nn.Linear(d_model, config.n_kv_heads * config.head_dim, bias=config.bias)
        self.output = nn.Linear(config.n_heads * config.head_dim, d_model, bias=config.output_bias)
        norm, head_dim = config.query_key_norm, config.head_dim
        self.query_norm = QueryKeyNorm(norm, config.n_heads, head_dim) if norm else nn.Identity()
        self.key_norm = QueryKeyNorm(norm, config.n_kv_heads, head_dim) if norm else nn.Identity()
        self.sinks = nn.Parameter(torch.zeros(config.n_heads)) if config.sinks else None
        self.sites = sites("query", "key", "value", "scores", "weights", "head_outputs", "output")

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        positions: Int[Tensor, "batch tokens"],
        allowed: Bool[Tensor, "batch tokens keys"] | PlacedMask,
        update: Update | None = None,
        key_positions: Int[Tensor, "batch keys"] | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """What the layer adds to the residual stream.

        Args:
            x: The normalized residual stream.
            positions: Where each token stands.
            allowed: Which keys each token may look at, cached keys first: a matrix, or a mask at positions.
            update: Stores the new keys and values in a cache and gives all of them; `None` for no cache.
            key_positions: Where the keys stand, cached keys first; `positions` where there is no cache.
        """
        query = self.query_norm(self.split(self.query(x)))
        key = self.key_norm(self.split(self.key(x)))
        value = self.split(self.value(x))
        if self.config.rope is not None:
            rope = self.config.rope
            turned = rope.turned(self.config.head_dim)
            cos, sin = rotation(positions, turned, rope.base, rope.scaling)
            query, key = rotate(query, cos, sin, rope.layout), rotate(key, cos, sin, rope.layout)
        query, key, value = self.sites["query"](query), self.sites["key"](key), self.sites["value"](value)
        if update is not None:
            key, value = update(key, value)
        scoring = self.scoring(positions, positions if key_positions is None else key_positions)
        if self.backend == "naive":
            group = self.config.n_heads // self.config.n_kv_heads
            key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
            scores = self.sites["scores"](scoring.scores(query, key))
            weights = self.sites["weights"](scoring.weights(scores, dense(allowed)))
            heads = combine(weights, value)
        else:
            heads = attend(query, key, value, allowed, self.backend, scoring)
        heads = self.sites["head_outputs"](heads)
        return self.sites["output"](self.output(heads.transpose(1, 2).flatten(2)))

    def split(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        """Cut each token's vector into heads."""
        return x.unflatten(-1, (-1, self.config.head_dim)).transpose(1, 2)

    def scoring(
        self, positions: Int[Tensor, "batch tokens"], key_positions: Int[Tensor, "batch keys"]
    ) -> Scoring:
        """What this layer does to its scores, beside the plain two steps."""
        bias = None
        if self.config.alibi:
            bias = alibi_bias(alibi_slopes(self.config.n_heads), positions, key_positions)
        return Scoring(self.config.scale, self.config.soft_cap, bias, self.sinks)
