"""Twins: alike but for one difference; what is committed was made by the recipe that is committed."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from llmref.config import AttentionConfig, FeedForwardConfig, MixtureConfig, ModelConfig
from llmref.model import Transformer
from llmref.tiny import load_tiny
from llmref.tiny.measure import HELD_OUT_SEED
from llmref.training import next_token_loss, pack
from llmref.twins import FILE, TwinResult, comparison, load_twin, make, recipe, results, spread
from llmref.twins.recipe import (
    COMPARISONS,
    CONTEXT_LENGTH,
    DENSE,
    KEPT,
    SEEDS,
    TRAINING,
    TWINS,
    ShortDocuments,
    chosen,
    training,
)


@pytest.mark.parametrize("twin", TWINS)
def test_the_results_belong_to_the_recipe(twin: str) -> None:
    found = json.loads(FILE.read_text("utf-8")).get(twin, {}).get("recipe")
    assert found == recipe.recipe_hash(twin), f"the recipe of {twin} has changed since: run `make twins`"


def test_every_twin_has_a_result_for_each_seed() -> None:
    assert [(result.twin, result.seed) for result in results()] == [
        (twin, seed) for twin in TWINS for seed in SEEDS
    ]


def test_every_twin_is_compared_and_every_comparison_has_the_base() -> None:
    named = [twin for twins in COMPARISONS.values() for twin in twins.values()]
    assert set(named) == set(TWINS)
    assert all("base" in twins.values() for twins in COMPARISONS.values())


def test_results_are_those_of_trained_models() -> None:
    for result in results():
        assert result.parameters == Transformer(TWINS[result.twin]).n_parameters
        assert result.loss < 1.0 < result.curve[0]
        assert len(result.curve) == TRAINING.steps // make.CURVE_STEPS


@pytest.mark.parametrize(("twin", "config"), TWINS.items())
def test_a_twin_differs_from_the_base_in_one_thing(twin: str, config: ModelConfig) -> None:
    base, block = TWINS["base"], config.blocks[0]
    assert config.blocks == (block,) * len(base.blocks)
    assert config.vocab_size == load_tiny()[1].vocab_size
    plain = replace(block, attention=base.blocks[0].attention, feedforward=base.blocks[0].feedforward)
    assert replace(config, blocks=(plain,) * len(base.blocks), positional_embedding=None) == base
    same = [
        block.attention == base.blocks[0].attention and config.positional_embedding is None,
        block.feedforward == base.blocks[0].feedforward,
    ]
    assert sum(same) == (2 if twin == "base" else 1)
    if isinstance(block.attention, AttentionConfig):
        assert block.attention.n_heads * block.attention.head_dim == base.d_model


def test_a_latent_leaves_as_much_in_the_cache_as_the_twin_that_shares_most() -> None:
    kept = {}
    for name in ("mqa", "latent"):
        n_heads, key, value = TWINS[name].blocks[0].attention.cached
        kept[name] = n_heads * (key + value)
    assert kept["latent"] == kept["mqa"]


def test_a_token_goes_through_as_much_in_a_mixture_as_in_the_base() -> None:
    mixtures = {name: config.blocks[0].feedforward for name, config in TWINS.items() if "experts" in name}
    for mixture in mixtures.values():
        assert isinstance(mixture, MixtureConfig)
        assert replace(mixture.expert, d_ff=mixture.n_active * mixture.expert.d_ff) == DENSE
    eight, wide = mixtures["experts"], TWINS["wide"].blocks[0].feedforward
    assert isinstance(eight, MixtureConfig) and isinstance(wide, FeedForwardConfig)
    assert eight.n_experts * eight.expert.d_ff == wide.d_ff
    assert TWINS["experts"] == TWINS["experts-unbalanced"]
    assert training("experts") == replace(training("experts-unbalanced"), balancing=0.01)
    assert training("experts-unbalanced") == TRAINING


def test_the_shares_of_the_experts_are_shares() -> None:
    for result in results():
        feedforward = TWINS[result.twin].blocks[0].feedforward
        if not isinstance(feedforward, MixtureConfig):
            assert result.expert_shares == {}
            continue
        assert list(result.expert_shares) == ["ko", "en"]
        for blocks in result.expert_shares.values():
            assert len(blocks) == recipe.N_BLOCKS
            for shares in blocks:
                assert len(shares) == feedforward.n_experts and sum(shares) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("twin", "seed"), KEPT.items())
def test_the_weights_that_are_kept_are_those_of_the_result(twin: str, seed: int) -> None:
    model = load_twin(twin)
    assert model.config == TWINS[twin]
    (result,) = [result for result in results() if (result.twin, result.seed) == (twin, seed)]
    _, tokenizer = load_tiny()
    texts = ShortDocuments(HELD_OUT_SEED)(0, make.HELD_OUT_DOCUMENTS)
    batch = pack([tokenizer.encode(text) for text in texts], CONTEXT_LENGTH, 0, 0)
    with torch.inference_mode():
        assert next_token_loss(model, batch).item() == pytest.approx(result.loss, abs=1e-3)


def test_documents_are_the_short_ones_and_their_own_at_each_step() -> None:
    tokenizer = load_tiny()[1]
    texts = ShortDocuments(1)(0, 40)
    assert max(len(tokenizer.encode(text)) for text in texts) < CONTEXT_LENGTH
    assert texts == ShortDocuments(1)(0, 40) != ShortDocuments(2)(0, 40) != ShortDocuments(1)(1, 40)


@pytest.fixture
def fresh_hashes() -> Iterator[None]:
    recipe.recipe_hash.cache_clear()
    yield
    recipe.recipe_hash.cache_clear()


def test_a_hash_follows_what_was_chosen_for_its_twin(
    monkeypatch: pytest.MonkeyPatch, fresh_hashes: None
) -> None:
    names = ("base", "experts", "experts-unbalanced")
    before = {name: recipe.recipe_hash(name) for name in names}
    assert len(set(before.values())) == 3
    monkeypatch.setitem(TWINS, "another", TWINS["mqa"])
    monkeypatch.setitem(recipe.BALANCING, "experts", 0.02)
    recipe.recipe_hash.cache_clear()
    assert [recipe.recipe_hash(name) == before[name] for name in names] == [True, False, True]
    monkeypatch.setattr(recipe, "TRAINING", replace(TRAINING, steps=700))
    recipe.recipe_hash.cache_clear()
    assert not any(recipe.recipe_hash(name) == before[name] for name in names)
    assert chosen(TWINS["mqa"])["blocks"][0]["attention"] == {"n_heads": 4, "n_kv_heads": 1, "head_dim": 16}


def test_a_spread_is_the_mean_and_the_ends() -> None:
    found = comparison("heads")["4"]
    losses = [result.loss for result in found]
    spread_of = spread(found, "loss")
    assert (spread_of.low, spread_of.high) == (min(losses), max(losses))
    assert spread_of.mean == pytest.approx(sum(losses) / 3)
    assert spread_of.deviation == pytest.approx(torch.tensor(losses, dtype=torch.float64).std().item())
    with pytest.raises(ValueError, match="no comparison is named 'head'; there are heads, sharing"):
        comparison("head")


def test_weights_that_are_not_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="no weights of a twin 'mqa' are kept; there are those of experts"):
        load_twin("mqa")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, fresh_hashes: None) -> None:
    """Training and measuring in seconds."""
    quick = replace(TRAINING, steps=2, warmup_steps=1, documents_per_step=4)
    monkeypatch.setattr(recipe, "TRAINING", quick)
    monkeypatch.setattr(make, "HELD_OUT_DOCUMENTS", 8)
    monkeypatch.setattr(make, "QUESTIONS", 20)


def test_a_training_is_measured_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, short: None
) -> None:
    first = make.make("experts", 1, tmp_path / "run", tmp_path)
    assert math.isfinite(first.loss) and len(first.curve) == 1
    assert [len(blocks) for blocks in first.expert_shares.values()] == [3, 3]
    assert (tmp_path / "experts" / "model.safetensors").exists()
    monkeypatch.setattr(
        make, "measure", lambda twin, seed, model, losses: replace(first, curve=tuple(losses))
    )
    again = make.make("experts", 1, tmp_path / "run", tmp_path)  # it goes on from the end
    assert first.curve == (pytest.approx(sum(again.curve) / 2),)
    other = make.make("experts", 2, tmp_path / "run", tmp_path / "none")
    assert other.curve != again.curve and not (tmp_path / "none").exists()
    assert TwinResult.from_json(json.loads(json.dumps(asdict(first)))) == first


def test_only_what_is_missing_or_of_another_recipe_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_hashes: None
) -> None:
    out = tmp_path / "results.json"
    assert make.current(out) == {}
    base = {result.seed: result for result in results() if result.twin == "base"}
    found: dict[str, dict[str, object]] = {}
    for seed in (3, 1):
        make.add(found, base[seed])
    make.write(out, found)
    found = make.current(out)
    assert [result["seed"] for result in found["base"]["results"]] == [1, 3]  # type: ignore[index, union-attr, attr-defined]
    assert [make.missing("base", seed, found, tmp_path) for seed in SEEDS] == [False, True, False]
    assert all(make.missing("mqa", seed, found, tmp_path) for seed in SEEDS)
    make.add(found, replace(base[1], twin="experts"))
    assert make.missing("experts", 1, found, tmp_path)  # its weights are to be kept, and are not there
    monkeypatch.setattr(recipe, "TRAINING", replace(TRAINING, steps=700))
    recipe.recipe_hash.cache_clear()
    assert make.current(out) == {}


def test_the_command_writes_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(make, "missing", lambda *arguments: False)
    done = CliRunner().invoke(make.main, ["--out", str(tmp_path / "results.json")])
    assert done.exit_code == 0 and json.loads((tmp_path / "results.json").read_text()) == {}
    refused = CliRunner().invoke(make.main, ["--workers", "0"])
    assert refused.exit_code == 2 and "--workers" in refused.output
