"""Projections that read the same vector, joined: one product where there were three, or two.

The numbers are the same; what is saved is the start of a product, and the reading of its input.
"""

from copy import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmref.attention.heads import MultiHeadAttention
from llmref.attention.masks import PlacedMask, dense
from llmref.attention.scoring import Scoring
from llmref.fast.streaming_attention import streamed_attention
from llmref.feedforward import FeedForward
from llmref.quantization import QuantizedLinear


class JoinedAttention(MultiHeadAttention):
    """An attention layer whose queries, keys and values come from one product.

    >>> from llmref.config import AttentionConfig
    >>> layer = MultiHeadAttention(AttentionConfig(n_heads=4, n_kv_heads=2, head_dim=8), d_model=32)
    >>> [part.shape[-1] for part in JoinedAttention(layer).project(torch.zeros(1, 5, 32))]
    [32, 16, 16]
    """

    def __init__(self, layer: MultiHeadAttention) -> None:
        nn.Module.__init__(self)
        self.config, self.backend, self.sinks = layer.config, layer.backend, layer.sinks
        self.joined = join(layer.query, layer.key, layer.value)
        self.sizes = [part.out_features for part in (layer.query, layer.key, layer.value)]
        self.output, self.sites = layer.output, layer.sites
        self.query_norm, self.key_norm = layer.query_norm, layer.key_norm

    def project(self, x: Float[Tensor, "batch tokens d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        """The queries, keys and values of all heads, cut from one product."""
        query, key, value = self.joined(x).split(self.sizes, dim=-1)
        return query, key, value

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | PlacedMask, scoring: Scoring
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        """For a compiler and one query, streamed; otherwise as ever."""
        if torch.compiler.is_compiling() and query.shape[0] == query.shape[2] == 1:
            return streamed_attention(query, key, value, dense(allowed), scoring)
        return super().attend(query, key, value, allowed, scoring)


class JoinedFeedForward(FeedForward):
    """A gated feedforward layer whose two first projections are one product.

    >>> from llmref.config import FeedForwardConfig
    >>> layer = FeedForward(FeedForwardConfig(d_ff=64, gated=True), d_model=16)
    >>> x = torch.randn(1, 3, 16)
    >>> torch.allclose(JoinedFeedForward(layer)(x), layer(x), atol=1e-6)
    True
    """

    def __init__(self, layer: FeedForward) -> None:
        nn.Module.__init__(self)
        assert layer.gate is not None
        self.config, self.activation = layer.config, layer.activation
        self.joined = join(layer.gate, layer.up)
        self.down, self.sites = layer.down, layer.sites

    def project(self, x: Float[Tensor, "*tokens d_model"]) -> tuple[Tensor | None, Tensor]:
        """The gate and what goes through it, cut from one product."""
        gate, up = self.joined(x).chunk(2, dim=-1)
        return gate, up


def join(*layers: nn.Linear | QuantizedLinear) -> nn.Linear | QuantizedLinear:
    """One layer that gives what these give, side by side; its weights are a copy.

    >>> first, second, x = nn.Linear(8, 2), nn.Linear(8, 3), torch.randn(8)
    >>> torch.allclose(join(first, second)(x), torch.cat([first(x), second(x)]), atol=1e-6)
    True
    """
    joined = copy(layers[0])
    joined._parameters, joined._buffers = dict(joined._parameters), dict(joined._buffers)
    for name, tensor in [*layers[0].named_parameters(), *layers[0].named_buffers()]:
        whole = torch.cat([getattr(layer, name).detach() for layer in layers])
        setattr(joined, name, nn.Parameter(whole, False) if isinstance(tensor, nn.Parameter) else whole)
    joined.out_features = sum(layer.out_features for layer in layers)
    return joined


def join_projections(module: nn.Module) -> None:
    """Join what can be joined inside a module."""
    for name, child in list(module.named_children()):
        if isinstance(child, MultiHeadAttention):
            setattr(module, name, JoinedAttention(child))
        elif isinstance(child, FeedForward):
            if child.gate is not None:
                setattr(module, name, JoinedFeedForward(child))
        else:
            join_projections(child)
