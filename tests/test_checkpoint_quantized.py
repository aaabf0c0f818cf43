"""Quantized weights in a checkpoint: written and read again bit for bit; what is wrong is one clear error."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from damage import Damage, all_of, cut_to, json_changed, weights_changed
from helpers import (
    fresh_model,
    latent_mixture_config,
    logits_of,
    random_ids,
    small_model,
    small_tokenizer,
    text_config,
)
from safetensors import safe_open
from test_checkpoint_damage import DAMAGED, says

from llmref.checkpoint import find_tensors, load, load_config, load_model, save
from llmref.config import ModelConfig
from llmref.quantization import Quantization, quantization_of, quantize, weight_bytes

KINDS = [("int8", None), ("int4", 8), ("int4", 32)]
each_kind = pytest.mark.parametrize(("kind", "group_size"), KINDS)
QUERY = "blocks.0.attention.query"


def configs() -> dict[str, ModelConfig]:
    return {
        "tied": text_config(),
        "untied": text_config(tied_embeddings=False),
        "experts and latents": replace(latent_mixture_config(), vocab_size=small_tokenizer().vocab_size),
    }


@each_kind
@pytest.mark.parametrize("name", configs())
@pytest.mark.parametrize("max_shard_size", [5 * 10**9, 4000])
def test_it_comes_back_bit_for_bit(
    name: str, kind: str, group_size: int | None, max_shard_size: int, tmp_path: Path
) -> None:
    model = fresh_model(configs()[name])
    quantize(model, kind, group_size)  # type: ignore[arg-type]
    save(model, small_tokenizer(), tmp_path, max_shard_size=max_shard_size)
    again, _ = load(tmp_path)
    assert again.config == model.config and quantization_of(again) == quantization_of(model)
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for path, tensor in before.items():
        assert tensor.dtype == after[path].dtype and torch.equal(tensor, after[path]), path
    ids = random_ids(2, 9)
    assert torch.equal(logits_of(again, ids), logits_of(model, ids))
    assert not any(module.training for module in again.modules())


@each_kind
def test_the_files_have_the_bytes_of_the_weights(kind: str, group_size: int | None, tmp_path: Path) -> None:
    model = fresh_model(text_config())
    quantize(model, kind, group_size)  # type: ignore[arg-type]
    save(model, None, tmp_path)
    assert sum(each.nbytes for each in find_tensors(tmp_path).values()) == weight_bytes(model)
    save(model, None, tmp_path, max_shard_size=1500)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text("utf-8"))
    assert index["metadata"]["total_size"] == weight_bytes(model)
    sizes = {}
    for file in set(index["weight_map"].values()):
        with safe_open(tmp_path / file, framework="pt") as stored:
            sizes[file] = sum(stored.get_tensor(name).nbytes for name in stored.keys())  # noqa: SIM118
    assert len(sizes) > 3 and sum(sizes.values()) == weight_bytes(model)
    assert sorted(sizes.values())[-2] <= 1500 < max(sizes.values())  # the embedding alone is larger


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_in_another_dtype_the_integers_and_scales_stay(dtype: torch.dtype, tmp_path: Path) -> None:
    model = fresh_model(text_config())
    quantize(model, "int4", 8)
    save(model, None, tmp_path, dtype=dtype)
    for again in (load_model(tmp_path, dtype=None), load_model(tmp_path, dtype=dtype)):
        assert again.embedding.weight.dtype == dtype
        for name in ("numbers", "scales"):
            ours = getattr(model.get_submodule(QUERY), name)
            theirs = getattr(again.get_submodule(QUERY), name)
            assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)


def test_the_config_is_read_as_ever(tmp_path: Path) -> None:
    model = fresh_model(text_config())
    quantize(model, "int8")
    save(model, None, tmp_path)
    assert load_config(tmp_path / "config.json") == model.config
    found = json.loads((tmp_path / "config.json").read_text("utf-8"))["quantization_config"]
    assert found == {"format": "llmref", "version": 1, "kind": "int8", "group_size": None}


@each_kind
def test_no_family_has_room_for_it(kind: str, group_size: int | None, tmp_path: Path) -> None:
    model = fresh_model(text_config())
    quantize(model, kind, group_size)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=rf"quantized \({kind}\) can be saved in our own format only.*'llama'"
    ):
        save(model, None, tmp_path / "new", family="llama")
    assert not (tmp_path / "new").exists()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = fresh_model(text_config())
    quantize(model, "int4", 8)
    folder = tmp_path / "model"
    save(model, small_tokenizer(), folder)
    return folder


def said(**changes: object) -> Damage:
    """Another word in the config about the weights."""
    values = {"format": "llmref", "version": 1, "kind": "int4", "group_size": 8} | changes
    values = {name: value for name, value in values.items() if value != "left out"}
    return json_changed("config.json", quantization_config=values)


WEIGHTS, CONFIG = "model.safetensors: ", "config.json: quantization_config"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "a newer version": (
        said(version=2),
        f"{CONFIG} must be of version 1, which this llmref reads, found version 2",
    ),
    "no version": (said(version="left out"), f"{CONFIG} must be of version 1, .*found version None"),
    "a newer version, and no weights": (
        all_of(said(version=2), cut_to("model.safetensors", 0)),
        f"{CONFIG} must be of version 1",
    ),
    "another format": (said(format="gguf"), f"{CONFIG} must not be there.*'gguf'"),
    "no format": (json_changed("config.json", quantization_config="int4"), f"{CONFIG} must not be there"),
    "another kind": (said(kind="int3"), f"{CONFIG}: weights are quantized as int8 or int4, found 'int3'"),
    "no kind": (said(kind="left out"), f"{CONFIG} must have a kind and a group_size"),
    "a word too many": (said(zero_point=True), f"{CONFIG} must have a kind and a group_size"),
    "a list for a kind": (said(kind=["int4"]), f"{CONFIG}.*found.*int4"),
    "an odd group": (said(group_size=7), f"{CONFIG}: the group_size of int4 must be an even number"),
    "a group as large as the world": (said(group_size=2**60), f"{CONFIG}: the group_size of int4 must be"),
    "a group that is none": (said(group_size=True), f"{CONFIG}: the group_size of int4 must be"),
    "other groups": (
        said(group_size=4),
        rf"{WEIGHTS}{QUERY}.numbers should have shape \(24, 5, 2\), found \(24, 3, 4\)",
    ),
    "said to be int8": (
        said(kind="int8", group_size=None),
        rf"{WEIGHTS}blocks.0.attention.\w+.numbers should have a dtype of I8, found U8",
    ),
    "not said": (json_changed("config.json", quantization_config=None), f"{WEIGHTS}.* missing.*weight"),
    "cut at the end": (cut_to("model.safetensors", 0.9), DAMAGED),
    "no scales": (
        weights_changed(lambda tensors: tensors.pop(f"{QUERY}.scales")),
        f"{WEIGHTS}1 tensor is missing, the first is '{QUERY}.scales'",
    ),
    "no numbers": (
        weights_changed(lambda tensors: tensors.pop(f"{QUERY}.numbers")),
        f"{WEIGHTS}1 tensor is missing, the first is '{QUERY}.numbers'",
    ),
    "fewer scales": (
        weights_changed(lambda tensors: tensors.update({f"{QUERY}.scales": torch.ones(24, 2)})),
        rf"{WEIGHTS}{QUERY}.scales should have shape \(24, 3\), found \(24, 2\)",
    ),
    "scales that are integers": (
        weights_changed(lambda tensors: tensors.update({f"{QUERY}.scales": torch.ones(24, 3).char()})),
        f"{WEIGHTS}{QUERY}.scales should have a dtype of F64, F32, F16, BF16, found I8",
    ),
    "numbers that are no integers": (
        weights_changed(lambda tensors: tensors.update({f"{QUERY}.numbers": torch.ones(24, 3, 4)})),
        f"{WEIGHTS}{QUERY}.numbers should have a dtype of U8, found F32",
    ),
    "one layer in floats": (
        weights_changed(lambda tensors: tensors.update({f"{QUERY}.weight": torch.ones(24, 20)})),
        f"{WEIGHTS}1 tensor is unknown, the first is '{QUERY}.weight'",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_error(name: str, saved: Path) -> None:
    load(saved)
    damage, message = DAMAGES[name]
    damage(saved)
    says(saved, message)


def test_a_family_with_our_quantization_is_an_error(tmp_path: Path) -> None:
    save(small_model(text_config()), small_tokenizer(), tmp_path, family="llama")
    said()(tmp_path)
    says(tmp_path, f"{CONFIG} must not be there")


def test_the_version_is_an_error_where_only_the_config_is_read(saved: Path) -> None:
    said(version=2)(saved)
    with pytest.raises(ValueError, match="must be of version 1"):
        load_config(saved / "config.json")


def test_the_scheme_of_a_file_is_that_of_the_model(saved: Path) -> None:
    assert quantization_of(load_model(saved)) == Quantization("int4", 8)
