"""`cost` counts from the config alone what a real model, a real pass and a real cache have."""

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch.utils.flop_counter import FlopCounterMode

from llmref.cache import Cache, GrowingCache, RollingCache, StaticCache
from llmref.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    LatentAttentionConfig,
    MixtureConfig,
    ModelConfig,
)
from llmref.cost import Cost, cost, count, size
from llmref.mixture_of_experts import MixtureOfExperts
from llmref.model import Transformer, sequential_positions

NORM = st.fixed_dictionaries({"kind": st.sampled_from(["rms", "layer"]), "bias": st.booleans()})
QUERY_KEY_NORM = st.fixed_dictionaries({"norm": NORM, "over": st.sampled_from(["head", "all_heads"])})
NORM_OF_EACH_HEAD = st.fixed_dictionaries(
    {"norm": NORM.map(lambda norm: {**norm, "bias": False}), "over": st.just("each_head")}
)
FEEDFORWARD = st.fixed_dictionaries(
    {"d_ff": st.integers(1, 20), "gated": st.booleans(), "bias": st.booleans()}
)
LATENT_ATTENTION = st.fixed_dictionaries(
    {
        "kind": st.just("latent"),
        "n_heads": st.integers(1, 3),
        "latent_dim": st.integers(1, 8),
        "plain_dim": st.integers(1, 5),
        "rotated_dim": st.sampled_from([2, 4]),
        "value_dim": st.integers(1, 5),
        "query_latent_dim": st.none() | st.integers(1, 6),
        "norm": NORM,
        "bias": st.booleans(),
    }
)


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, Any]:
    n_experts = draw(st.integers(1, 5))
    return {
        "kind": "mixture",
        "n_experts": n_experts,
        "n_active": draw(st.integers(1, n_experts)),
        "expert": draw(FEEDFORWARD),
        "shared": draw(st.none() | FEEDFORWARD),
        "router": {"bias": draw(st.booleans()), "choice_bias": draw(st.booleans())},
    }


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    n_kv_heads = draw(st.integers(1, 3))
    position = draw(st.sampled_from(["none", "pre", "post", "output", "sandwich"]))
    residual = draw(st.sampled_from(["none", "serial"] + ["parallel"] * (position != "post")))
    return {
        "attention": draw(LATENT_ATTENTION)
        if draw(st.booleans())
        else {
            "n_heads": n_kv_heads * draw(st.integers(1, 3)),
            "n_kv_heads": n_kv_heads,
            "head_dim": 2 * draw(st.integers(1, 4)),
            "window": draw(st.none() | st.integers(1, 4)),
            "bias": draw(st.booleans()),
            "output_bias": draw(st.booleans()),
            "query_key_norm": draw(st.none() | QUERY_KEY_NORM | NORM_OF_EACH_HEAD),
            "sinks": draw(st.booleans()),
            "rope": draw(st.sampled_from([None, {}])),
            "alibi": draw(st.booleans()),
        },
        "feedforward": draw(FEEDFORWARD | mixtures()),
        "norm": draw(NORM),
        "norm_position": position,
        "residual": residual,
        "shared_norm": position == "pre" and residual == "parallel" and draw(st.booleans()),
    }


# Configs as plain values, made into configs in the test: the shape checker draws at random where one is made.
CONFIGS = st.fixed_dictionaries(
    {
        "vocab_size": st.integers(2, 30),
        "d_model": st.integers(1, 10).map(lambda half: 2 * half),
        "context_length": st.integers(4, 12),
        "blocks": st.lists(blocks(), min_size=1, max_size=3),
        "norm": NORM,
        "embedding_norm": st.booleans(),
        "tied_embeddings": st.booleans(),
        "positional_embedding": st.sampled_from([None, "sinusoidal", "learned"]),
    }
)


def idle_parameters(model: Transformer) -> int:
    """The parameters of the experts that one token does not go to, counted on the experts themselves."""
    idle = 0
    for block in model.blocks:
        if isinstance(mixture := block.feedforward, MixtureOfExperts):
            sizes = [sum(p.numel() for p in expert.parameters()) for expert in mixture.experts]
            idle += sum(sizes[mixture.config.n_active :])
    return idle


class Watched(RollingCache):
    """A rolling cache that adds up the bytes that the blocks look at in a pass."""

    def extend(self, positions: torch.Tensor) -> None:
        super().extend(positions)
        self.looked_at = 0

    def update(self, block: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = super().update(block, key, value)
        self.looked_at += sum(tensor.numel() * tensor.element_size() for tensor in (keys, values))
        return keys, values


def counted_flops(model: Transformer, ids: torch.Tensor, positions: torch.Tensor, cache: Cache) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter, model.attention_backend("naive"):
        model(ids, positions, cache)
    return counter.get_total_flops()


@settings(max_examples=40, deadline=None)
@given(CONFIGS, st.integers(1, 3), st.integers(2, 4))
def test_it_equals_what_is_counted_on_a_real_model(values: dict[str, Any], batch: int, context: int) -> None:
    config = ModelConfig.from_dict(values)
    model = Transformer(config)
    found = cost(config, batch, context, bytes_per_number=4)

    assert found.total.parameters == model.n_parameters
    of_blocks = {
        name: sum(p.numel() for path, p in model.blocks.named_parameters() if path.split(".")[1] == name)
        for name in ("attention", "feedforward")
    }
    assert found.attention.parameters == of_blocks["attention"]
    assert found.feedforward.parameters == of_blocks["feedforward"]
    assert found.total.active_parameters == model.n_parameters - idle_parameters(model)
    assert found.total.weight_bytes == sum(p.numel() * p.element_size() for p in model.parameters())

    ids = torch.zeros(batch, context, dtype=torch.long)
    positions = sequential_positions(ids)
    whole = GrowingCache()
    assert found.total.prefill_flops == counted_flops(model, ids, positions, whole)
    assert whole.n_bytes == StaticCache(config, context, batch).n_bytes
    assert found.total.cache_bytes <= whole.n_bytes
    if all(block.attention.window is None for block in config.blocks):
        assert found.total.cache_bytes == whole.n_bytes

    cache = Watched(config)
    counted_flops(model, ids[:, :-1], positions[:, :-1], cache)
    assert found.total.decode_flops == counted_flops(model, ids[:, -1:], positions[:, -1:], cache)
    assert found.total.cache_bytes == cache.looked_at


def llama(vocab: int, d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> ModelConfig:
    block = BlockConfig(AttentionConfig(heads, kv_heads, d_model // heads), FeedForwardConfig(d_ff))
    return ModelConfig(vocab, d_model, 131_072, (block,) * layers, tied_embeddings=False)


def test_real_shapes_give_their_published_counts_without_a_model() -> None:
    # Llama 3.1 8B, 70B; the counts are those of the published weights.
    assert cost(llama(128_256, 4096, 32, 32, 8, 14_336)).total.parameters == 8_030_261_248
    assert cost(llama(128_256, 8192, 80, 64, 8, 28_672)).total.parameters == 70_553_706_496


def test_a_tied_head_has_no_weights_of_its_own_but_its_flops() -> None:
    block = BlockConfig(AttentionConfig(2, 1, 4), FeedForwardConfig(8))
    tied, own = (ModelConfig(10, 8, 4, (block,), tied_embeddings=tied) for tied in (True, False))
    assert cost(tied).lm_head.parameters == 0
    assert cost(tied).lm_head.prefill_flops == cost(own).lm_head.prefill_flops > 0
    assert cost(tied).decode_bytes == cost(own).decode_bytes


def test_a_decode_step_reads_all_weights_but_the_table_and_all_of_the_cache() -> None:
    block = BlockConfig(AttentionConfig(2, 1, 4), FeedForwardConfig(8))
    config = ModelConfig(10, 8, 4, (block,), tied_embeddings=False)
    found = cost(config, batch=3)
    weights = (found.total.parameters - 10 * 8) * 2
    assert found.decode_bytes == weights + 3 * 4 * 2 * 1 * 4 * 2


def test_a_window_bounds_the_cache_of_its_own_blocks() -> None:
    feedforward = FeedForwardConfig(8)
    windowed, full = (BlockConfig(AttentionConfig(2, 1, 4, window), feedforward) for window in (16, None))
    config = ModelConfig(10, 8, 100, (windowed, full, windowed))
    per_token = 2 * 4 * 2  # key and value, head_dim, bytes
    for context in (10, 16, 17, 100):
        found = cost(config, batch=3, context=context)
        assert found.total.cache_bytes == 3 * per_token * (2 * min(context, 16) + context)
    longer, shorter = (cost(config, context=context).attention.decode_flops for context in (100, 99))
    assert longer - shorter == 4 * 2 * 4  # one more pair, in the block without a window alone


def test_of_a_mixture_a_decode_step_reads_as_many_experts_as_its_tokens_choose() -> None:
    expert = FeedForwardConfig(7)
    block = BlockConfig(AttentionConfig(2, 1, 4), MixtureConfig(8, 3, expert, shared=expert))
    config = ModelConfig(10, 8, 4, (block, block))
    one = 3 * 8 * 7
    for batch, idle in ((1, 5), (2, 2), (3, 0), (9, 0)):
        found = cost(config, batch, bytes_per_number=4)
        assert found.total.idle_parameters == 2 * 5 * one
        everything = found.total.weight_bytes + found.total.cache_bytes
        assert found.decode_bytes == everything - 2 * idle * one * 4
    met = count(found.total.active_parameters)
    assert str(found).splitlines()[-1] == f"each token meets {met} of the parameters"


def test_real_mixtures_give_their_published_counts() -> None:
    # Mixtral 8x7B: 46.7 billion parameters, 12.9 billion for each token (Jiang et al., 2024, section 2).
    block = BlockConfig(AttentionConfig(32, 8, 128), MixtureConfig(8, 2, FeedForwardConfig(14_336)))
    found = cost(ModelConfig(32_000, 4096, 32_768, (block,) * 32, tied_embeddings=False)).total
    assert found.parameters == 46_702_792_704
    assert round(found.active_parameters / 1e8) == 129

    # DeepSeek-V3: 671,026,419,200 with its choice biases, and 37 billion without the embedding's table
    # (DeepSeek-AI, 2024, section 4.2); a token's cache has 70.272 KB (Zhao et al., 2025, table 1).
    attention = LatentAttentionConfig(128, 512, 128, 64, 128, query_latent_dim=1536)
    expert = FeedForwardConfig(2048)
    dense = BlockConfig(attention, FeedForwardConfig(18_432))
    sparse = BlockConfig(attention, MixtureConfig(256, 8, expert, shared=expert))
    config = ModelConfig(129_280, 7168, 163_840, (dense,) * 3 + (sparse,) * 58, tied_embeddings=False)
    found = cost(config, context=1).total
    assert found.parameters + 58 * 256 == 671_026_419_200
    assert round((found.active_parameters - 129_280 * 7168) / 1e9) == 37
    assert found.cache_bytes == 61 * (512 + 64) * 2 == 70_272


def test_the_table_lists_each_component_and_the_total() -> None:
    found = cost(llama(128_256, 4096, 32, 32, 8, 14_336), context=8192)
    lines = str(found).splitlines()
    assert lines[0] == "batch 1, context 8,192"
    assert [line.split()[0] for line in lines[2:]] == [*found.parts, "total"]
    assert " ".join(lines[-1].split()) == "total 8.03 G 15 GiB 158 TFLOP 19.3 GFLOP 1 GiB"
    assert len({len(line) for line in lines[1:]}) == 1


@pytest.mark.parametrize(
    "given, message",
    [
        ({"batch": 0}, "batch must be at least 1, found 0"),
        ({"context": 0}, "context must be at least 1, found 0"),
        ({"bytes_per_number": 0}, "bytes_per_number must be at least 1, found 0"),
        ({"context": 5}, "this model's context length is 4, found a context of 5"),
    ],
)
def test_bad_input_says_what_was_wrong(given: dict[str, int], message: str) -> None:
    block = BlockConfig(AttentionConfig(2, 1, 4), FeedForwardConfig(8))
    with pytest.raises(ValueError, match=message):
        cost(ModelConfig(10, 8, 4, (block,)), **given)


def test_short_forms() -> None:
    assert [count(n) for n in (0, 999, 1000, 999_500, 12_345_678)] == ["0 ", "999 ", "1 k", "1 M", "12.3 M"]
    assert [size(n) for n in (0, 999, 1024, 1024**3 * 16)] == ["0 B", "999 B", "1 KiB", "16 GiB"]
    assert isinstance(cost(llama(10, 8, 1, 2, 1, 8)), Cost)
