"""Quantized weights: how far each is off, what the layers compute, which layers of a model are replaced."""

import copy
import inspect

import pytest
import torch
from helpers import fresh_model, latent_mixture_config, logits_of, random_ids, small_config
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import llmref
from llmref.config import ModelConfig
from llmref.decoding import strategy
from llmref.generation import generate_ids
from llmref.mixture_of_experts import Router
from llmref.quantization import (
    Int4Linear,
    Int8Linear,
    Quantization,
    QuantizedLinear,
    from_integers,
    pack,
    quantization_of,
    quantize,
    to_integers,
    unpack,
    weight_bytes,
)
from llmref.quantization.linear import grouped

KINDS = [("int8", None), ("int4", 8), ("int4", 32)]
each_kind = pytest.mark.parametrize(("kind", "group_size"), KINDS)


def linear(rows: int, columns: int, bias: bool = True, seed: int = 0) -> nn.Linear:
    """A layer whose rows differ much in size, and whose rows hold an outlier each."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(columns, rows, bias=bias)
    with torch.no_grad():
        sizes = torch.rand(rows, 1, generator=generator).mul(8).sub(4).exp()
        layer.weight.copy_(torch.randn(rows, columns, generator=generator) * sizes)
        layer.weight[:, seed % columns] *= 5
    return layer


# Integers


def naive(vector: list[float], largest: int) -> list[int]:
    scale = max(abs(number) for number in vector) / largest
    return [round(number / scale) if scale else 0 for number in vector]


@pytest.mark.parametrize("largest", [127, 7, 1])
def test_integers_are_the_formula(largest: int) -> None:
    x = linear(20, 13).weight.detach()
    numbers, scale = to_integers(x, largest)
    assert numbers.abs().max() == largest
    for row, its, own in zip(x, numbers, scale[:, 0], strict=True):
        assert its.tolist() == naive(row.tolist(), largest)
        assert own.item() == pytest.approx(row.abs().max().item() / largest)


@pytest.mark.parametrize("scale_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("largest", [127, 7])
@given(seed=st.integers(0, 99), size=st.sampled_from([1e-30, 1e-6, 1.0, 1e30]))
def test_a_weight_is_at_most_half_a_scale_off(
    largest: int, scale_dtype: torch.dtype, seed: int, size: float
) -> None:
    x = linear(5, 16, seed=seed).weight.detach() * size
    numbers, scale = to_integers(x, largest, scale_dtype)
    assert (scale.dtype, numbers.dtype) == (scale_dtype, torch.int8)
    assert numbers.abs().max() <= largest
    error = (from_integers(numbers, scale).double() - x.double()).abs()
    assert (error <= scale.double() / 2 * (1 + 1e-4)).all()


def test_the_integers_are_the_nearest_with_the_scale_that_is_kept() -> None:
    x = linear(50, 32).weight.detach()
    numbers, scale = to_integers(x, 7, torch.bfloat16)
    levels = torch.arange(-7, 8) * scale.float()
    nearest = (x[..., None] - levels[:, None]).abs().argmin(dim=-1) - 7
    assert torch.equal(numbers.long(), nearest)


@given(numbers=st.lists(st.integers(-8, 7), min_size=2, max_size=40).filter(lambda each: len(each) % 2 == 0))
def test_two_integers_in_a_byte_come_out_again(numbers: list[int]) -> None:
    given_numbers = torch.tensor(numbers, dtype=torch.int8)
    packed = pack(given_numbers)
    assert packed.shape == (len(numbers) // 2,) and packed.dtype == torch.uint8
    assert torch.equal(unpack(packed), given_numbers)
    half = len(numbers) // 2
    for place, byte in enumerate(packed.tolist()):  # the format, said once more
        assert byte == (numbers[place] + 8) + 16 * (numbers[place + half] + 8)


def test_an_odd_number_of_integers_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="must be even, found 3"):
        pack(torch.zeros(2, 3, dtype=torch.int8))


# PyTorch's own quantization, given the same scales


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, torch.quantize_per_channel:UserWarning")
def test_int8_is_pytorchs_own_with_the_same_scales() -> None:
    layer = linear(24, 40)
    ours = Int8Linear(layer)
    zeros = torch.zeros(24, dtype=torch.int64)
    theirs = torch.quantize_per_channel(layer.weight.detach(), ours.scales, zeros, 0, torch.qint8)
    assert torch.equal(ours.numbers, theirs.int_repr())
    torch.testing.assert_close(ours.weight, theirs.dequantize(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("columns", [64, 41])
def test_int4_is_pytorchs_own_with_the_same_scales(columns: int) -> None:
    layer = linear(24, columns)
    ours = Int4Linear(layer, group_size=8)
    groups = grouped(layer.weight.detach(), 8).flatten(0, 1)
    scales, zeros = ours.scales.float().flatten(), torch.zeros(len(groups), dtype=torch.int32)
    theirs = torch.fake_quantize_per_channel_affine(groups, scales, zeros, 0, -8, 7)
    expected = theirs.unflatten(0, (24, -1)).flatten(1)[:, :columns]
    torch.testing.assert_close(ours.weight, expected, rtol=1e-6, atol=0)


# Layers


@each_kind
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_layer_is_the_product_with_what_its_integers_stand_for(
    kind: str, group_size: int | None, bias: bool, dtype: torch.dtype
) -> None:
    exact = linear(12, 41, bias).to(dtype)
    layer = Quantization(kind, group_size).layer(exact)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 41, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = x.double() @ layer.weight.to(dtype).double().mT + (exact.bias.double() if bias else 0)
    found = layer(x)
    assert found.dtype == dtype
    close = 16 * torch.finfo(dtype).eps * expected.abs().max().item()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=close)
    assert layer.weight.shape == exact.weight.shape


@each_kind
def test_its_weights_are_near_those_of_the_layer(kind: str, group_size: int | None) -> None:
    exact = linear(12, 41)
    layer = Quantization(kind, group_size).layer(exact)  # type: ignore[arg-type]
    error = (layer.weight - exact.weight).abs()
    steps = layer.scales.float()
    if group_size is None:
        assert (error <= steps[:, None] / 2 * 1.0001).all()
    else:
        assert (error <= steps.repeat_interleave(group_size, dim=1)[:, :41] / 2 * 1.0001).all()


def test_each_row_and_each_group_has_a_scale_of_its_own() -> None:
    exact = linear(4, 64)
    with torch.no_grad():
        exact.weight[2, 40] = 1000.0
    changed = Int8Linear(exact).scales > 5
    assert changed.tolist() == [False, False, True, False]
    groups = Int4Linear(exact, group_size=32).scales > 100
    assert groups.nonzero().tolist() == [[2, 1]]


@each_kind
def test_the_scales_keep_their_dtype_when_a_model_is_converted(kind: str, group_size: int | None) -> None:
    layer = Quantization(kind, group_size).layer(linear(12, 41))  # type: ignore[arg-type]
    numbers, scales, bias = layer.numbers, layer.scales, layer.bias
    for dtype in (torch.float16, torch.float64, torch.bfloat16):
        layer.to(dtype)
        assert layer.bias.dtype == dtype
        assert layer.scales.dtype == scales.dtype and torch.equal(layer.scales, scales)
        assert torch.equal(layer.numbers, numbers)
    assert bias is not None and layer.to("meta").scales.dtype == scales.dtype


# Models


def configs() -> dict[str, ModelConfig]:
    return {
        "plain": small_config(tied_embeddings=False),
        "biases": small_config(bias=True, norm="layer", gated=False),
        "tied": small_config(tied_embeddings=True),
        "experts and latents": latent_mixture_config(),
    }


@each_kind
@pytest.mark.parametrize("name", configs())
def test_every_linear_layer_is_replaced_and_nothing_else(
    name: str, kind: str, group_size: int | None
) -> None:
    config = configs()[name]
    exact, model = fresh_model(config), fresh_model(config)
    quantize(model, kind, group_size)  # type: ignore[arg-type]
    kept = {"lm_head"} if config.tied_embeddings else set()
    assert {name for name, each in model.named_modules() if isinstance(each, nn.Linear)} == kept
    replaced = {name for name, each in model.named_modules() if isinstance(each, QuantizedLinear)}
    assert replaced == {n for n, each in exact.named_modules() if isinstance(each, nn.Linear)} - kept
    before, after = dict(exact.named_parameters()), dict(model.named_parameters())
    for path, parameter in after.items():
        assert torch.equal(parameter, before[path]), path
    assert before.keys() - after.keys() == {f"{path}.weight" for path in replaced}
    if config.tied_embeddings:
        assert model.lm_head.weight is model.embedding.weight
    assert quantization_of(model) == Quantization(kind, group_size)  # type: ignore[arg-type]
    assert not any(module.training for module in model.modules())


@each_kind
@pytest.mark.parametrize("name", configs())
def test_a_quantized_model_is_the_model_with_rounded_weights(
    name: str, kind: str, group_size: int | None
) -> None:
    """The twin: the same rounding put into the linear layers of a plain model."""
    model, twin = fresh_model(configs()[name]), fresh_model(configs()[name])
    quantize(model, kind, group_size)  # type: ignore[arg-type]
    with torch.no_grad():
        for path, layer in model.named_modules():
            if isinstance(layer, QuantizedLinear):
                twin.get_submodule(path).weight.copy_(layer.weight)
    ids = random_ids(2, 11)
    torch.testing.assert_close(logits_of(model, ids), logits_of(twin, ids), rtol=1e-5, atol=1e-5)
    greedy = strategy(temperature=0)
    assert list(generate_ids(model, ids[0].tolist(), greedy, 12)) == list(
        generate_ids(twin, ids[0].tolist(), greedy, 12)
    )


def test_it_says_the_bytes_before_and_after() -> None:
    config = small_config(n_kv_heads=4, head_dim=4, n_blocks=1, tied_embeddings=False)
    model, again = fresh_model(config), fresh_model(config)  # d_model 20, d_ff 29, 61 entries
    floats = 4 * (61 * 20 + 3 * 20)  # the embedding, three norms
    rows = {20: 3 * 16 + 2 * 29 + 61, 16: 20, 29: 20}  # how many there are of each width
    numbers = sum(width * count for width, count in rows.items())
    assert quantize(model, "int8") == (floats + 4 * numbers, floats + numbers + 4 * sum(rows.values()))
    assert weight_bytes(model) == floats + numbers + 4 * sum(rows.values())
    groups = 3 * rows[20] + 2 * rows[16] + 4 * rows[29]  # of 8: the last is not always full
    assert quantize(again, "int4", 8).after == floats + groups * (4 + 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@each_kind
def test_any_dtype_runs(kind: str, group_size: int | None, dtype: torch.dtype) -> None:
    model = fresh_model(latent_mixture_config(), dtype=dtype)
    quantize(model, kind, group_size)  # type: ignore[arg-type]
    with torch.no_grad():
        assert logits_of(model, random_ids(1, 5)).dtype == dtype
    assert len(list(generate_ids(model, [1, 2, 3], strategy(temperature=0), 5))) == 5


def test_a_router_stays_as_it_is() -> None:
    model, exact = fresh_model(latent_mixture_config()), fresh_model(latent_mixture_config())
    quantize(model, "int4")
    for ours, theirs in zip(model.modules(), exact.modules(), strict=False):
        if isinstance(ours, Router):
            assert isinstance(theirs, Router) and torch.equal(ours.weight, theirs.weight)


# Errors


@pytest.mark.parametrize(
    ("kind", "group_size", "message"),
    [
        ("int3", None, "weights are quantized as int8 or int4, found 'int3'"),
        ("int8", 32, "int8 has a scale for each row and no groups, found a group_size of 32"),
        ("int4", 5, "must be an even number from 2 to 4096, found 5"),
        ("int4", 0, "must be an even number from 2 to 4096, found 0"),
        ("int4", 32.0, "must be an even number from 2 to 4096, found 32.0"),
    ],
)
def test_a_scheme_that_is_none_is_an_error(kind: str, group_size: int | None, message: str) -> None:
    unchecked = inspect.unwrap(Quantization.__init__)  # the tests' type checker is not there for readers
    with pytest.raises(ValueError, match=message):
        unchecked(object.__new__(Quantization), kind, group_size)


def test_a_model_is_quantized_once() -> None:
    model = fresh_model()
    quantize(model, "int8")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="quantized already, as int8"):
        quantize(model, "int4")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error(number: float) -> None:
    model = fresh_model()
    with torch.no_grad():
        model.blocks[1].feedforward.down.weight[3, 4] = number
    with pytest.raises(ValueError, match="those of blocks.1.feedforward.down are not"):
        quantize(model, "int8")
    assert quantization_of(model) is None


# Quality


@pytest.mark.parametrize(
    ("kind", "group_size", "logit_error", "divergence"),
    [("int8", None, 0.1, 1e-3), ("int4", 32, 1.0, 0.1)],
)
def test_the_tiny_models_logits_move_little(
    kind: str, group_size: int | None, logit_error: float, divergence: float
) -> None:
    exact, tokenizer = llmref.load_tiny()
    model, _ = llmref.load_tiny()
    quantize(model, kind, group_size)  # type: ignore[arg-type]
    text = "Once upon a time Minji lives in the forest. 옛날에 민지가 숲에 살았습니다."
    ids = torch.tensor([[0, *tokenizer.encode(text)]])
    expected, found = logits_of(exact, ids), logits_of(model, ids)
    moved = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    logs, truth = found.log_softmax(dim=-1), expected.log_softmax(dim=-1)
    apart = (truth.exp() * (truth - logs)).sum(dim=-1).mean()
    assert 0 < moved < logit_error
    assert apart < divergence
