"""Reading and writing checkpoints in the Hugging Face layout: config.json, model.safetensors, tokenizer.json.

A checkpoint is data: nothing in it is ever executed. Saving writes to a folder inside the target and moves
the files out of it when all of them are whole, so that a failure leaves what was there before.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llmref.config import ModelConfig
from llmref.families import FAMILIES, Rows, Stored, family_of
from llmref.model import Transformer
from llmref.tokenizer import Tokenizer

MODEL_TYPE = "llmref"


def save(
    model: Transformer,
    tokenizer: Tokenizer | None,
    folder: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    family: str | None = None,
) -> None:
    """Write a model, and its tokenizer if there is one.

    Args:
        model: The model.
        tokenizer: Its tokenizer, or `None`.
        folder: Where to write; made if it is not there.
        dtype: The dtype of the weights on disk; the model's own if not given.
        family: The family as which others shall read it (`"llama"`); our own format if not given.

    Raises:
        ValueError: If there is no such family, or it cannot say this model's config.
        OSError: If the folder cannot be written; nothing in it has changed then.

    >>> import llmref, tempfile
    >>> model, tokenizer = llmref.load_tiny()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, tokenizer, folder)
    ...     again, _ = load(folder)
    >>> ids = torch.tensor([[1, 2, 3]])
    >>> torch.equal(model(ids, torch.arange(3)[None]), again(ids, torch.arange(3)[None]))
    True
    """
    folder = Path(folder)
    weights = _weights(model)
    if family is None:
        values = _to_json(model.config)
    else:
        made = family_of({"model_type": family})
        values = made.to_json(model.config)
        stored = made.stored(model.config, weights)
        weights = {each.name: each.layout.pack([weights[name] for name in each.ours]) for each in stored}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as name:
        writing = Path(name)
        (writing / "config.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
        weights = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in weights.items()}
        try:
            save_file(weights, writing / "model.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"{folder} cannot be written: {error}") from None
        # safetensors writes a file that its owner alone can read; give it the mode of any other new file.
        shutil.copymode(writing / "config.json", writing / "model.safetensors")
        if tokenizer is not None:
            tokenizer.save(writing / "tokenizer.json")
        for file in writing.iterdir():
            file.replace(folder / file.name)


def load(
    folder: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Transformer, Tokenizer]:
    """Read a model and its tokenizer.

    Args:
        folder: A folder with config.json, model.safetensors and tokenizer.json.
        device: Where the weights go: `"cpu"`, `"cuda"`, `"mps"` …
        dtype: The dtype of the weights in memory, whatever it is on disk.

    Raises:
        FileNotFoundError: If the folder or one of the files is missing.
        ValueError: If a file is damaged or does not fit the others, or the device is not there.
    """
    folder = Path(folder)
    model = load_model(folder, device, dtype)
    tokenizer = Tokenizer.load(_existing(folder / "tokenizer.json"))
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} entries, "
            f"more than the {model.config.vocab_size} of config.json"
        )
    return model, tokenizer


def load_model(
    folder: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Transformer:
    """Read a model without its tokenizer; the arguments and errors are those of `load`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no checkpoint: {folder} is not a folder")
    device = find_device(device)
    file = _existing(folder / "config.json")
    values = _values(file)
    config = load_config(file)
    with torch.device("meta"):
        model = Transformer(config)
    expected = _weights(model)
    if values["model_type"] == MODEL_TYPE:
        stored = [Stored(name, (name,), Rows()) for name in expected]
    else:
        stored = family_of(values).stored(config, expected)
    weights = _read(_existing(folder / "model.safetensors"), expected, stored, device, dtype)
    if config.tied_embeddings:
        weights["lm_head.weight"] = weights["embedding.weight"]
    model.load_state_dict(weights, assign=True)
    if config.tied_embeddings:
        model.lm_head.weight = model.embedding.weight
    return model.eval()


def load_config(file: str | os.PathLike[str]) -> ModelConfig:
    """The config in a config.json.

    Raises:
        ValueError: If it is not JSON, or not a config of ours; the message names the file and the value.
    """
    values = _values(Path(file))
    try:
        if values["model_type"] != MODEL_TYPE:
            return family_of(values).read(values)
        del values["model_type"]
        for ours, theirs in (("bos_id", "bos_token_id"), ("eos_id", "eos_token_id")):
            if theirs in values:
                values[ours] = values.pop(theirs)
        return ModelConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _values(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    known = [MODEL_TYPE, *sorted(FAMILIES)]
    if not isinstance(values, dict) or values.get("model_type") not in known:
        found = values.get("model_type") if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"{file}: model_type must be one of {', '.join(known)}, found {found!r}")
    return values


def find_device(device: str | torch.device) -> torch.device:
    """The device of that name, if it is there.

    Raises:
        ValueError: If there is no such device, or not on this machine.

    >>> find_device("toaster")
    Traceback (most recent call last):
    ...
    ValueError: no device 'toaster' on this machine; there is cpu...
    """
    there = ["cpu"]
    if torch.cuda.is_available():
        there += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        there.append("mps")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or not any(name == str(found) or name.split(":")[0] == str(found) for name in there):
        raise ValueError(f"no device {str(device)!r} on this machine; there is {', '.join(there)}")
    return found


def _to_json(config: ModelConfig) -> dict[str, Any]:
    values = config.to_dict()
    ids = {"bos_token_id": values.pop("bos_id"), "eos_token_id": values.pop("eos_id")}
    return {"model_type": MODEL_TYPE, **ids, **values}


def _weights(model: Transformer) -> dict[str, Tensor]:
    weights = dict(model.state_dict())
    if model.config.tied_embeddings:
        del weights["lm_head.weight"]  # the same matrix as the embedding: written once
    return weights


def _read(
    file: Path,
    ours: Mapping[str, Tensor],
    expected: Sequence[Stored],
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt", device=str(device)) as stored:
            found, names = set(stored.keys()), {each.name for each in expected}
            if missing := sorted(names - found):
                raise ValueError(f"{file}: {_count(missing, 'tensor')} missing, the first is {missing[0]!r}")
            if extra := sorted(found - names):
                raise ValueError(f"{file}: {_count(extra, 'tensor')} unknown, the first is {extra[0]!r}")
            weights: dict[str, Tensor] = {}
            for each in expected:
                parts = [ours[name] for name in each.ours]
                wanted = tuple(each.layout.pack(parts).shape)
                shape = tuple(stored.get_slice(each.name).get_shape())
                if shape != wanted:
                    raise ValueError(f"{file}: {each.name} should have shape {wanted}, found {shape}")
                unpacked = each.layout.unpack(stored.get_tensor(each.name).to(dtype), parts)
                weights |= dict(zip(each.ours, unpacked, strict=True))
            return weights
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or not a safetensors file: {error}") from None


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint: {file} is missing")
    return file


def _count(names: list[str], noun: str) -> str:
    return f"{len(names)} {noun} is" if len(names) == 1 else f"{len(names)} {noun}s are"
