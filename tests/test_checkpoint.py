"""Checkpoints: what was saved comes back, damage is one clear error, and nothing is ever half written."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    fresh_model,
    logits_of,
    random_ids,
    small_config,
    small_model,
    small_tokenizer,
    text_config,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as TheirTokenizer

import llmref
from llmref.checkpoint import load, load_config, load_model, save, saving
from llmref.config import ModelConfig

IDS = random_ids(1, 9)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    save(small_model(text_config()), small_tokenizer(), folder)
    return folder


@pytest.mark.parametrize(
    "config",
    [
        text_config(),
        text_config(tied_embeddings=False, bos_id=None, eos_id=5),
        small_config(
            vocab_size=300, norm="layer", norm_position="post", gated=False, bias=True, layout="interleaved"
        ),
        small_config(vocab_size=300, window=3, layout=None),
    ],
)
def test_a_round_trip_keeps_everything(config: ModelConfig, tmp_path: Path) -> None:
    model = fresh_model(config)
    save(model, small_tokenizer(), tmp_path / "new" / "model")
    again, tokenizer = load(tmp_path / "new" / "model")
    assert again.config == config
    assert not again.training
    assert torch.equal(logits_of(again, IDS), logits_of(model, IDS))
    assert tokenizer.encode("the dog 강아지") == small_tokenizer().encode("the dog 강아지")
    assert all(parameter.requires_grad for parameter in again.parameters())
    assert (again.lm_head.weight is again.embedding.weight) == config.tied_embeddings
    again(IDS, torch.arange(9)[None]).sum().backward()


def test_the_files_are_those_of_the_usual_layout(saved: Path) -> None:
    assert sorted(file.name for file in saved.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert len({stat.S_IMODE(file.stat().st_mode) for file in saved.iterdir()}) == 1
    values = json.loads((saved / "config.json").read_text("utf-8"))
    assert values["model_type"] == "llmref"
    assert values["bos_token_id"] == values["eos_token_id"] == 0
    assert values["blocks"][1]["attention"]["rope"]["base"] == 100.0
    theirs = TheirTokenizer.from_file(str(saved / "tokenizer.json"))
    assert theirs.encode("the dog").ids == small_tokenizer().encode("the dog")


def test_a_tied_matrix_is_written_once(saved: Path, tmp_path: Path) -> None:
    assert "lm_head.weight" not in load_file(saved / "model.safetensors")
    save(fresh_model(text_config(tied_embeddings=False)), None, tmp_path / "untied")
    assert "lm_head.weight" in load_file(tmp_path / "untied" / "model.safetensors")
    assert not (tmp_path / "untied" / "tokenizer.json").exists()


def test_float16_on_disk_is_half_the_size(saved: Path, tmp_path: Path) -> None:
    model = small_model(text_config())
    save(model, small_tokenizer(), tmp_path / "half", dtype=torch.float16)
    with safe_open(tmp_path / "half" / "model.safetensors", framework="pt") as stored:
        assert {stored.get_tensor(name).dtype for name in stored.keys()} == {torch.float16}  # noqa: SIM118
    again, _ = load(tmp_path / "half")
    assert again.device.type == "cpu"
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    torch.testing.assert_close(logits_of(again, IDS), logits_of(model, IDS), rtol=1e-2, atol=2e-2)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_in_memory_is_chosen_at_loading(saved: Path, dtype: torch.dtype) -> None:
    model, _ = load(saved, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert logits_of(model, IDS).dtype == dtype


def test_the_stored_dtype_is_that_of_most_numbers(saved: Path, tmp_path: Path) -> None:
    assert load(saved, dtype=None)[0].embedding.weight.dtype == torch.float32
    save(small_model(text_config()), small_tokenizer(), tmp_path / "half", dtype=torch.bfloat16)
    weights = load_file(tmp_path / "half" / "model.safetensors")
    weights["final_norm.weight"] = weights["final_norm.weight"].float()
    save_file(weights, tmp_path / "half" / "model.safetensors")
    model, _ = load(tmp_path / "half", dtype=None)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_another_dtype_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for function in (load, load_model):
        with pytest.raises(ValueError, match="dtype must be None or one of .*, found torch.int8"):
            function(tmp_path / "nowhere", dtype=torch.int8)


def test_the_weights_are_a_copy_of_their_own(saved: Path) -> None:
    """A view of the mapped file would change, or end the program, when somebody else writes to the file."""
    model, _ = load(saved)
    before = logits_of(model, IDS)
    with (saved / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    assert torch.equal(logits_of(model, IDS), before)


def test_a_config_alone_can_be_read(saved: Path) -> None:
    assert load_config(saved / "config.json") == text_config()


@pytest.mark.parametrize(
    ("in_config", "in_generation", "ends"),
    [
        (5, None, (5,)),
        ([5, 7], None, (5, 7)),
        (5, 5, (5,)),
        (5, [7, 5, 9], (5, 7, 9)),
        (None, [7, 9], (7, 9)),
        (None, None, ()),
    ],
)
def test_both_files_name_the_tokens_that_end_a_text(
    tmp_path: Path, in_config: Any, in_generation: Any, ends: tuple[int, ...]
) -> None:
    save(small_model(text_config()), None, tmp_path, family="llama")
    values = json.loads((tmp_path / "config.json").read_text("utf-8")) | {"eos_token_id": in_config}
    (tmp_path / "config.json").write_text(json.dumps(values), "utf-8")
    if in_generation is not None:
        text = json.dumps({"eos_token_id": in_generation, "temperature": 0.7})
        (tmp_path / "generation_config.json").write_text(text, "utf-8")
    config = load_model(tmp_path).config
    assert config.end_ids == set(ends)
    assert (config.eos_id, *config.stop_ids) == (ends or (None,))


def test_saving_again_overwrites(saved: Path) -> None:
    other = fresh_model(text_config(), seed=7)
    save(other, small_tokenizer(), saved)
    assert torch.equal(logits_of(load(saved)[0], IDS), logits_of(other, IDS))


# Nothing half written


def state_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("error", [OSError("No space left on device"), SafetensorError("I/O error")])
@pytest.mark.parametrize("at", ["weights", "tokenizer"])
def test_a_failed_save_leaves_what_was_there(
    saved: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, at: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    before = state_of(saved)
    tokenizer: Any = small_tokenizer()
    if at == "weights":
        monkeypatch.setattr(saving, "save_file", fail)
    else:
        if not isinstance(error, OSError):
            error = OSError("full")
        monkeypatch.setattr(llmref.Tokenizer, "save", fail)
    with pytest.raises(OSError):
        save(fresh_model(text_config(), seed=9), tokenizer, saved)
    assert state_of(saved) == before
    assert len(list(saved.iterdir())) == 3


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(OSError):
            save(small_model(text_config()), small_tokenizer(), folder)
    assert state_of(tmp_path) == {"file": b"not a folder"}
