"""Latent attention: against its equations written out, and its two forms against each other."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from helpers import (
    chunks,
    fresh_model,
    latent_mixture_config,
    left_padded,
    logits_of,
    random_ids,
    small_model,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref.attention.latent import LatentAttention
from llmref.attention.masks import causal, documents, window
from llmref.cache import Cache, GrowingCache, StaticCache
from llmref.config import LatentAttentionConfig, NormConfig, RopeConfig, YarnScaling
from llmref.model import Transformer, sequential_positions
from llmref.rope import rotate, rotation
from llmref.trace import Cut, trace

PLAIN = LatentAttentionConfig(3, 7, 5, 4, 6, rope=RopeConfig(base=100.0))
CONFIGS = {
    "queries at once": PLAIN,
    "queries from a latent, biases": replace(PLAIN, query_latent_dim=11, bias=True, norm=NormConfig("layer")),
    "interleaved, scaled": replace(
        PLAIN, scale=0.7, rope=RopeConfig(layout="interleaved", scaling=YarnScaling(4.0, 12))
    ),
    "values wider than keys": replace(PLAIN, plain_dim=2, rotated_dim=2, value_dim=9),
    "a latent wider than all": replace(PLAIN, latent_dim=40),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def made(config: LatentAttentionConfig) -> LatentAttention:
    layer = LatentAttention(config, 10).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return layer


def vectors(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written_out(layer: LatentAttention, x: Tensor, positions: Tensor, allowed: Tensor) -> Tensor:
    """The equations of appendix C of the DeepSeek-V2 paper, one token and one head at a time."""
    config = layer.config
    n, plain, rotated, value = config.n_heads, config.plain_dim, config.rotated_dim, config.value_dim

    def turn(vector: Tensor, position: Tensor) -> Tensor:
        cos, sin = rotation(position[None, None], rotated, config.rope.base, config.rope.scaling)
        return rotate(vector[None, None, None], cos, sin, config.rope.layout)[0, 0, 0]

    out = torch.zeros_like(x)
    for row in range(len(x)):
        latents = [layer.latent_norm(layer.latent(token)) for token in x[row]]
        shared = [turn(layer.rotated_key(token), p) for token, p in zip(x[row], positions[row], strict=True)]
        for place, token in enumerate(x[row]):
            if config.query_latent_dim is None:
                query = layer.query(token)
            else:
                query = layer.query_up(layer.query_norm(layer.query_down(token)))
            heads = []
            for head in range(n):
                own = query[head * (plain + rotated) : (head + 1) * (plain + rotated)]
                turned = turn(own[plain:], positions[row, place])
                seen = [key for key in range(x.shape[1]) if allowed[row, place, key]]
                to_key = layer.key.weight[head * plain : (head + 1) * plain]
                to_value = layer.value.weight[head * value : (head + 1) * value]
                scale = config.scale or 1 / (plain + rotated) ** 0.5
                scores = [
                    scale * (own[:plain] @ (to_key @ latents[key]) + turned @ shared[key]) for key in seen
                ]
                weights = torch.stack(scores).softmax(dim=0) if seen else []
                mixed = [
                    weight * (to_value @ latents[key]) for weight, key in zip(weights, seen, strict=True)
                ]
                heads.append(sum(mixed, torch.zeros(value, dtype=x.dtype)))
            out[row, place] = layer.output(torch.cat(heads))
    return out


@each_config
@pytest.mark.parametrize("backend", ["naive", "auto", "tiled"])
def test_the_layer_is_its_equations(config: LatentAttentionConfig, backend: Any) -> None:
    layer, x = made(config), vectors(2, 6, 10)
    layer.backend = backend
    positions = torch.tensor([[0, 1, 2, 3, 4, 5], [-1, -1, 0, 1, 2, 3]])
    allowed = (causal() & window(4)).dense(positions, positions)
    with torch.no_grad():
        torch.testing.assert_close(
            layer(x, positions, allowed), written_out(layer, x, positions, allowed), rtol=1e-6, atol=1e-6
        )


@each_config
@pytest.mark.parametrize("backend", ["naive", "auto", "tiled"])
def test_both_forms_give_the_same_with_their_gradients(config: LatentAttentionConfig, backend: Any) -> None:
    layer = made(config)
    layer.backend = backend
    inputs = [
        vectors(2, 3, 4, config.plain_dim + config.rotated_dim),
        vectors(2, 1, 7, config.latent_dim, seed=2),
        vectors(2, 1, 7, config.rotated_dim, seed=3),
    ]
    allowed = torch.rand(2, 4, 7, generator=torch.Generator().manual_seed(4)) < 0.5
    allowed[0, 1] = False  # padding: a query that looks at nothing
    wanted = [*(tensor.requires_grad_() for tensor in inputs), layer.key.weight, layer.value.weight]
    expanded, absorbed = (form(*inputs, allowed) for form in (layer.expanded, layer.absorbed))
    torch.testing.assert_close(absorbed, expanded)
    weights = vectors(*expanded.shape, seed=5)
    torch.testing.assert_close(
        torch.autograd.grad((absorbed * weights).sum(), wanted),
        torch.autograd.grad((expanded * weights).sum(), wanted),
    )


@pytest.mark.parametrize(
    "mask",
    [None, causal() & window(3), causal() & documents(torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 2))],
    ids=str,
)
def test_the_backends_agree(mask: Any) -> None:
    model, ids = small_model(latent_mixture_config(), dtype=torch.float64), random_ids(2, 7)
    with model.attention_backend("naive"):
        expected = logits_of(model, ids, mask)
        assert all(block.attention.backend == "naive" for block in model.blocks)
    assert all(block.attention.backend == "auto" for block in model.blocks)
    for backend in ("auto", "sdpa", "tiled"):
        with model.attention_backend(backend):  # type: ignore[arg-type]
            torch.testing.assert_close(logits_of(model, ids, mask), expected)


@given(chunks(12), st.booleans(), st.sampled_from(["naive", "auto", "tiled"]))
def test_a_cache_of_latents_gives_what_a_whole_pass_gives(
    sizes: list[int], static: bool, backend: Any
) -> None:
    model, ids = small_model(latent_mixture_config(), dtype=torch.float64), random_ids(2, 12)
    cache: Cache = GrowingCache()
    if static:
        cache = StaticCache(model.config, 15, 2, dtype=torch.float64)
    with torch.no_grad(), model.attention_backend(backend):
        parts = [
            model(part, positions, cache)
            for part, positions in zip(
                ids.split(sizes, dim=1), sequential_positions(ids).split(sizes, dim=1), strict=True
            )
        ]
    torch.testing.assert_close(torch.cat(parts, dim=1), logits_of(model, ids))


def test_a_cache_holds_a_latent_and_a_rotated_key_for_each_token() -> None:
    model, ids = small_model(latent_mixture_config()), random_ids(2, 9)
    growing, static = GrowingCache(), StaticCache(model.config, 9, 2)
    for cache in (growing, static):
        with torch.no_grad():
            model(ids, sequential_positions(ids), cache)
        assert cache.n_bytes == 2 * 2 * 9 * (7 + 4) * 4  # blocks, rows, tokens, numbers, bytes
        assert cache.keys[1].shape == (2, 1, 9, 7)
        assert cache.values[1].shape == (2, 1, 9, 4)
    torch.testing.assert_close(growing.keys[1], static.keys[1])


def test_padding_changes_nothing() -> None:
    model = small_model(latent_mixture_config(), dtype=torch.float64)
    rows = [[1, 2, 3, 4, 5], [6, 7]]
    ids, positions = left_padded(rows)
    cache = GrowingCache()
    with torch.no_grad():
        whole = model(ids, positions)
        steps = [model(ids[:, [i]], positions[:, [i]], cache) for i in range(5)]
    for index, row in enumerate(rows):
        alone = logits_of(model, torch.tensor([row]))[0]
        torch.testing.assert_close(whole[index, -len(row) :], alone)
        torch.testing.assert_close(torch.cat(steps, dim=1)[index, -len(row) :], alone)


def test_a_step_of_decoding_makes_no_heads_keys_and_values() -> None:
    model, ids = small_model(latent_mixture_config()), random_ids(1, 6)
    made_keys: list[Tensor] = []
    layer = model.blocks[0].attention
    hook = layer.key.register_forward_hook(lambda module, inputs, output: made_keys.append(output))
    cache = GrowingCache()
    with torch.no_grad():
        model(ids[:, :5], sequential_positions(ids)[:, :5], cache)
        assert len(made_keys) == 1
        model(ids[:, 5:], sequential_positions(ids)[:, 5:], cache)
    assert len(made_keys) == 1
    hook.remove()


# In a trace

IDS = random_ids(2, 7)
SHAPES = {
    "latent": (2, 1, 7, 7),
    "rotated_key": (2, 1, 7, 4),
    "query": (2, 3, 7, 9),
    "key": (2, 3, 7, 9),
    "value": (2, 3, 7, 6),
    "scores": (2, 3, 7, 7),
    "weights": (2, 3, 7, 7),
    "head_outputs": (2, 3, 7, 6),
    "output": (2, 7, 20),
}


def test_a_trace_has_the_latent_and_what_is_made_of_it() -> None:
    model = small_model(latent_mixture_config())
    seen = trace(model, IDS)
    name = "blocks.1.attention"
    found = {key: tuple(tensor.shape) for key, tensor in seen.items() if key.startswith(f"{name}.")}
    assert list(found.items()) == [(f"{name}.{key}", shape) for key, shape in SHAPES.items()]
    layer = model.blocks[1].attention
    key = layer.key(seen[f"{name}.latent"][:, 0]).unflatten(-1, (3, 5)).transpose(1, 2)
    torch.testing.assert_close(seen[f"{name}.key"][..., :5], key)
    for head in range(3):
        assert torch.equal(seen[f"{name}.key"][:, head, :, 5:], seen[f"{name}.rotated_key"][:, 0])
        scores = seen[f"{name}.query"][:, head] @ seen[f"{name}.key"][:, head].mT / 9**0.5
        torch.testing.assert_close(seen[f"{name}.scores"][:, head], scores)
        torch.testing.assert_close(
            seen[f"{name}.weights"][:, head] @ seen[f"{name}.value"][:, head],
            seen[f"{name}.head_outputs"][:, head],
        )


@pytest.mark.parametrize(("head", "columns"), [(1, slice(6, 12)), (None, slice(None))])
def test_a_head_or_the_layer_can_be_cut(head: int | None, columns: slice) -> None:
    cut = Cut("blocks.0.attention", head)
    model = fresh_model(latent_mixture_config())
    if head is None:
        with torch.no_grad():
            model.blocks[0].attention.output.bias.zero_()
    found = trace(model, IDS, cuts=[cut])["logits"]
    with torch.no_grad():
        model.blocks[0].attention.output.weight[:, columns] = 0
    torch.testing.assert_close(found, logits_of(model, IDS))
    with pytest.raises(ValueError, match="heads 0 to 2, found 3"):
        trace(model, IDS, cuts=[Cut("blocks.0.attention", 3)])


def test_fresh_weights_pass_on_about_the_size_they_get() -> None:
    torch.manual_seed(0)
    layer = Transformer(latent_mixture_config()).blocks[0].attention
    for name, inputs in {"latent": 20, "key": 7, "value": 7, "query_down": 20, "query_up": 11}.items():
        assert getattr(layer, name).weight.std().item() == pytest.approx(inputs**-0.5, rel=0.15)
    assert layer.output.weight.std().item() == pytest.approx((18 * 4) ** -0.5, rel=0.15)


def test_sizes_are_those_of_the_config() -> None:
    for query_latent_dim, rotated_dim in product((None, 3), (2, 8)):
        config = replace(PLAIN, query_latent_dim=query_latent_dim, rotated_dim=rotated_dim)
        assert config.cached == (1, 7, rotated_dim)
        positions = torch.arange(3)[None]
        layer = made(config)
        assert layer(vectors(1, 3, 10), positions, causal().dense(positions, positions)).shape == (1, 3, 10)
