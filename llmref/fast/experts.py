"""Experts for a compiler: a token's own are picked out of one tensor, and nothing is counted before."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmref.fast.streaming_linear import stream, tensors_of
from llmref.feedforward import FeedForward
from llmref.mixture_of_experts import MixtureOfExperts
from llmref.quantization import QuantizedLinear


class GatheredExperts(MixtureOfExperts):
    """A mixture of experts that a compiler can take whole, for one token; for several it runs as it was.

    The reference gathers the tokens of each expert, and has to know how many they are. One token instead
    gathers its experts, and reads the weights of no other.

    >>> from llmref.config import FeedForwardConfig, MixtureConfig
    >>> layer = MixtureOfExperts(MixtureConfig(4, n_active=2, expert=FeedForwardConfig(d_ff=8)), d_model=16)
    >>> x = torch.randn(1, 1, 16)
    >>> torch.allclose(GatheredExperts(layer).gathered(x), layer(x), atol=1e-6)
    True
    """

    def __init__(self, layer: MixtureOfExperts) -> None:
        nn.Module.__init__(self)
        self.config, self.router, self.experts = layer.config, layer.router, layer.experts
        self.shared, self.sites = layer.shared, layer.sites
        names = ("gate", "up", "down") if layer.config.expert.gated else ("up", "down")
        layers = {name: [getattr(expert, name) for expert in self.experts] for name in names}
        self.kinds = {name: like[0] for name, like in layers.items()}
        self.stacks = {name: stacked(like) for name, like in layers.items()}

    def forward(self, x: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens d_model"]:
        """What the layer adds to the residual stream; no token sees another."""
        one = x.numel() == x.shape[-1]
        return self.gathered(x) if one and torch.compiler.is_compiling() else super().forward(x)

    def gathered(self, x: Float[Tensor, "1 1 d_model"]) -> Float[Tensor, "1 1 d_model"]:
        """The same for one token."""
        weights, choices = self.router(x)
        chosen, first = choices.flatten(), cast(FeedForward, self.experts[0])

        def linear(name: str, x: Float[Tensor, "#active inputs"]) -> Float[Tensor, "active outputs"]:
            picked = {key: tensor[chosen] for key, tensor in self.stacks[name].items()}
            return stream(x, self.kinds[name], picked)

        token = x.flatten(0, 1)
        gate = linear("gate", token) if "gate" in self.stacks else None
        outputs = linear("down", first.hidden(gate, linear("up", token)))
        mixed = (weights.flatten()[:, None] * outputs).sum(dim=0).view_as(x).to(x.dtype)
        return self.sites["output"](mixed if self.shared is None else mixed + self.shared(x))


def stacked(layers: list[nn.Linear | QuantizedLinear]) -> dict[str, Tensor]:
    """The tensors of like layers, one behind the other; the layers' own become pieces of them."""
    stacks = {}
    for name in tensors_of(layers[0]):
        stacks[name] = torch.stack([tensors_of(layer)[name] for layer in layers])
        for layer, piece in zip(layers, stacks[name], strict=True):
            setattr(layer, name, nn.Parameter(piece, False) if name in layer._parameters else piece)
    return stacks


def gather_experts(module: nn.Module) -> None:
    """Put `GatheredExperts` in the place of every mixture inside a module."""
    for name, child in list(module.named_children()):
        if isinstance(child, MixtureOfExperts):
            setattr(module, name, GatheredExperts(child))
        else:
            gather_experts(child)
