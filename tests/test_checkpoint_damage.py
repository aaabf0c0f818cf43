"""Bad checkpoints: each is one clear error that names the file; nothing is half loaded, nothing executed."""

import json
import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from damage import Damage, cut_to, json_changed, sparse, weights_changed, written
from helpers import fresh_model, small_model, small_tokenizer, text_config
from safetensors.torch import load_file, save_file

from llmref.checkpoint import find_device, load, load_model, save
from llmref.config import FeedForwardConfig, MixtureConfig

INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
EXECUTED: list[str] = []


class Trap:
    """A pickle of it would run `EXECUTED.append` when it is opened."""

    def __reduce__(self) -> object:
        return EXECUTED.append, ("a pickle was opened",)


@pytest.fixture(autouse=True)
def _nothing_is_executed() -> Iterator[None]:
    yield
    assert not EXECUTED


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Our own format, in one file."""
    folder = tmp_path / "model"
    save(small_model(text_config()), small_tokenizer(), folder)
    return folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """The Llama family's, in two files."""
    folder, model = tmp_path / "llama", small_model(text_config())
    save(model, small_tokenizer(), folder, family="llama", max_shard_size=2 * model.n_parameters + 9000)
    assert sorted(file.name for file in folder.glob("*.safetensors")) == [FIRST, SECOND]
    return folder


def says(folder: Path, message: str) -> None:
    """Loading is one error with that message, which is short and has no more memory than a few files."""
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(caught.value)) < 800
    assert str(folder) in str(caught.value)
    assert peak < 50 * 2**20


DAMAGED = r"model.safetensors is damaged or not a safetensors file"
PICKLE = r"pickle.*only safetensors files are read.*can convert it"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "cut at the end": (cut_to("model.safetensors", 0.9), DAMAGED),
    "cut in the header": (cut_to("model.safetensors", 0.01), DAMAGED),
    "empty": (cut_to("model.safetensors", 0), DAMAGED),
    "no header": (written("model.safetensors", b"GGUF\x03\x00\x00\x00" * 99), DAMAGED + "(?!.*pickle)"),
    "a header as large as the world": (written("model.safetensors", b"\xff" * 7 + b"\x00{}"), DAMAGED),
    "a zip pickle of another name": (
        written("model.safetensors", b"PK\x03\x04" * 99),
        DAMAGED + ".*" + PICKLE,
    ),
    "a pickle of another name": (
        written("model.safetensors", pickle.dumps(Trap(), protocol=2)),
        DAMAGED + ".*" + PICKLE,
    ),
    "only a pickle": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        r"pytorch_model.bin is a pickle, and .*model.safetensors is missing: only safetensors files are read",
    ),
    "a wrong shape": (
        weights_changed(lambda weights: weights.update({"final_norm.weight": torch.ones(21)})),
        r"model.safetensors: final_norm.weight should have shape \(20,\), found \(21,\)",
    ),
    "a shape of many numbers": (
        weights_changed(lambda weights: weights.update({"final_norm.weight": torch.ones((1,) * 999)})),
        r"model.safetensors: final_norm.weight should have shape \(20,\), found \(1, 1, 1, .*\.\.\.\)",
    ),
    "whole numbers": (
        weights_changed(lambda weights: weights.update({"final_norm.weight": torch.ones(20).int()})),
        r"model.safetensors: final_norm.weight should have a dtype of F64, F32, F16, BF16, found I32",
    ),
    "eight bits": (
        weights_changed(
            lambda weights: weights.update({"final_norm.weight": torch.ones(20).to(torch.float8_e4m3fn)})
        ),
        r"model.safetensors: final_norm.weight should have a dtype of .*, found F8_E4M3",
    ),
    "a missing tensor": (
        weights_changed(lambda weights: weights.pop("blocks.1.attention.key.weight")),
        r"model.safetensors: 1 tensor is missing, the first is 'blocks.1.attention.key.weight'",
    ),
    "other tensors": (
        weights_changed(
            lambda weights: weights.update({f"x{name}": weights.pop(name) for name in list(weights)})
        ),
        r"model.safetensors: 20 tensors are missing, the first is 'blocks.0",
    ),
    "too few tensors for the blocks": (
        weights_changed(lambda weights: weights.clear() or weights.update(x=torch.ones(1))),
        r"config.json: 2 blocks, but the weights are 1 tensor",
    ),
    "no tensors": (
        written("model.safetensors", b"\x02" + b"\x00" * 7 + b"{}"),
        r"config.json: 2 blocks, but the weights are 0 tensors",
    ),
    "an extra tensor": (
        weights_changed(lambda weights: weights.update({"blocks.2.norm": torch.ones(1)})),
        r"model.safetensors: 1 tensor is unknown, the first is 'blocks.2.norm'",
    ),
    "another LM head": (
        weights_changed(lambda weights: weights.update({"lm_head.weight": weights["embedding.weight"] + 1})),
        r"model.safetensors: lm_head.weight differs from embedding.weight, and config.json ties them",
    ),
    "an LM head of another shape": (
        weights_changed(lambda weights: weights.update({"lm_head.weight": torch.ones(())})),
        r"model.safetensors: lm_head.weight differs from embedding.weight",
    ),
    "half a config": (cut_to("config.json", 0.5), r"config.json is not JSON"),
    "an empty config": (written("config.json", b""), r"config.json is not JSON"),
    "not UTF-8": (written("config.json", b"\xff\xfe"), r"config.json is not UTF-8"),
    "a list": (written("config.json", b"[]"), r"config.json must hold an object, found \[\]"),
    "deep lists": (written("config.json", b"[" * 10**6), r"config.json is not JSON that can be read"),
    "NaN": (
        json_changed("config.json", embedding_multiplier=float("nan")),
        r"config.json is not JSON, so it is damaged or cut short: a number must be finite, found NaN",
    ),
    "infinity": (
        written("config.json", b'{"model_type": "llmref", "d_model": 1e999}'),
        r"config.json is not JSON, so it is damaged or cut short: a number must be finite, found 1e999",
    ),
    "many digits": (written("config.json", b"9" * 10**5), r"config.json is not JSON"),
    "a config without end": (
        sparse("config.json", 10**12),
        r"config.json must have at most 4,194,304 bytes, found 1,000,000,000,000",
    ),
    "a tokenizer without end": (
        sparse("tokenizer.json", 10**12),
        r"tokenizer.json must have at most 67,108,864 bytes, found 1,000,000,000,000",
    ),
    "deep lists in a tokenizer": (written("tokenizer.json", b"[" * 10**6), r"tokenizer.json"),
    "an unknown family": (
        json_changed("config.json", model_type="gpt9"),
        r"config.json: model_type must be one of llmref, .*llama.*, found 'gpt9'",
    ),
    "no family": (
        json_changed("config.json", model_type=None),
        r"config.json: model_type must be .*found None",
    ),
    "a family that is a list": (json_changed("config.json", model_type=[[1]]), r"config.json: model_type"),
    "quantized": (
        json_changed("config.json", quantization_config={"quant_method": "awq", "bits": 4}),
        r"config.json: quantization_config must not be there, .*found {'bits': 4, 'quant_method': 'awq'}",
    ),
    "a negative width": (
        json_changed("config.json", d_model=-1),
        r"config.json: ModelConfig.d_model must be a positive integer, found -1",
    ),
    "an absurd width": (
        json_changed("config.json", d_model=10**12),
        r"model.safetensors: .* should have shape \(.*1000000000000.*\), found",
    ),
    "a width beyond numbers": (
        json_changed("config.json", d_model=10**25),
        r"config.json: ModelConfig.d_model must be a positive integer, found 10000000000000000000000000",
    ),
    "an absurd vocabulary": (
        json_changed("config.json", vocab_size=10**12),
        r"model.safetensors: embedding.weight should have shape \(1000000000000, 20\), found \(300, 20\)",
    ),
    "an absurd context": (
        json_changed("config.json", context_length=10**12, positional_embedding="learned"),
        r"model.safetensors: 1 tensor is missing, the first is 'positional_embedding.weight'",
    ),
    "an unknown name": (json_changed("config.json", heads=3), r"config.json: ModelConfig has no heads"),
    "a long unknown name": (
        json_changed("config.json", **{"x" * 10**6: 3}),
        r"config.json: ModelConfig has no x",
    ),
    "an unknown token": (
        json_changed("config.json", bos_token_id=999),
        r"config.json: ModelConfig.bos_id must be None or from 0",
    ),
    "blocks that are a word": (json_changed("config.json", blocks="all"), r"config.json: .*blocks"),
    "a small vocabulary": (
        json_changed("config.json", vocab_size=10, bos_token_id=None, eos_token_id=None),
        r"tokenizer.json has \d+ entries, more than the 10",
    ),
    "half a tokenizer": (cut_to("tokenizer.json", 0.5), r"tokenizer.json"),
    "an empty tokenizer": (written("tokenizer.json", b"{}"), r"tokenizer.json"),
}
FAMILY_DAMAGES: dict[str, tuple[Damage, str]] = {
    "an unknown scaling": (
        json_changed("config.json", rope_scaling={"rope_type": "cubic", "factor": 2.0}),
        r"config.json: rope type must be one of default, .*, found 'cubic'",
    ),
    "a scaling that is a list": (
        json_changed("config.json", rope_scaling={"rope_type": [], "factor": 2.0}),
        r"config.json: ",
    ),
    "no heads": (json_changed("config.json", num_attention_heads=0), r"config.json: "),
    "many blocks": (
        json_changed("config.json", num_hidden_layers=10_000),
        r"config.json: 10,000 blocks, but the weights are 20 tensors",
    ),
    "blocks without end": (
        json_changed("config.json", num_hidden_layers=10**9),
        r"config.json: num_hidden_layers must be at most 10,000, found 1000000000",
    ),
    "an absurd width": (
        json_changed("config.json", hidden_size=10**12),
        r"model-0000\d-of-00002.safetensors: .* should have shape \(.*1000000000000.*\), found",
    ),
    "absurd heads": (
        json_changed("config.json", num_attention_heads=10**12, num_key_value_heads=10**12),
        r"model-0000\d-of-00002.safetensors: .* should have shape \(.*\), found",
    ),
    "an end beyond the vocabulary": (
        written("generation_config.json", b'{"eos_token_id": [3, 10000]}'),
        r"generation_config.json: ModelConfig.stop_ids must be None or from 0 to 299, found 10000",
    ),
    "an end that is a word": (
        written("generation_config.json", b'{"eos_token_id": "end"}'),
        r"generation_config.json: eos_token_id must be",
    ),
    "ends that are lists": (
        written("generation_config.json", b'{"eos_token_id": [[], {}]}'),
        r"generation_config.json: ",
    ),
    "a generation config that is none": (
        written("generation_config.json", b"null"),
        r"generation_config.json must hold an object, found None",
    ),
    "half an index": (cut_to(INDEX, 0.5), rf"{INDEX} is not JSON"),
    "an index that is a list": (written(INDEX, b"[1]"), rf"{INDEX} must hold an object, found \[1\]"),
    "an index without files": (
        json_changed(INDEX, weight_map={}),
        rf"{INDEX}: weight_map must name the file of each tensor, found {{}}",
    ),
    "an index without a map": (json_changed(INDEX, weight_map=[1]), rf"{INDEX}: weight_map must name"),
    "NaN beside the map": (
        json_changed(INDEX, metadata=float("nan")),
        rf"{INDEX} is not JSON, so it is damaged or cut short: a number must",
    ),
    "an index without end": (sparse(INDEX, 10**12), rf"{INDEX} must have at most 67,108,864 bytes"),
    "a damaged shard": (cut_to(SECOND, 0.9), rf"{SECOND} is damaged or not a safetensors file"),
    "a pickled shard": (written(SECOND, pickle.dumps(Trap(), protocol=4)), rf"{SECOND} is damaged.*{PICKLE}"),
    "a tensor in another shard than the index says": (
        weights_changed(lambda weights: weights.pop("model.norm.weight"), SECOND),
        rf"{SECOND}: 'model.norm.weight' is missing, which {INDEX} says is there",
    ),
    "a tensor in two shards": (
        weights_changed(lambda weights: weights.update({"model.embed_tokens.weight": torch.ones(1)}), SECOND),
        rf"{SECOND}: 'model.embed_tokens.weight' is in {FIRST} too",
    ),
    "a tensor that the index does not name": (
        weights_changed(lambda weights: weights.update({"model.extra": torch.ones(1)}), SECOND),
        rf"{SECOND}: 1 tensor is unknown, the first is 'model.extra'",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_error_that_names_the_file(saved: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    damage(saved)
    says(saved, message)


@pytest.mark.parametrize("name", FAMILY_DAMAGES)
def test_damage_to_a_familys_checkpoint_too(llama: Path, name: str) -> None:
    damage, message = FAMILY_DAMAGES[name]
    load(llama)
    damage(llama)
    says(llama, message)


def index_changed(folder: Path, place: str) -> None:
    """The index names another file for a tensor."""
    values = json.loads((folder / INDEX).read_text("utf-8"))
    values["weight_map"]["model.norm.weight"] = place
    (folder / INDEX).write_text(json.dumps(values), "utf-8")


@pytest.mark.parametrize(
    "place",
    [
        "../secret.safetensors",
        "/etc/secret.safetensors",
        "a/b.safetensors",
        "..",
        "",
        "x.bin",
        "C:\\x.safetensors",
    ],
)
def test_an_index_names_files_beside_it_only(llama: Path, place: str) -> None:
    (llama.parent / "secret.safetensors").write_bytes((llama / SECOND).read_bytes())
    index_changed(llama, place)
    says(
        llama,
        rf"{INDEX}: the file of 'model.norm.weight' must be the plain name of a safetensors file, found",
    )


@pytest.mark.parametrize("place", [7, None, ["x"]])
def test_an_index_names_files_by_words(llama: Path, place: object) -> None:
    index_changed(llama, place)  # type: ignore[arg-type]
    says(llama, rf"{INDEX}: the file of 'model.norm.weight' must be the plain name")


def test_a_file_that_the_index_names_must_be_there(llama: Path) -> None:
    (llama / SECOND).unlink()
    with pytest.raises(FileNotFoundError, match=f"no checkpoint: .*{SECOND} is missing"):
        load(llama)


def test_a_link_does_not_lead_out_of_the_folder(llama: Path) -> None:
    (llama / SECOND).rename(llama.parent / "elsewhere.safetensors")
    (llama / SECOND).symlink_to(llama.parent / "elsewhere.safetensors")
    says(llama, rf"{SECOND} must lie in its folder, found a link to .*elsewhere.safetensors")
    (llama / SECOND).unlink()
    (llama.parent / "elsewhere.safetensors").rename(llama / "other.safetensors")
    (llama / SECOND).symlink_to("other.safetensors")
    load(llama)


def test_the_hubs_cache_links_to_its_blobs(llama: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "1234", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(llama.iterdir()):
        file.rename(blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    load(snapshot)
    (blobs.parent / "other").mkdir()
    for blob in blobs.iterdir():
        blob.rename(blobs.parent / "other" / blob.name)
    for file in snapshot.iterdir():
        number = file.readlink().name
        file.unlink()
        file.symlink_to(f"../../other/{number}")
    says(snapshot, r"must lie in its folder, found a link to .*other")


def test_more_experts_than_any_model_has_are_not_made(saved: Path) -> None:
    config = text_config()
    mixture = MixtureConfig(n_experts=10**9, n_active=1, expert=FeedForwardConfig(29))
    values = json.loads(json.dumps({"feedforward": mixture.__dict__}, default=vars))
    blocks = json.loads((saved / "config.json").read_text("utf-8"))["blocks"]
    json_changed("config.json", blocks=[{**block, **values} for block in blocks])(saved)
    says(saved, r"config.json: blocks and experts must be at most 50,000 together, found 2,000,000,002")
    assert config.vocab_size == 300


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


def test_a_second_lm_head_that_is_the_embedding_is_fine(saved: Path, llama: Path) -> None:
    for folder, file, name in (
        (saved, "model.safetensors", "embedding.weight"),
        (llama, FIRST, "model.embed_tokens.weight"),
    ):
        weights = load_file(folder / file)
        weights["lm_head.weight"] = weights[name].clone()
        save_file(weights, folder / file)
        model = load_model(folder)
        assert model.lm_head.weight is model.embedding.weight


def test_an_untied_model_needs_its_lm_head(tmp_path: Path) -> None:
    save(fresh_model(text_config(tied_embeddings=False)), small_tokenizer(), tmp_path)
    weights_changed(lambda weights: weights.pop("lm_head.weight"))(tmp_path)
    says(tmp_path, "model.safetensors: 1 tensor is missing, the first is 'lm_head.weight'")
