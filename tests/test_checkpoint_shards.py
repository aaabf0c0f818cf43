"""Several files: what is saved in parts comes back, and is in memory once; the peer library reads it too."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from helpers import fresh_model, logits_of, random_ids, small_model, small_tokenizer, text_config
from safetensors.torch import load_file

from llmref.attention.memory import PeakMemory
from llmref.checkpoint import load, load_model, loading, outline, save
from llmref.config import ModelConfig
from llmref.families import FAMILIES, Packed, Rows, Transposed

IDS = random_ids(1, 9)
INDEX = "model.safetensors.index.json"


def size_of(config: ModelConfig) -> int:
    return 4 * sum(parameter.numel() for parameter in small_model(config).parameters())


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.safetensors*"))


@pytest.mark.parametrize("family", [None, "llama"])
@pytest.mark.parametrize("n_files", [1, 2, 5])
def test_several_files_hold_what_one_would(tmp_path: Path, family: str | None, n_files: int) -> None:
    config = text_config(tied_embeddings=False)
    model = small_model(config)
    save(
        model, small_tokenizer(), tmp_path, family=family, max_shard_size=size_of(config) // n_files + 10_000
    )
    if n_files == 1:
        assert names(tmp_path) == ["model.safetensors"]
    else:
        files = [name for name in names(tmp_path) if name != INDEX]
        assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
        index = json.loads((tmp_path / INDEX).read_text("utf-8"))
        assert index["metadata"]["total_size"] == size_of(config)
        assert sorted(set(index["weight_map"].values())) == files
        for file in files:
            there = load_file(tmp_path / file)
            assert set(there) == {name for name, place in index["weight_map"].items() if place == file}
            assert sum(tensor.nbytes for tensor in there.values()) <= size_of(config) // n_files + 10_000
    again, _ = load(tmp_path)
    assert torch.equal(logits_of(again, IDS), logits_of(model, IDS))
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_dir()) == []


def test_a_tensor_larger_than_a_file_may_be_is_alone(tmp_path: Path) -> None:
    model = small_model(text_config())
    save(model, None, tmp_path, max_shard_size=1)
    assert len(list(tmp_path.glob("*.safetensors"))) == 20
    assert torch.equal(logits_of(load_model(tmp_path), IDS), logits_of(model, IDS))
    with pytest.raises(ValueError, match="max_shard_size must be at least 1 byte, found 0"):
        save(model, None, tmp_path, max_shard_size=0)


def test_nothing_of_an_older_model_stays(tmp_path: Path) -> None:
    (tmp_path / "consolidated.safetensors").write_bytes(b"not ours")
    sizes = [10**9, 12_000, 30_000, 10**9]
    for seed, size in enumerate(sizes):
        model = fresh_model(text_config(), seed=seed)
        save(model, small_tokenizer(), tmp_path, max_shard_size=size)
        assert torch.equal(logits_of(load(tmp_path)[0], IDS), logits_of(model, IDS))
    assert names(tmp_path) == ["consolidated.safetensors", "model.safetensors"]


def test_a_save_that_was_cut_short_never_mixes_two_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are moved one after the other, the index last; without it, loading says what is missing."""
    save(small_model(text_config()), small_tokenizer(), tmp_path, max_shard_size=12_000)
    right = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == INDEX:
            raise OSError("the power went")
        return right(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(OSError, match="the power went"):
        save(fresh_model(text_config(), seed=1), small_tokenizer(), tmp_path, max_shard_size=12_000)
    with pytest.raises(FileNotFoundError, match="model.safetensors is missing"):
        load(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_peer_library_reads_several_files_and_writes_them(tmp_path: Path, dtype: torch.dtype) -> None:
    config = text_config(tied_embeddings=False)
    save(small_model(config), None, tmp_path / "ours", family="llama", max_shard_size=20_000, dtype=dtype)
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert peer.dtype == dtype
    ours = load_model(tmp_path / "ours", dtype=None)
    assert ours.embedding.weight.dtype == dtype
    peer, ours = peer.float(), ours.float()
    with torch.no_grad():
        torch.testing.assert_close(logits_of(ours, IDS), peer(IDS).logits, rtol=0, atol=1e-4)
    peer.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    torch.testing.assert_close(
        logits_of(load_model(tmp_path / "theirs"), IDS), logits_of(ours, IDS), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_weights_are_in_memory_once(
    tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = text_config(tied_embeddings=False)
    save(small_model(config), None, tmp_path, family="llama", dtype=torch.bfloat16)
    monkeypatch.setattr(loading, "MAPPED_BYTES", 10_000)
    empty = outline(config).to(dtype)  # the meter would count its tensors, which take no memory
    monkeypatch.setattr(loading, "outline", lambda config: empty)
    with PeakMemory() as memory:
        model = load_model(tmp_path, dtype=dtype)
    size = size_of(config) * dtype.itemsize // 4
    assert size <= memory.peak <= 1.1 * size
    for parameter in model.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.nbytes
        assert parameter.is_contiguous()


@pytest.mark.parametrize("layout", [Rows(), Rows(groups=2), Transposed()])
def test_parts_of_one_stored_tensor_do_not_hold_it(
    tmp_path: Path, layout: Rows | Transposed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Query, key and value as one tensor: each of ours has memory of its own."""
    parts = ("query", "key", "value")
    llama = FAMILIES["llama"]
    fused = {
        **{
            theirs: ours
            for theirs, ours in llama.names.items()
            if not theirs.endswith(("q_proj", "k_proj", "v_proj"))
        },
        "model.layers.{block}.self_attn.qkv": Packed(
            tuple(f"blocks.{{block}}.attention.{part}" for part in parts), layout
        ),
    }
    monkeypatch.setitem(
        FAMILIES, "llama", type(llama)(llama.model_type, llama.architecture, llama.read, llama.write, fused)
    )
    model = small_model(text_config())
    save(model, None, tmp_path, family="llama")
    again = load_model(tmp_path)
    assert torch.equal(logits_of(again, IDS), logits_of(model, IDS))
    for parameter in again.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.nbytes
        assert parameter.is_contiguous()
