"""Positions without rotation: sinusoidal, learned and ALiBi, and what a model without any cannot tell."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy
import pytest
import torch
from helpers import (
    CACHES,
    CONTEXT_LENGTH,
    fresh_model,
    left_padded,
    logits_of,
    make_cache,
    random_ids,
    small_config,
)
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from llmref.attention import causal, documents
from llmref.config import ModelConfig
from llmref.model import sequential_positions
from llmref.positions import LearnedPositions, alibi_bias, alibi_slopes, sinusoidal

EVERYTHING = causal() | ~causal()
SCHEMES = ("none", "sinusoidal", "learned", "alibi", "rope")


def config_of(scheme: str, n_blocks: int = 2) -> ModelConfig:
    """A small model with positions of one kind."""
    config = small_config(layout="half" if scheme == "rope" else None, n_blocks=n_blocks)
    if scheme in ("sinusoidal", "learned"):
        return replace(config, positional_embedding=scheme)  # type: ignore[arg-type]
    if scheme == "alibi":
        blocks = tuple(
            replace(block, attention=replace(block.attention, alibi=True)) for block in config.blocks
        )
        return replace(config, blocks=blocks)
    return config


# Sinusoidal


@given(position=st.integers(0, 3000), half=st.integers(1, 40))
def test_sinusoidal_is_the_papers_formula(position: int, half: int) -> None:
    d_model = 2 * half
    expected = numpy.empty(d_model)
    for i in range(half):
        angle = position / 10_000 ** (2 * i / d_model)
        expected[2 * i], expected[2 * i + 1] = math.sin(angle), math.cos(angle)
    found = sinusoidal(torch.tensor([[position]]), d_model)[0, 0].numpy()
    numpy.testing.assert_allclose(found, expected, atol=5e-4)


@pytest.mark.parametrize("d_model", [2, 20, 128])
def test_sinusoidal_is_the_peer_librarys_in_another_order(d_model: int) -> None:
    theirs = MarianSinusoidalPositionalEmbedding(100, d_model).create_weight()  # sines first, then cosines
    order = torch.arange(d_model).reshape(2, d_model // 2).T.flatten()
    ours = sinusoidal(torch.arange(100)[None], d_model)[0]
    torch.testing.assert_close(ours, theirs[:, order], atol=2e-5, rtol=0)


@given(first=st.integers(0, 200), second=st.integers(0, 200), shift=st.integers(0, 200))
def test_two_sinusoidal_vectors_agree_by_their_distance(first: int, second: int, shift: int) -> None:
    here = sinusoidal(torch.tensor([[first, second]]), 16)[0]
    there = sinusoidal(torch.tensor([[first, second]]) + shift, 16)[0]
    assert (here[0] @ here[1]).item() == pytest.approx((there[0] @ there[1]).item(), abs=1e-3)


def test_a_sinusoidal_vector_of_odd_width_is_an_error() -> None:
    with pytest.raises(ValueError, match="even d_model, found 5"):
        sinusoidal(torch.tensor([[0]]), 5)


# Learned


def test_learned_positions_are_rows_of_a_table() -> None:
    layer = LearnedPositions(context_length=6, d_model=4)
    found = layer(torch.tensor([[3, 3, 0], [-1, 5, 2]]))
    assert torch.equal(found[0, 0], layer.weight[3])
    assert torch.equal(found[0, 1], layer.weight[3])
    assert torch.equal(found[1, 1], layer.weight[5])
    found.sum().backward()
    used = layer.weight.grad.abs().sum(dim=-1) > 0  # type: ignore[union-attr]
    assert used.tolist() == [True, False, True, True, False, True]


def test_a_table_ends_where_the_context_ends() -> None:
    model = fresh_model(config_of("learned"))
    ids = random_ids(1, 1)
    model(ids, torch.tensor([[CONTEXT_LENGTH - 1]]))
    with pytest.raises(ValueError, match=f"context length is {CONTEXT_LENGTH}.*found {CONTEXT_LENGTH}"):
        model(ids, torch.tensor([[CONTEXT_LENGTH]]))


# ALiBi


@pytest.mark.parametrize("n_heads", range(1, 34))
def test_slopes_are_blooms_and_mpts(n_heads: int) -> None:
    bloom = build_alibi_tensor(torch.ones(1, 2, dtype=torch.long), n_heads, torch.float32)
    torch.testing.assert_close(alibi_slopes(n_heads), bloom[:, 0, 1])
    mpt = build_mpt_alibi_tensor(n_heads, 2)
    torch.testing.assert_close(alibi_slopes(n_heads), -mpt[:, 0, 0])


@pytest.mark.parametrize("n_heads", [4, 6])
def test_weights_are_blooms_and_mpts(n_heads: int) -> None:
    # Theirs is one row for all queries: it differs from ours by a number for each query, which softmax drops.
    length = 9
    positions = torch.arange(length)[None]
    hidden = ~torch.ones(length, length, dtype=torch.bool).tril()
    scores = torch.randn(n_heads, length, length, generator=torch.Generator().manual_seed(0))
    ours = scores + alibi_bias(alibi_slopes(n_heads), positions, positions)[0]
    bloom = scores + build_alibi_tensor(torch.ones(1, length, dtype=torch.long), n_heads, torch.float32)
    mpt = scores + build_mpt_alibi_tensor(n_heads, length)
    weights = [s.masked_fill(hidden, -math.inf).softmax(dim=-1) for s in (ours, bloom, mpt)]
    torch.testing.assert_close(weights[0], weights[1])
    torch.testing.assert_close(weights[0], weights[2])


@given(data=st.data())
def test_bias_is_slope_times_distance_wherever_the_tokens_stand(data: st.DataObject) -> None:
    queries = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=4))
    keys = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=5))
    slopes = alibi_slopes(4)
    bias = alibi_bias(slopes, torch.tensor([queries]), torch.tensor([keys]))
    for head in range(4):
        for i, query in enumerate(queries):
            for j, key in enumerate(keys):
                assert bias[0, head, i, j].item() == pytest.approx(-slopes[head].item() * (query - key))


# In a model


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("backend", ["naive", "sdpa"])
def test_a_cache_changes_nothing(scheme: str, backend: str) -> None:
    model = fresh_model(config_of(scheme))
    ids, positions = random_ids(2, 11), torch.arange(11).expand(2, 11)
    with torch.no_grad(), model.attention_backend(backend):  # type: ignore[arg-type]
        whole = model(ids, positions)
        for cache in (make_cache(kind, model.config, batch=2) for kind in CACHES):
            parts = [
                model(ids[:, start:end], positions[:, start:end], cache)
                for start, end in pairwise((0, 4, 5, 6, 9, 11))
            ]
            torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_left_padding_changes_nothing(scheme: str) -> None:
    model = fresh_model(config_of(scheme))
    rows = [random_ids(1, length, seed=length)[0].tolist() for length in (3, 8, 5)]
    with torch.no_grad():
        batch = model(*left_padded(rows))
    for row, alone in zip(batch, rows, strict=True):
        expected = logits_of(model, torch.tensor([alone]))[0]
        torch.testing.assert_close(row[-len(alone) :], expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_packed_documents_do_not_meet(scheme: str) -> None:
    model = fresh_model(config_of(scheme))
    first, second = random_ids(1, 4, seed=1), random_ids(1, 6, seed=2)
    positions = torch.cat([sequential_positions(first), sequential_positions(second)], dim=1)
    mask = causal() & documents(torch.tensor([[0] * 4 + [1] * 6]))
    with torch.no_grad():
        packed = model(torch.cat([first, second], dim=1), positions, mask=mask)
    torch.testing.assert_close(packed[:, 4:], logits_of(model, second), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_distances_matter_where_a_scheme_says_so(scheme: str) -> None:
    model = fresh_model(config_of(scheme))
    ids = random_ids(1, 9)
    with torch.no_grad():
        here, there = (model(ids, sequential_positions(ids, start)) for start in (0, 20))
    relative = scheme in ("none", "alibi", "rope")
    assert torch.allclose(here, there, atol=1e-3) == relative


@pytest.mark.parametrize("scheme", SCHEMES)
@given(seed=st.integers(0, 99))
def test_without_positions_and_mask_the_last_token_sees_a_bag(scheme: str, seed: int) -> None:
    model = fresh_model(config_of(scheme))
    ids = random_ids(1, 10, seed=seed)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    order = order.roll(1) if torch.equal(order, torch.arange(9)) else order
    shuffled = torch.cat([ids[:, order], ids[:, -1:]], dim=1)
    here, there = (logits_of(model, row, mask=EVERYTHING)[0, -1] for row in (ids, shuffled))
    assert torch.allclose(here, there, atol=1e-3) == (scheme == "none")


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_a_causal_mask_tells_the_order_from_the_second_block_on(n_blocks: int) -> None:
    model = fresh_model(config_of("none", n_blocks=n_blocks))
    ids = random_ids(1, 10)
    shuffled = torch.cat([ids[:, :9].flip(1), ids[:, -1:]], dim=1)
    here, there = (logits_of(model, row)[0, -1] for row in (ids, shuffled))
    assert torch.allclose(here, there, atol=1e-3) == (n_blocks == 1)
