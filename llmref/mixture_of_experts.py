"""Mixture of experts: many feedforward networks, of which each token goes through a few.

A router scores the experts for each token and chooses. Sources: Shazeer et al., "Outrageously Large Neural
Networks" (2017), section 2 (the layer, top-k); Fedus et al., "Switch Transformers" (2021), section 2 (the
loss, routing in float32); DeepSeek-AI, "DeepSeek-V2" (2024), section 2.2 (shared experts, groups);
DeepSeek-AI, "DeepSeek-V3 Technical Report" (2024), section 2.1.2 (sigmoid scores, a bias for the choice).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmref.config import MixtureConfig, RouterConfig
from llmref.feedforward import FeedForward
from llmref.sites import sites


class Router(nn.Module):
    """Scores every expert for each token, chooses the best few, and gives each of those its weight.

    Scores and weights are float32 whatever the model's dtype: a rounded score may choose another expert
    (Fedus et al., 2021, section 2.4).

    >>> router = Router(RouterConfig(), n_experts=4, n_active=2, d_model=16)
    >>> weights, choices = router(torch.randn(1, 3, 16))
    >>> choices.shape, weights.sum(dim=-1).round(decimals=4).tolist()
    (torch.Size([1, 3, 2]), [[1.0, 1.0, 1.0]])
    """

    def __init__(self, config: RouterConfig, n_experts: int, n_active: int, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.n_active = n_active
        self.weight = nn.Parameter(torch.randn(n_experts, d_model) / math.sqrt(d_model))
        self.bias = nn.Parameter(torch.zeros(n_experts)) if config.bias else None
        # Moved by a rule as the training goes on, not by a gradient: a buffer.
        self.register_buffer("choice_bias", torch.zeros(n_experts) if config.choice_bias else None)
        self.choice_bias: Tensor | None
        self.sites = sites("scores", "choices", "weights")

    def forward(
        self, x: Float[Tensor, "*tokens d_model"]
    ) -> tuple[Float[Tensor, "*tokens n_active"], Int[Tensor, "*tokens n_active"]]:
        """The weights of each token's experts, and their numbers, best first."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        bias = None if self.bias is None else self.bias.to(dtype)
        with torch.autocast(x.device.type, enabled=False):  # which would round the product
            logits = nn.functional.linear(x.to(dtype), self.weight.to(dtype), bias)
        scores = self.sites["scores"](
            logits.softmax(dim=-1) if self.config.score == "softmax" else logits.sigmoid()
        )
        biased = scores if self.choice_bias is None else scores + self.choice_bias
        choices = self.sites["choices"](choose(biased, self.n_active, self.config))
        weights = scores.gather(-1, choices)
        if self.config.normalize:
            weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(dtype).tiny)
        return self.sites["weights"](weights * self.config.multiplier), choices

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Router":
        """Move the layer, or change its dtype; the choice bias keeps its own, being added to float32."""
        before = self.choice_bias
        super()._apply(fn, recurse)
        after = self.choice_bias
        if before is not None and after is not None:
            self.choice_bias = after.to(before.dtype) if before.is_meta else before.to(after.device)
        return self


def choose(
    scores: Float[Tensor, "*tokens n_experts"], n_active: int, config: RouterConfig
) -> Int[Tensor, "*tokens n_active"]:
    """The experts with the best scores, best first; where there are groups, out of the best groups.

    Groups keep a token's experts on a few machines. Source: DeepSeek-V2 (2024), section 2.2.2; that a group
    is as good as its two best experts is DeepSeek-V3's.

    >>> scores = torch.tensor([0.5, 0.1, 0.4, 0.3])
    >>> choose(scores, 2, RouterConfig()).tolist()
    [0, 2]
    >>> choose(scores, 2, RouterConfig(n_groups=2, group_score="best_two")).tolist()  # 0.6 or 0.7
    [2, 3]
    """
    if config.n_groups > 1:
        groups = scores.unflatten(-1, (config.n_groups, -1))
        best = groups.topk({"best": 1, "best_two": 2}[config.group_score], dim=-1).values.sum(dim=-1)
        chosen = best.topk(config.n_active_groups, dim=-1).indices
        closed = torch.ones_like(best, dtype=torch.bool).scatter(-1, chosen, False)
        scores = groups.masked_fill(closed[..., None], -math.inf).flatten(-2)
    return scores.topk(n_active, dim=-1).indices


class MixtureOfExperts(nn.Module):
    """`n_experts` feedforward networks in the place of one: a token's output is the weighted sum of a few.

    `y = shared(x) + Σ weight × expert(x)`, over the experts that the router chose for x. The tokens of one
    expert are gathered, so that each expert runs once for all of them; `naive_mixture` is the twin.

    >>> from llmref.config import FeedForwardConfig
    >>> layer = MixtureOfExperts(MixtureConfig(4, n_active=2, expert=FeedForwardConfig(d_ff=8)), d_model=16)
    >>> layer(torch.zeros(1, 3, 16)).shape
    torch.Size([1, 3, 16])
    """

    def __init__(self, config: MixtureConfig, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.router = Router(config.router, config.n_experts, config.n_active, d_model)
        self.experts = nn.ModuleList(FeedForward(config.expert, d_model) for _ in range(config.n_experts))
        self.shared = None if config.shared is None else FeedForward(config.shared, d_model)
        self.sites = sites("output")

    def forward(self, x: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens d_model"]:
        """What the layer adds to the residual stream; no token sees another."""
        weights, choices = self.router(x)
        tokens, weights, choices = x.flatten(0, 1), weights.flatten(), choices.flatten()
        mixed = torch.zeros_like(tokens, dtype=weights.dtype)
        by_expert = choices.argsort(stable=True).split(choices.bincount(minlength=len(self.experts)).tolist())
        for expert, chosen in zip(self.experts, by_expert, strict=True):
            if len(chosen) > 0:
                rows = chosen // self.config.n_active  # each token has so many choices, one after the other
                mixed.index_add_(0, rows, weights[chosen, None] * expert(tokens[rows]))
        mixed = mixed.view_as(x).to(x.dtype)
        return self.sites["output"](mixed if self.shared is None else mixed + self.shared(x))


def naive_mixture(
    layer: MixtureOfExperts, x: Float[Tensor, "batch tokens d_model"]
) -> Float[Tensor, "batch tokens d_model"]:
    """The layer token by token, each through its own experts.

    >>> from llmref.config import FeedForwardConfig
    >>> layer = MixtureOfExperts(MixtureConfig(4, n_active=2, expert=FeedForwardConfig(d_ff=8)), d_model=16)
    >>> x = torch.randn(1, 3, 16)
    >>> torch.allclose(layer(x), naive_mixture(layer, x), atol=1e-6)
    True
    """
    weights, choices = layer.router(x)
    mixed = torch.zeros_like(x)
    for row in range(x.shape[0]):
        for place in range(x.shape[1]):
            token = x[row, place]
            for weight, choice in zip(weights[row, place], choices[row, place], strict=True):
                mixed[row, place] += weight * layer.experts[choice](token)
            if layer.shared is not None:
                mixed[row, place] += layer.shared(token)
    return mixed


def balancing_loss(
    scores: Float[Tensor, "*tokens n_experts"], choices: Int[Tensor, "*tokens n_active"]
) -> Float[Tensor, ""]:
    """How unevenly a router uses its experts: `n_active` if all get equally many tokens, at most `n_experts`.

    For each expert, the share of the tokens that went to it times its mean probability; the sum of that,
    times the number of experts. The share has no gradient, so the loss pulls down the probabilities of those
    experts that have too many tokens. A training adds it to its own loss, times a small number.

    Source: Shazeer et al. (2017), section 4, for the aim; Fedus et al. (2021), section 2.2, equations 4 to 6,
    for this form.

    Args:
        scores: The router's probabilities, over all experts.
        choices: The experts that each token went to.

    >>> probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    >>> balancing_loss(probabilities, torch.tensor([[0], [0]])).item()  # all to the first
    1.7...
    >>> balancing_loss(torch.full((2, 2), 0.5), torch.tensor([[0], [1]])).item()
    1.0
    """
    n_experts, n_active = scores.shape[-1], choices.shape[-1]
    tokens = choices.flatten().bincount(minlength=n_experts)
    share = tokens * n_active / choices.numel()
    return n_experts * (share * scores.flatten(0, -2).mean(dim=0)).sum()
