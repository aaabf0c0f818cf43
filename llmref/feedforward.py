"""The feedforward network: each token's vector alone goes wide, through a nonlinearity, and back."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmref.config import FeedForwardConfig
from llmref.sites import sites

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "relu_squared": lambda x: nn.functional.relu(x).square(),  # So et al., "Primer" (2021), section 3
    "gelu": nn.functional.gelu,
    "gelu_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "gelu_sigmoid": lambda x: x * torch.sigmoid(1.702 * x),  # Hendrycks & Gimpel (2016), section 2
    "silu": nn.functional.silu,
}


class FeedForward(nn.Module):
    """Two projections with a nonlinearity between them, or the gated form with three.

    Plain: `down(activation(up(x)))`. Gated: `down(activation(gate(x)) * up(x))`, which is SwiGLU when the
    activation is SiLU. Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.3; Shazeer,
    "GLU Variants Improve Transformer" (2020), section 2.

    >>> import torch
    >>> layer = FeedForward(FeedForwardConfig(d_ff=64), d_model=16)
    >>> layer(torch.zeros(1, 3, 16)).shape
    torch.Size([1, 3, 16])
    """

    def __init__(self, config: FeedForwardConfig, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.activation = ACTIVATIONS[config.activation]
        self.gate = nn.Linear(d_model, config.d_ff, bias=config.bias) if config.gated else None
        self.up = nn.Linear(d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, d_model, bias=config.bias)
        self.sites = sites("hidden", "output")

    def forward(self, x: Float[Tensor, "*tokens d_model"]) -> Float[Tensor, "*tokens d_model"]:
        """What the layer adds to the residual stream; no token sees another."""
        if self.gate is None:
            hidden = self.activation(self.up(x))
        else:
            gate, up = self.gate(x), self.up(x)
            if self.config.limit is not None:
                gate, up = gate.clamp(max=self.config.limit), up.clamp(-self.config.limit, self.config.limit)
            hidden = self.activation(gate) * (up + self.config.up_offset)
        return self.sites["output"](self.down(self.sites["hidden"](hidden)))
