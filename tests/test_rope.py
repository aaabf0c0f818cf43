"""RoPE: two layouts against twins that are not ours, and what a rotation must do."""

import math

import pytest
import torch
from helpers import fresh_model, logits_of, random_ids, small_config
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from llmref.config import RopeConfig
from llmref.rope import rotate, rotation

SHAPE = (2, 3, 5, 8)  # batch, heads, tokens, head_dim
POSITIONS = torch.tensor([[0, 1, 2, 3, 40], [7, 7, 0, 900, 12]])


def vectors(seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def as_complex_numbers(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """The paper's view: a pair is a complex number, and a position multiplies it by e^(i·angle)."""
    head_dim = x.shape[-1]
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], head_dim // 2, 2).contiguous())
    exponents = torch.arange(head_dim // 2, dtype=torch.float64) * -2 / head_dim
    angles = positions[:, None, :, None] * base**exponents
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


@pytest.mark.parametrize("base", [10.0, 10_000.0])
def test_interleaved_is_a_product_of_complex_numbers(base: float) -> None:
    cos, sin = rotation(POSITIONS, 8, base)
    turned = rotate(vectors(), cos, sin, "interleaved")
    torch.testing.assert_close(turned, as_complex_numbers(vectors(), POSITIONS, base), atol=2e-4, rtol=0)


def test_half_is_what_the_peer_library_does() -> None:
    cos, sin = rotation(POSITIONS, 8, 100.0)
    query, key = vectors(0, torch.float32), vectors(1, torch.float32)
    twice = [torch.cat([table, table], dim=-1) for table in (cos, sin)]
    theirs = apply_rotary_pos_emb(query, key, *twice)
    torch.testing.assert_close(rotate(query, cos, sin, "half"), theirs[0])
    torch.testing.assert_close(rotate(key, cos, sin, "half"), theirs[1])


def test_the_layouts_are_one_rotation_with_the_dimensions_in_another_order() -> None:
    cos, sin = rotation(POSITIONS, 8)
    order = torch.arange(8).reshape(4, 2).T.flatten()  # 0 2 4 6 1 3 5 7
    x = vectors()
    torch.testing.assert_close(
        rotate(x[..., order], cos, sin, "half"), rotate(x, cos, sin, "interleaved")[..., order]
    )
    assert not torch.allclose(rotate(x, cos, sin, "half"), rotate(x, cos, sin, "interleaved"), atol=0.1)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@given(shift=st.integers(0, 500), seed=st.integers(0, 99))
def test_scores_depend_on_the_distance_alone(layout: str, shift: int, seed: int) -> None:
    query, key = vectors(seed), vectors(seed + 1)

    def scores(positions: Tensor) -> Tensor:
        tables = rotation(positions, 8, 50.0)
        return rotate(query, *tables, layout) @ rotate(key, *tables, layout).mT  # type: ignore[arg-type]

    torch.testing.assert_close(scores(POSITIONS), scores(POSITIONS + shift), atol=2e-3, rtol=0)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_a_rotation_keeps_lengths_and_position_0_keeps_all(layout: str) -> None:
    cos, sin = rotation(POSITIONS, 8)
    turned = rotate(vectors(), cos, sin, layout)  # type: ignore[arg-type]
    torch.testing.assert_close(turned.norm(dim=-1), vectors().norm(dim=-1), atol=1e-6, rtol=0)
    assert torch.equal(turned[0, :, 0], vectors()[0, :, 0])
    assert torch.equal(turned[1, :, 2], vectors()[1, :, 2])


def test_the_slowest_pair_turns_by_the_formula() -> None:
    cos, sin = rotation(torch.tensor([[3]]), head_dim=8, base=10_000.0)
    for pair in range(4):
        angle = 3 * 10_000 ** (-2 * pair / 8)
        assert cos[0, 0, pair].item() == pytest.approx(math.cos(angle), abs=1e-6)
        assert sin[0, 0, pair].item() == pytest.approx(math.sin(angle), abs=1e-6)


def test_tables_stay_float32_and_vectors_keep_their_dtype() -> None:
    cos, sin = rotation(POSITIONS, 8)
    assert cos.dtype == sin.dtype == torch.float32
    assert rotate(vectors(0, torch.bfloat16), cos, sin).dtype == torch.bfloat16


def test_a_model_reads_layout_and_base_from_its_config() -> None:
    ids = random_ids(1, 12)
    half = logits_of(fresh_model(small_config(layout="half")), ids)
    interleaved = logits_of(fresh_model(small_config(layout="interleaved")), ids)
    without = logits_of(fresh_model(small_config(layout=None)), ids)
    assert not torch.allclose(half, interleaved, atol=1e-2)
    assert not torch.allclose(half, without, atol=1e-2)
    assert torch.allclose(half[:, 0], interleaved[:, 0])  # position 0 turns nothing
    assert RopeConfig().base == 10_000
