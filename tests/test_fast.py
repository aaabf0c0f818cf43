"""The fast path against the reference, its plain twin: the same model, other ways to run it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import CONTEXT_LENGTH, VOCAB_SIZE, fresh_model, latent_mixture_config, random_ids, small_config
from torch import Tensor, nn

from llmref.attention import attend
from llmref.attention.scoring import Scoring
from llmref.cache import GrowingCache, StaticCache
from llmref.config import (
    FeedForwardConfig,
    MixtureConfig,
    ModelConfig,
    NormConfig,
    QueryKeyNormConfig,
    RouterConfig,
    YarnScaling,
)
from llmref.decoding import strategy
from llmref.fast import join_projections, prepare
from llmref.fast.experts import GatheredExperts
from llmref.fast.graphed import GraphedStep
from llmref.fast.linear import FastLinear
from llmref.fast.packed import can_pack, pack, packed_linear
from llmref.fast.streaming_attention import streamed_attention
from llmref.fast.streaming_linear import stream, tensors_of
from llmref.generation import beam_search, generate_ids
from llmref.mixture_of_experts import MixtureOfExperts
from llmref.model import Transformer, sequential_positions
from llmref.quantization import Int4Linear, Int8Linear, quantize

GREEDY = strategy(temperature=0)
PROMPT = random_ids(7, seed=3).tolist()


def with_attention(**changes: object) -> ModelConfig:
    """The small config, its attention changed, in every second block only."""
    config = small_config()
    block = config.blocks[0]
    changed = replace(block, attention=replace(block.attention, **changes))
    return replace(config, blocks=(block, changed))


def gemma() -> ModelConfig:
    config = with_attention(window=5, soft_cap=9.0, scale=0.3)
    norm = NormConfig(unit_offset=True)
    blocks = tuple(replace(block, norm=norm, norm_position="sandwich") for block in config.blocks)
    return replace(config, blocks=blocks, norm=norm, embedding_multiplier=4.47, logit_soft_cap=20.0)


def mixture(**expert: object) -> ModelConfig:
    feedforward = MixtureConfig(5, 2, FeedForwardConfig(13, **expert), router=RouterConfig())
    config = small_config()
    return replace(config, blocks=tuple(replace(b, feedforward=feedforward) for b in config.blocks))


CONFIGS: dict[str, Callable[[], ModelConfig]] = {
    "Llama": small_config,
    "GPT-2": lambda: small_config(
        layout=None,
        positional_embedding="learned",
        norm="layer",
        gated=False,
        activation="gelu_tanh",
        bias=True,
        n_kv_heads=4,
    ),
    "Gemma": gemma,
    "Qwen3": lambda: with_attention(query_key_norm=QueryKeyNormConfig(), bias=True),
    "OLMo 2": lambda: with_attention(query_key_norm=QueryKeyNormConfig(over="all_heads")),
    "gpt-oss": lambda: with_attention(sinks=True, window=4),
    "ALiBi": lambda: small_config(layout=None, alibi=True, n_kv_heads=1),
    "parallel": lambda: small_config(residual="parallel", tied_embeddings=False),
    "YaRN": lambda: with_attention(
        rope=replace(small_config().blocks[0].attention.rope, scaling=YarnScaling(4.0, 16))
    ),
    "mixture": mixture,
    "plain experts with biases": lambda: mixture(gated=False, bias=True),
    "latent attention, mixture": latent_mixture_config,
}


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """All goes the ways of a compiled step, but runs as it stands, so that shapes are checked too."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


def steps(model: Transformer, prompt: int = 7, rows: int = 1, more: int = 9) -> Tensor:
    """The logits of a prompt and of single tokens after it, with the model's own cache."""
    ids = random_ids(rows, prompt + more, seed=5)
    cache = model.new_cache(rows, prompt + more + 3)
    positions = sequential_positions(ids)
    passes = [slice(0, prompt), *(slice(n, n + 1) for n in range(prompt, prompt + more))]
    hidden = [model.hidden_states(ids[:, part], positions[:, part], cache) for part in passes]
    return torch.stack([model.logits(each[:, -1]) for each in hidden], dim=1)


@torch.no_grad()
def assert_twins(model: Transformer, fast: object, atol: float = 2e-4, **sizes: int) -> None:
    expected, found = steps(model, **sizes), steps(fast, **sizes)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found.float(), expected.float(), atol=atol, rtol=atol)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.usefixtures("compiling")
def test_a_step_gives_what_the_reference_gives(name: str) -> None:
    model = fresh_model(CONFIGS[name]())
    fast = prepare(model, backend=None)
    assert_twins(model, fast)
    assert list(generate_ids(fast, PROMPT, GREEDY, 20)) == list(generate_ids(model, PROMPT, GREEDY, 20))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", CONFIGS)
def test_prompts_and_batches_give_what_the_reference_gives(name: str, rows: int) -> None:
    model = fresh_model(CONFIGS[name]())
    assert_twins(model, prepare(model, backend=None), rows=rows, more=3)


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("name", ["Llama", "GPT-2", "plain experts with biases"])
@pytest.mark.usefixtures("compiling")
def test_a_quantized_model(name: str, kind: str) -> None:
    model = fresh_model(CONFIGS[name]())
    quantize(model, kind, *([4] if kind == "int4" else []))
    assert_twins(model, prepare(model, backend=None))


@pytest.mark.parametrize("way", ["compiling", "packed"])
def test_bfloat16(way: str, request: pytest.FixtureRequest) -> None:
    if way == "compiling":
        request.getfixturevalue("compiling")
    model = fresh_model(small_config(), dtype=torch.bfloat16)
    fast = prepare(model, backend=None)
    assert fast.new_cache(1, 4).keys[0].dtype == torch.bfloat16
    assert_twins(model, fast, atol=0.15)


def test_the_model_itself_stays_as_it_is() -> None:
    model = fresh_model(mixture())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = random_ids(1, 6)
    expected = model(ids, sequential_positions(ids))
    fast = prepare(model, backend=None)
    assert {name: tensor.tolist() for name, tensor in model.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in before.items()
    }
    assert torch.equal(model(ids, sequential_positions(ids)), expected)
    assert fast.embedding.weight is model.embedding.weight  # what need not be another is not
    with pytest.raises(ValueError, match="token ids must be from 0"):
        fast.hidden_states(ids + VOCAB_SIZE, sequential_positions(ids), fast.new_cache(1, 6))


def test_a_cache_that_is_full_and_a_first_token_that_is_none() -> None:
    fast = prepare(fresh_model(), backend=None)
    cache = fast.new_cache(1, 2)
    one = torch.zeros(1, 1, dtype=torch.long)
    with pytest.raises(ValueError, match="token ids must be"):
        fast.hidden_states(one - 1, one, cache)
    assert cache.n_tokens == 0
    fast.hidden_states(one, one, cache)
    fast.hidden_states(one, one + 1, cache)
    with pytest.raises(ValueError, match="this cache holds 2 tokens"):
        fast.hidden_states(one, one + 2, cache)


def test_other_caches_and_searches_take_it_too() -> None:
    model = fresh_model()
    fast = prepare(model, backend=None)
    for cache in (GrowingCache, lambda: StaticCache(model.config, CONTEXT_LENGTH)):
        texts = [list(generate_ids(each, PROMPT, GREEDY, 12, cache=cache())) for each in (model, fast)]
        assert texts[0] == texts[1]
    assert beam_search(fast, PROMPT, 2, 5)[0].ids == beam_search(model, PROMPT, 2, 5)[0].ids


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("make", [lambda x: x, Int8Linear, lambda x: Int4Linear(x, 8)])
def test_the_streamed_linear_layer(make: Callable[[nn.Linear], nn.Module], bias: bool) -> None:
    layer = make(nn.Linear(44, 19, bias=bias))
    x = torch.randn(1, 1, 44)
    torch.testing.assert_close(stream(x, layer, tensors_of(layer)), layer(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 33])
def test_the_packed_linear_layer(dtype: torch.dtype, rows: int) -> None:
    layer, x = nn.Linear(44, 19).to(dtype), torch.randn(rows, 44).to(dtype)
    if can_pack(dtype):
        atol = 1e-5 if dtype == torch.float32 else 0.05
        found = packed_linear(x, pack(layer.weight), layer.bias)
        torch.testing.assert_close(found, layer(x), atol=atol, rtol=atol)
    torch.testing.assert_close(FastLinear(layer, dtype)(x), layer(x), atol=0.05, rtol=0.05)


def test_a_processor_that_does_not_pack_gets_the_plain_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Tensor:
        raise RuntimeError("no such operator")

    monkeypatch.setattr("llmref.fast.packed.pack", fails)
    can_pack.cache_clear()
    assert not can_pack(torch.float32)
    layer = FastLinear(nn.Linear(4, 3), torch.float32)
    assert layer.packed is None
    assert layer(torch.ones(2, 4)).shape == (2, 3)
    can_pack.cache_clear()


@pytest.mark.parametrize(
    "scoring", [{}, {"scale": 0.7}, {"soft_cap": 2.0}, {"bias": 1}, {"sinks": 1}], ids=str
)
def test_the_streamed_attention(scoring: dict[str, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, n, tokens, width, generator=generator)
        for n, tokens, width in ((6, 1, 8), (2, 11, 8), (2, 11, 5))
    )
    tensors = {
        "bias": torch.randn(1, 6, 1, 11, generator=generator),
        "sinks": torch.randn(6, generator=generator),
    }
    how = Scoring(**{name: tensors.get(name, number) for name, number in scoring.items()})  # type: ignore[arg-type]
    allowed = torch.arange(11)[None, None] % 3 != 1
    expected = attend(query, key, value, allowed, "naive", how)
    torch.testing.assert_close(
        streamed_attention(query, key, value, allowed, how), expected, atol=1e-6, rtol=1e-5
    )


def test_the_experts_of_one_token() -> None:
    config = MixtureConfig(5, 2, FeedForwardConfig(9), FeedForwardConfig(7), RouterConfig("sigmoid"))
    layer, x = MixtureOfExperts(config, 8), torch.randn(1, 1, 8)
    expected = layer(x)
    torch.testing.assert_close(GatheredExperts(layer).gathered(x), expected)


def test_joined_projections_are_the_same_numbers() -> None:
    model = fresh_model(small_config(bias=True))
    ids = random_ids(2, 9)
    expected = model(ids, sequential_positions(ids))
    join_projections(model)
    assert torch.allclose(model(ids, sequential_positions(ids)), expected, atol=1e-5)


class Recorder:
    """Records as a CUDA graph does: what it replays reads the memory that it was recorded with."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        output = run()
        self.recorded += 1

        def replay() -> Tensor:
            self.replayed += 1
            return output.copy_(run())

        return replay


@pytest.mark.usefixtures("compiling")
def test_recorded_steps_give_what_the_reference_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmref.fast.graphed.FEWEST", 4)
    model = fresh_model()
    fast, recorder = prepare(model, backend=None), Recorder()
    fast.graphed = GraphedStep(fast.step, recorder)
    assert_twins(model, fast, prompt=3, more=12)
    assert (recorder.recorded, recorder.replayed) == (3, 12)  # of 4, 8 and 16 slots
    assert_twins(model, fast, prompt=3, more=2, rows=2)
    assert len(fast.graphed.recorded) == 0  # the caches are gone, and what was recorded for them too


@pytest.mark.usefixtures("compiling")
def test_a_recording_is_made_again_for_a_cache_with_other_rows() -> None:
    model = fresh_model()
    fast, recorder = prepare(model, backend=None), Recorder()
    fast.graphed = GraphedStep(fast.step, recorder)
    caches = [each.new_cache(2, 9) for each in (model, fast)]
    ids = random_ids(2, 5)
    for each, cache in zip((model, fast), caches, strict=True):
        each.hidden_states(ids[:, :3], sequential_positions(ids[:, :3]), cache)
        each.hidden_states(ids[:, 3:4], torch.full((2, 1), 3), cache)
    static = caches[1]
    assert isinstance(static, StaticCache) and isinstance(caches[0], GrowingCache)
    static.positions = static.positions[1:]
    static.keys, static.values = [x[1:] for x in static.keys], [x[1:] for x in static.values]
    caches[0].positions = caches[0].positions[1:]
    caches[0].keys, caches[0].values = [x[1:] for x in caches[0].keys], [x[1:] for x in caches[0].values]
    expected, found = (
        each.hidden_states(ids[1:, 4:], torch.full((1, 1), 4), cache)
        for each, cache in zip((model, fast), caches, strict=True)
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert recorder.recorded == 2
    assert len(fast.graphed.recorded[static].by_seen) == 1  # the first one's memory is free


def test_without_a_compiler_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> Callable[..., Tensor]:
        def function(*_: object) -> Tensor:
            raise RuntimeError("No working C++ compiler found")

        return function

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler .* backend=None.*\n.*No working"):
        prepare(fresh_model())


def test_the_compiler_makes_one_step_and_never_another() -> None:
    """In a process of its own: here every function checks shapes, which no compiler takes."""
    script = Path(__file__).parent / "compile_step.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
