"""Attention: the two steps held to the formula, and the heads; test_attention_backends has the backends."""

import math
from itertools import product

import pytest
import torch
from helpers import (
    fresh_model,
    random_ids,
    small_config,
)
from torch import Tensor, nn

from llmref.attention import attend, attention_weights, combine, dot_product_attention, relevance_scores
from llmref.attention.heads import MultiHeadAttention
from llmref.attention.masks import causal, window
from llmref.attention.scoring import Scoring
from llmref.config import AttentionConfig

EXACT = ["naive", "sdpa", "tiled"]  # those with gradients in float64 on a CPU


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_loops(
    query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Attention one query and one key at a time: the formula and nothing else."""
    batch, heads, queries, head_dim = query.shape
    if bias is None:
        bias = torch.zeros(batch, heads, queries, key.shape[2], dtype=query.dtype)
    bias = bias.expand(batch, -1, -1, -1)
    rows = []
    for b, h, q in product(range(batch), range(heads), range(queries)):
        seen = [k for k in range(key.shape[2]) if allowed[b, q, k]]
        powers = [(query[b, h, q] @ key[b, h, k] / head_dim**0.5 + bias[b, h, q, k]).exp() for k in seen]
        mixed = [power / sum(powers) * value[b, h, k] for k, power in zip(seen, powers, strict=True)]
        rows.append(sum(mixed, torch.zeros(head_dim, dtype=query.dtype)))
    return torch.stack(rows).reshape(query.shape)


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """The gradients of a sum in which every number of the output has a weight of its own."""
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return list(torch.autograd.grad((output * weights).sum(), inputs))


def one_case(bias_rows: int | None) -> tuple[list[Tensor], Tensor, Tensor | None]:
    """Queries, keys and values; a mask with a row of padding; a bias for each row, one for all, or none."""
    inputs = [vectors(2, 3, 4, 6), vectors(2, 3, 7, 6, seed=1), vectors(2, 3, 7, 6, seed=2)]
    allowed = torch.rand(2, 4, 7, generator=torch.Generator().manual_seed(3)) < 0.5
    allowed[0, 1] = False  # padding: a query that looks at nothing
    return inputs, allowed, None if bias_rows is None else 3 * vectors(bias_rows, 3, 4, 7, seed=4)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("bias_rows", [None, 1, 2])
@pytest.mark.parametrize("backend", EXACT)
def test_every_backend_is_the_formula(backend: str, bias_rows: int | None, learned: bool) -> None:
    inputs, allowed, bias = one_case(bias_rows)
    wanted = inputs + [bias] if bias is not None and learned else inputs
    for tensor in wanted:
        tensor.requires_grad_()
    found = attend(*inputs, allowed, backend, Scoring(bias=bias))  # type: ignore[arg-type]
    expected = in_loops(*inputs, allowed, bias)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found[0, :, 1].abs().max() == 0
    torch.testing.assert_close(gradients(found, wanted), gradients(expected, wanted), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", EXACT)
def test_a_bias_moves_attention_and_takes_the_dtype_of_the_queries(backend: str) -> None:
    (query, key, value), allowed, _ = one_case(None)
    bias = torch.zeros(1, 3, 4, 7)
    bias[:, 1, :, 2] = 100.0  # head 1 is told to look at key 2, and does wherever it may
    plain, moved = (
        attend(query, key, value, allowed, backend, Scoring(bias=some))  # type: ignore[arg-type]
        for some in (None, bias)
    )
    assert moved.dtype == torch.float64
    torch.testing.assert_close(moved[:, [0, 2]], plain[:, [0, 2]], rtol=1e-12, atol=1e-12)
    for row, query_place in product(range(2), range(4)):
        expected = value[row, 1, 2] if allowed[row, query_place, 2] else plain[row, 1, query_place]
        torch.testing.assert_close(moved[row, 1, query_place], expected, rtol=1e-12, atol=1e-12)


def test_the_two_steps_are_the_whole() -> None:
    query, key, value = vectors(3, 2, 3, 5, 8).unbind()
    allowed = torch.ones(2, 5, 5, dtype=torch.bool).tril()
    scores = relevance_scores(query, key)
    torch.testing.assert_close(scores, torch.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(8))
    weights = attention_weights(scores, allowed)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert weights[:, :, 1, 2:].abs().max() == 0
    assert torch.equal(combine(weights, value), dot_product_attention(query, key, value, allowed))


def test_scores_keep_their_size_whatever_the_heads_size() -> None:
    for head_dim in (4, 64, 1024):
        scores = relevance_scores(vectors(1, 1, 200, head_dim), vectors(1, 1, 200, head_dim, seed=1))
        assert scores.std().item() == pytest.approx(1.0, abs=0.1)


def test_an_unknown_backend_is_named() -> None:
    x = vectors(1, 1, 1, 2)
    allowed = torch.ones(1, 1, 1, dtype=torch.bool)
    with pytest.raises((ValueError, TypeError), match="backend"):
        attend(x, x, x, allowed, "fast")  # type: ignore[arg-type]
    with (
        pytest.raises((ValueError, TypeError), match="backend"),
        fresh_model().attention_backend("fast"),  # type: ignore[arg-type]
    ):
        pass


# One module for multi-head, grouped-query and multi-query attention


@pytest.mark.parametrize("bias", [False, True])
def test_multi_head_attention_is_pytorchs(bias: bool) -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(
        AttentionConfig(4, 4, 5, bias=bias, rope=None, output_bias=bias), d_model=20
    ).double()
    twin = nn.MultiheadAttention(20, 4, bias=bias, batch_first=True, dtype=torch.float64)
    parts = (layer.query, layer.key, layer.value)
    with torch.no_grad():
        twin.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        twin.out_proj.weight.copy_(layer.output.weight)
        if bias:
            twin.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            twin.out_proj.bias.copy_(layer.output.bias)
    x, allowed = vectors(2, 7, 20), torch.ones(7, 7, dtype=torch.bool).tril()
    expected, _ = twin(x, x, x, attn_mask=~allowed, need_weights=False)
    positions = torch.arange(7).expand(2, 7)
    torch.testing.assert_close(layer(x, positions, allowed.expand(2, 7, 7)), expected)


@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(6, 3), (6, 2), (6, 1)])
def test_shared_heads_are_multi_head_attention_with_equal_keys_and_values(
    n_heads: int, n_kv_heads: int
) -> None:
    torch.manual_seed(0)
    shared = MultiHeadAttention(AttentionConfig(n_heads, n_kv_heads, 4), d_model=10).double()
    full = MultiHeadAttention(AttentionConfig(n_heads, n_heads, 4), d_model=10).double()
    weights = shared.state_dict()
    for name in ("key.weight", "value.weight"):
        blocks = weights[name].unflatten(0, (n_kv_heads, 4))
        weights[name] = torch.cat([blocks[head // (n_heads // n_kv_heads)] for head in range(n_heads)])
    full.load_state_dict(weights)
    x, positions = vectors(1, 7, 10), torch.arange(7)[None]
    allowed = causal().dense(positions, positions)
    torch.testing.assert_close(shared(x, positions, allowed), full(x, positions, allowed))
    assert shared.key.weight.shape == (n_kv_heads * 4, 10)


# In a model


def test_a_window_of_one_sees_itself_alone_and_a_wide_one_sees_all() -> None:
    ids = random_ids(1, 9)
    positions = torch.arange(9)[None]
    narrow = fresh_model(small_config(window=1))
    with torch.no_grad():
        alone = torch.cat([narrow(ids[:, i : i + 1], positions[:, i : i + 1]) for i in range(9)], dim=1)
        torch.testing.assert_close(narrow(ids, positions), alone)
        everything = fresh_model(small_config(window=None))(ids, positions)
        torch.testing.assert_close(fresh_model(small_config(window=9))(ids, positions), everything)
        assert not torch.allclose(fresh_model(small_config(window=8))(ids, positions), everything)


def test_a_mask_given_to_the_model_joins_the_blocks_own_window() -> None:
    ids, positions = random_ids(1, 9), torch.arange(9)[None]
    with torch.no_grad():
        by_config = fresh_model(small_config(window=3))(ids, positions)
        by_mask = fresh_model(small_config())(ids, positions, mask=causal() & window(3))
        narrower = fresh_model(small_config(window=5))(ids, positions, mask=causal() & window(3))
    torch.testing.assert_close(by_config, by_mask)
    torch.testing.assert_close(by_config, narrower)
