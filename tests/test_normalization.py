"""RMSNorm and LayerNorm against PyTorch's own."""

import helpers  # noqa: F401 (its hypothesis settings)
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from llmref.config import NormConfig
from llmref.normalization import LayerNorm, RMSNorm, make_norm

PAIRS = [(RMSNorm, nn.RMSNorm), (LayerNorm, nn.LayerNorm)]


def filled(ours: type[nn.Module], theirs: type[nn.Module], eps: float) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    one, other = ours(7, eps), theirs(7, eps=eps)
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            parameter.normal_()
            other.get_parameter(name).copy_(parameter)
    return one, other


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_values_and_gradients_are_pytorchs(
    ours: type[nn.Module], theirs: type[nn.Module], eps: float, size: float
) -> None:
    one, other = filled(ours, theirs, eps)
    x = (torch.randn(3, 5, 7) * size).requires_grad_()
    y = x.detach().clone().requires_grad_()
    torch.testing.assert_close(one(x), other(y))
    (one(x) ** 2).sum().backward()
    (other(y) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-4 / size)
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(parameter.grad, other.get_parameter(name).grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [RMSNorm, LayerNorm])
def test_half_precision_is_squared_in_float32(kind: type[nn.Module]) -> None:
    x = torch.full((1, 7), 300.0, dtype=torch.float16)
    x[0, 0] = -300.0
    assert kind(7).half()(x).isfinite().all()  # 300² is too large for float16
    assert kind(7).half()(x).dtype == torch.float16


def test_float64_stays_float64() -> None:
    x = torch.randn(4, 7, dtype=torch.float64)
    torch.testing.assert_close(
        RMSNorm(7).double()(x), nn.RMSNorm(7, eps=1e-5).double()(x), rtol=1e-12, atol=0
    )


def test_the_config_chooses() -> None:
    assert isinstance(make_norm(NormConfig("rms", 1e-3), 4), RMSNorm)
    assert isinstance(make_norm(NormConfig("layer", 1e-3), 4), LayerNorm)
    assert make_norm(NormConfig("layer", 1e-3), 4).eps == 1e-3


@given(st.integers(0, 10_000), st.floats(0.5, 50.0), st.floats(-20.0, 20.0))
def test_what_each_norm_does_not_see(seed: int, scale: float, shift: float) -> None:
    x = torch.randn(3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rms, layer = RMSNorm(9, eps=1e-12).double(), LayerNorm(9, eps=1e-12).double()
    torch.testing.assert_close(rms(scale * x), rms(x))
    torch.testing.assert_close(layer(scale * x + shift), layer(x))
    mean_free = x - x.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(rms(mean_free), layer(x))


@given(st.integers(0, 10_000))
def test_a_normalized_vector_has_size_one(seed: int) -> None:
    x = torch.randn(3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    one = torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(RMSNorm(9, eps=1e-12).double()(x).square().mean(dim=-1), one)
    found = LayerNorm(9, eps=1e-12).double()(x)
    torch.testing.assert_close(found.mean(dim=-1), 0 * one, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.square().mean(dim=-1), one)
