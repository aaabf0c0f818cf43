"""The tiny model keeps what its card promises: measured again here on a part of the questions."""

import json

import pytest

from llmref.corpus import World
from llmref.model import Transformer
from llmref.tiny import FOLDER, load_tiny
from llmref.tiny.measure import accuracy, held_out_loss
from llmref.tiny.recipe import TOKENIZER_DOCUMENTS, VOCAB_SIZE, model_config
from llmref.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tiny() -> tuple[Transformer, Tokenizer]:
    return load_tiny()


@pytest.fixture(scope="module")
def card() -> dict[str, dict[str, float]]:
    return json.loads((FOLDER / "card.json").read_text("utf-8"))


def test_it_is_what_the_recipe_makes(tiny: tuple[Transformer, Tokenizer]) -> None:
    model, tokenizer = tiny
    assert tokenizer.vocab_size == VOCAB_SIZE
    assert model.config == model_config(tokenizer)


def test_the_tokenizer_is_what_the_recipe_makes(tiny: tuple[Transformer, Tokenizer]) -> None:
    _, tokenizer = tiny
    again = Tokenizer.train(World().documents(TOKENIZER_DOCUMENTS, seed=0), VOCAB_SIZE)
    assert again.merges == tokenizer.merges, (
        "the world has changed since the model was trained: run `make tiny`"
    )


def test_the_card_holds_what_is_asked(card: dict[str, dict[str, float]]) -> None:
    assert card["held_out"]["excess_percent"] < 3
    for language in ("ko", "en"):
        assert card[f"facts_{language}"]["right_percent"] >= 98
        assert card[f"references_seen_pairs_{language}"]["right_percent"] >= 95
        assert card[f"references_held_out_pairs_{language}"]["right_percent"] >= 95


def test_the_held_out_loss_is_near_the_exact_one(tiny: tuple[Transformer, Tokenizer]) -> None:
    loss = held_out_loss(*tiny, World(), count=200)
    assert loss["exact"] < loss["loss"] < 1.04 * loss["exact"]


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_recalls_the_facts(tiny: tuple[Transformer, Tokenizer], language: str) -> None:
    assert accuracy(*tiny, World().fact_probes(language))["right_percent"] >= 98  # type: ignore[arg-type]


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_resolves_references(tiny: tuple[Transformer, Tokenizer], language: str, held_out: bool) -> None:
    probes = World().reference_probes(language, held_out=held_out, count=200)  # type: ignore[arg-type]
    assert accuracy(*tiny, probes)["right_percent"] >= 95


def test_everything_that_ships_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 3_000_000
