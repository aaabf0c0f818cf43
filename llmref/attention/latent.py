"""Multi-head latent attention (MLA): the keys and values of all heads come from one short latent per token.

A cache keeps the latent and one rotated key, instead of a key and a value for each head. Source: DeepSeek-AI,
"DeepSeek-V2" (2024), section 2.1, and appendix C for all equations.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmref.attention.backends import Backend, attend
from llmref.attention.dot_product import combine
from llmref.attention.heads import Update
from llmref.attention.masks import PlacedMask, dense
from llmref.attention.scoring import Scoring
from llmref.config import LatentAttentionConfig
from llmref.normalization import make_norm
from llmref.rope import rotate, rotation
from llmref.sites import sites


class LatentAttention(nn.Module):
    """Attention over latents. A query and a key have a plain part and a rotated part.

    Rotation stands in the way of taking two projections together, so only a short part is rotated, and its
    key is one for all heads. The layer has two forms that give the same: `expanded` makes every head's keys
    and values out of the latents, `absorbed` leaves the latents as they are.

    >>> config = LatentAttentionConfig(n_heads=4, latent_dim=8, plain_dim=6, rotated_dim=2, value_dim=6)
    >>> layer = LatentAttention(config, d_model=32)
    >>> positions = torch.arange(5)[None]
    >>> allowed = torch.ones(1, 5, 5, dtype=torch.bool).tril()
    >>> layer(torch.zeros(1, 5, 32), positions, allowed).shape
    torch.Size([1, 5, 32])
    """

    def __init__(self, config: LatentAttentionConfig, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.backend: Backend = "auto"
        query_width = config.n_heads * (config.plain_dim + config.rotated_dim)
        if config.query_latent_dim is None:
            self.query = nn.Linear(d_model, query_width, bias=False)
        else:
            self.query_down = nn.Linear(d_model, config.query_latent_dim, bias=config.bias)
            self.query_norm = make_norm(config.norm, config.query_latent_dim)
            self.query_up = nn.Linear(config.query_latent_dim, query_width, bias=False)
        self.latent = nn.Linear(d_model, config.latent_dim, bias=config.bias)
        self.latent_norm = make_norm(config.norm, config.latent_dim)
        self.rotated_key = nn.Linear(d_model, config.rotated_dim, bias=config.bias)
        self.key = nn.Linear(config.latent_dim, config.n_heads * config.plain_dim, bias=False)
        self.value = nn.Linear(config.latent_dim, config.n_heads * config.value_dim, bias=False)
        self.output = nn.Linear(config.n_heads * config.value_dim, d_model, bias=config.bias)
        self.sites = sites(
            "latent", "rotated_key", "query", "key", "value", "scores", "weights", "head_outputs", "output"
        )

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        positions: Int[Tensor, "batch tokens"],
        allowed: Bool[Tensor, "batch tokens keys"] | PlacedMask,
        update: Update | None = None,
        key_positions: Int[Tensor, "batch keys"] | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """What the layer adds to the residual stream, from the arguments of `MultiHeadAttention.forward`.

        `update` stores latents (batch, 1, tokens, latent_dim) and rotated keys (batch, 1, tokens,
        rotated_dim). With more keys than queries, as in a step of decoding, the absorbed form runs.
        """
        rope, sizes = self.config.rope, [self.config.plain_dim, self.config.rotated_dim]
        latent, rotated_key = self.latent_norm(self.latent(x))[:, None], self.rotated_key(x)[:, None]
        plain, rotated = self.split(self.queries(x)).split(sizes, dim=-1)
        cos, sin = rotation(positions, rope.turned(self.config.rotated_dim), rope.base, rope.scaling)
        rotated = rotate(rotated, cos, sin, rope.layout)
        rotated_key = rotate(rotated_key, cos, sin, rope.layout)
        latent, rotated_key = self.sites["latent"](latent), self.sites["rotated_key"](rotated_key)
        query = self.sites["query"](torch.cat([plain, rotated], dim=-1))
        if update is not None:
            latent, rotated_key = update(latent, rotated_key)
        form = self.absorbed if latent.shape[2] > query.shape[2] else self.expanded
        heads = self.sites["head_outputs"](form(query, latent, rotated_key, allowed))
        return self.sites["output"](self.output(heads.transpose(1, 2).flatten(2)))

    def expanded(
        self,
        query: Float[Tensor, "batch heads queries head_dim"],
        latent: Float[Tensor, "batch 1 keys latent_dim"],
        rotated_key: Float[Tensor, "batch 1 keys rotated_dim"],
        allowed: Bool[Tensor, "batch queries keys"] | PlacedMask,
    ) -> Float[Tensor, "batch heads queries value_dim"]:
        """The heads' outputs, by way of every head's keys and values: the naive form.

        Making them costs as much for one query as for many, so it is the form for many.
        """
        key = torch.cat(
            [self.split(self.key(latent[:, 0])), rotated_key.expand(-1, self.config.n_heads, -1, -1)], dim=-1
        )
        value = self.split(self.value(latent[:, 0]))
        return self.attend(query, self.sites["key"](key), self.sites["value"](value), allowed)

    def absorbed(
        self,
        query: Float[Tensor, "batch heads queries head_dim"],
        latent: Float[Tensor, "batch 1 keys latent_dim"],
        rotated_key: Float[Tensor, "batch 1 keys rotated_dim"],
        allowed: Bool[Tensor, "batch queries keys"] | PlacedMask,
    ) -> Float[Tensor, "batch heads queries value_dim"]:
        """The heads' outputs, without any head's keys and values: latents are compared and summed themselves.

        `query · (K latent)` is `(Kᵀ query) · latent`, so the key projection is absorbed into the query. A
        weighted sum of `V latent` is V times the weighted sum of latents, so the value projection comes last.
        All heads share what they look at, as in multi-query attention.
        """
        n_heads, sizes = self.config.n_heads, [self.config.plain_dim, self.config.rotated_dim]
        key_weight = self.key.weight.unflatten(0, (n_heads, -1))  # heads, plain_dim, latent_dim
        value_weight = self.value.weight.unflatten(0, (n_heads, -1))  # heads, value_dim, latent_dim
        plain, rotated = query.split(sizes, dim=-1)
        query = torch.cat([plain @ key_weight, rotated], dim=-1)
        mixed = self.attend(query, torch.cat([latent, rotated_key], dim=-1), latent, allowed)
        return mixed @ value_weight.mT

    def attend(
        self,
        query: Float[Tensor, "batch heads queries width"],
        key: Float[Tensor, "batch kv_heads keys width"],
        value: Float[Tensor, "batch kv_heads keys value_width"],
        allowed: Bool[Tensor, "batch queries keys"] | PlacedMask,
    ) -> Float[Tensor, "batch heads queries value_width"]:
        """The two steps, at the scale of the layer's heads, whatever the width of what is compared."""
        scale = self.config.scale or (self.config.plain_dim + self.config.rotated_dim) ** -0.5
        scoring = Scoring(scale)
        if self.backend != "naive":
            return attend(query, key, value, allowed, self.backend, scoring)
        key, value = (x.expand(-1, query.shape[1], -1, -1) for x in (key, value))
        scores = self.sites["scores"](scoring.scores(query, key))
        weights = self.sites["weights"](scoring.weights(scores, dense(allowed)))
        return combine(weights, value)

    def queries(self, x: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens width"]:
        """The queries of all heads, made at once or by way of a latent of their own."""
        if self.config.query_latent_dim is None:
            return self.query(x)
        return self.query_up(self.query_norm(self.query_down(x)))

    def split(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        """Cut each token's vector into heads."""
        return x.unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)
