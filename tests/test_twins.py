"""Twins: alike but for one difference; what is committed was made by the recipe that is committed."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from llmref.config import ModelConfig
from llmref.model import Transformer
from llmref.tiny import load_tiny
from llmref.twins import FILE, comparison, make, recipe, results, spread
from llmref.twins.recipe import COMPARISONS, CONTEXT_LENGTH, SEEDS, TRAINING, TWINS, ShortDocuments, chosen


def test_the_results_belong_to_the_recipe() -> None:
    found = json.loads(FILE.read_text("utf-8"))["recipe"]
    assert found == recipe.recipe_hash(), "the recipe of the twins has changed since: run `make twins`"


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
def test_a_twin_differs_from_the_base_in_its_attention_and_positions_alone(
    twin: str, config: ModelConfig
) -> None:
    base = TWINS["base"]
    blocks = tuple(replace(block, attention=base.blocks[0].attention) for block in config.blocks)
    assert replace(config, blocks=blocks, positional_embedding=None) == base
    attention = config.blocks[0].attention
    assert attention.n_heads * attention.head_dim == base.d_model
    assert config.vocab_size == load_tiny()[1].vocab_size


def test_documents_are_the_short_ones_and_their_own_at_each_step() -> None:
    tokenizer = load_tiny()[1]
    texts = ShortDocuments(1)(0, 40)
    assert max(len(tokenizer.encode(text)) for text in texts) < CONTEXT_LENGTH
    assert texts == ShortDocuments(1)(0, 40) != ShortDocuments(2)(0, 40) != ShortDocuments(1)(1, 40)


def test_the_hash_follows_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.recipe_hash()
    monkeypatch.setattr(recipe, "TRAINING", replace(TRAINING, steps=700))
    recipe.recipe_hash.cache_clear()
    assert recipe.recipe_hash() != before
    recipe.recipe_hash.cache_clear()
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


def test_the_command_trains_measures_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(make, "TRAINING", replace(TRAINING, steps=2, warmup_steps=1, documents_per_step=4))
    monkeypatch.setattr(make, "HELD_OUT_DOCUMENTS", 8)
    monkeypatch.setattr(make, "QUESTIONS", 20)
    first = make.make("mqa", 1, tmp_path)
    assert math.isfinite(first.loss) and len(first.curve) == 1
    monkeypatch.setattr(make, "train", None)  # what is kept is read, not trained again
    assert make.make("mqa", 1, tmp_path) == first
    refused = CliRunner().invoke(make.main, ["--workers", "0"])
    assert refused.exit_code == 2 and "--workers" in refused.output
