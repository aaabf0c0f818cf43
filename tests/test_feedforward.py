"""The feedforward network against PyTorch's own modules."""

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN

from llmref.config import FeedForwardConfig
from llmref.feedforward import ACTIVATIONS, FeedForward

MODULES = {"relu": nn.ReLU(), "gelu": nn.GELU(), "silu": nn.SiLU()}
PEERS = {  # what the peer library calls them
    "relu": "relu",
    "relu_squared": "relu2",
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "gelu_sigmoid": "quick_gelu",
    "silu": "silu",
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_the_peer_librarys(name: str) -> None:
    numbers = torch.linspace(-8, 8, 1001, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](numbers), ACT2FN[PEERS[name]](numbers), rtol=0, atol=1e-9)


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("bias", [False, True])
def test_plain_is_linear_activation_linear(activation: str, bias: bool) -> None:
    torch.manual_seed(0)
    layer = FeedForward(FeedForwardConfig(11, activation, gated=False, bias=bias), 5)  # type: ignore[arg-type]
    twin = nn.Sequential(nn.Linear(5, 11, bias), MODULES[activation], nn.Linear(11, 5, bias))
    names = {"up": "0", "down": "2"}
    twin.load_state_dict(
        {f"{names[name.split('.')[0]]}.{name.split('.')[1]}": w for name, w in layer.state_dict().items()}
    )
    x = torch.randn(2, 3, 5)
    torch.testing.assert_close(layer(x), twin(x))


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("bias", [False, True])
def test_gated_multiplies_the_activated_gate(activation: str, bias: bool) -> None:
    torch.manual_seed(0)
    layer = FeedForward(FeedForwardConfig(11, activation, bias=bias), 5)  # type: ignore[arg-type]
    assert layer.gate is not None
    x = torch.randn(2, 3, 5)
    gate, up = (nn.functional.linear(x, part.weight, part.bias) for part in (layer.gate, layer.up))
    hidden = MODULES[activation](gate) * up
    torch.testing.assert_close(layer(x), nn.functional.linear(hidden, layer.down.weight, layer.down.bias))


def test_no_token_sees_another() -> None:
    layer = FeedForward(FeedForwardConfig(11), 5)
    x = torch.randn(1, 4, 5)
    torch.testing.assert_close(layer(x)[:, 2:3], layer(x[:, 2:3]))


def test_a_plain_layer_has_no_gate() -> None:
    names = [name for name, _ in FeedForward(FeedForwardConfig(11, gated=False), 5).named_parameters()]
    assert names == ["up.weight", "down.weight"]
