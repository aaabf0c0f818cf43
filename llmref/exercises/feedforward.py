"""Feedforward: write the plain form and the gated one, from their matrices."""

from torch import Tensor
from torch.nn.functional import relu, silu


def plain(x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Wide by `up`, through `relu`, and back by `down`.

    Args:
        x: What enters, [batch, tokens, d_model].
        up: The weights of the first projection, [d_ff, d_model]: `x @ up.T` applies it.
        down: The weights of the last projection, [d_model, d_ff].

    Returns:
        What the layer adds to the residual stream, [batch, tokens, d_model].
    """
    raise NotImplementedError("write plain()")


def gated(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The same with a gate (SwiGLU): what `gate` makes goes through `silu`, and multiplies what `up` makes.

    Args:
        x: What enters, [batch, tokens, d_model].
        gate: The weights of the gate's projection, [d_ff, d_model].
        up: The weights of the projection that is multiplied, [d_ff, d_model].
        down: The weights of the last projection, [d_model, d_ff].
    """
    raise NotImplementedError("write gated()")


# What is checked

from typing import Any

import torch

from llmref.config import FeedForwardConfig
from llmref.feedforward import FeedForward
from llmref.tiny import load_tiny


def check_plain(answer: Any) -> None:
    """The plain form is that of the package."""
    torch.manual_seed(0)
    layer, x = FeedForward(FeedForwardConfig(20, "relu", gated=False), 6), torch.randn(2, 3, 6)
    with torch.no_grad():
        _compare(answer.plain(x, layer.up.weight, layer.down.weight), layer(x), "plain")


def check_gated(answer: Any) -> None:
    """The gated form is that of the package."""
    torch.manual_seed(0)
    layer, x = FeedForward(FeedForwardConfig(20), 6), torch.randn(2, 3, 6)
    assert layer.gate is not None
    with torch.no_grad():
        found = answer.gated(x, layer.gate.weight, layer.up.weight, layer.down.weight)
        _compare(found, layer(x), "gated")


def check_tiny(answer: Any) -> None:
    """The gated form gives what the tiny model's last block gives."""
    model, _ = load_tiny()
    layer = model.blocks[-1].get_submodule("feedforward")
    assert isinstance(layer, FeedForward) and layer.gate is not None
    torch.manual_seed(0)
    x = torch.randn(1, 4, model.config.d_model)
    with torch.no_grad():
        found = answer.gated(x, layer.gate.weight, layer.up.weight, layer.down.weight)
        _compare(found, layer(x), "with the tiny model's weights")


def _compare(found: Tensor, expected: Tensor, where: str) -> None:
    assert found.shape == expected.shape, (
        f"{where}: expected the shape {tuple(expected.shape)}, found {tuple(found.shape)}"
    )
    difference = float((found - expected).abs().max())
    assert difference < 1e-4, f"{where}: the result differs by up to {difference:.3g}"
