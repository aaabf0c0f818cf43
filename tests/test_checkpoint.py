"""Checkpoints: what was saved comes back, damage is one clear error, and nothing is ever half written."""

import json
import stat
from collections.abc import Callable
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
from llmref import checkpoint
from llmref.checkpoint import find_device, load, load_config, save
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


def test_saving_again_overwrites(saved: Path) -> None:
    other = fresh_model(text_config(), seed=7)
    save(other, small_tokenizer(), saved)
    assert torch.equal(logits_of(load(saved)[0], IDS), logits_of(other, IDS))


# Damage


def weights_changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return damage


def config_changed(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text("utf-8")) | changes
        (folder / "config.json").write_text(json.dumps(values), "utf-8")

    return damage


def cut_to(name: str, share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return damage


def written(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: void((folder / name).write_bytes(data))


def void(_: object) -> None:
    pass


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (cut_to("model.safetensors", 0.9), r"model.safetensors is damaged or not a safetensors file"),
    (cut_to("model.safetensors", 0.01), r"model.safetensors is damaged or not a safetensors file"),
    (cut_to("model.safetensors", 0), r"model.safetensors is damaged or not a safetensors file"),
    (
        written("model.safetensors", b"PK\x03\x04" * 99),
        r"model.safetensors is damaged or not a safetensors file",
    ),
    (
        weights_changed(lambda weights: weights.update({"final_norm.weight": torch.ones(21)})),
        r"model.safetensors: final_norm.weight should have shape \(20,\), found \(21,\)",
    ),
    (
        weights_changed(lambda weights: weights.pop("blocks.1.attention.key.weight")),
        r"model.safetensors: 1 tensor is missing, the first is 'blocks.1.attention.key.weight'",
    ),
    (
        weights_changed(lambda weights: weights.clear() or weights.update(x=torch.ones(1))),
        r"model.safetensors: 20 tensors are missing, the first is 'blocks.0",
    ),
    (
        weights_changed(lambda weights: weights.update({"blocks.2.norm": torch.ones(1)})),
        r"model.safetensors: 1 tensor is unknown, the first is 'blocks.2.norm'",
    ),
    (cut_to("config.json", 0.5), r"config.json is not JSON"),
    (written("config.json", b"\xff\xfe"), r"config.json is not JSON"),
    (written("config.json", b"[]"), r"config.json: expected model_type 'llmref', found another or none"),
    (config_changed(model_type="gpt9"), r"config.json: expected model_type 'llmref', found another or none"),
    (config_changed(d_model=-1), r"config.json: ModelConfig.d_model must be a positive integer, found -1"),
    (config_changed(heads=3), r"config.json: ModelConfig has no heads"),
    (config_changed(bos_token_id=999), r"config.json: ModelConfig.bos_id must be None or from 0"),
    (config_changed(blocks="all"), r"config.json: .*blocks"),
    (
        config_changed(vocab_size=10, bos_token_id=None, eos_token_id=None),
        r"tokenizer.json has \d+ entries, more than the 10",
    ),
    (cut_to("tokenizer.json", 0.5), r"tokenizer.json"),
    (written("tokenizer.json", b"{}"), r"tokenizer.json"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damage_is_one_error_that_names_the_file(
    saved: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(saved)
    with pytest.raises(ValueError, match=message) as caught:
        load(saved)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no checkpoint: .*{name} is missing"):
        load(saved)
    (saved / name).mkdir()  # nor is a folder of that name the file
    with pytest.raises(FileNotFoundError, match=f"no checkpoint: .*{name} is missing"):
        load(saved)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint: .*nowhere is not a folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("device", ["toaster", "cuda:99", "meta", "cpu:x", ""])
def test_an_unknown_device_is_an_error_before_anything_is_read(saved: Path, device: str) -> None:
    for file in saved.iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=f"no device '{device}' on this machine; there is cpu"):
        load(saved, device=device)
    assert find_device("cpu") == torch.device("cpu")


def test_a_config_alone_can_be_read(saved: Path) -> None:
    assert load_config(saved / "config.json") == text_config()


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
        monkeypatch.setattr(checkpoint, "save_file", fail)
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
