"""Reading and writing checkpoints in the Hugging Face layout: config.json, model.safetensors, tokenizer.json.

A checkpoint is data: nothing in it is ever executed. Saving writes to a folder inside the target and moves
the files out of it when all of them are whole, so that a failure leaves what was there before.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llmref.config import ModelConfig
from llmref.model import Transformer
from llmref.tokenizer import Tokenizer

MODEL_TYPE = "llmref"


def save(
    model: Transformer,
    tokenizer: Tokenizer | None,
    folder: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model, and its tokenizer if there is one.

    Args:
        model: The model.
        tokenizer: Its tokenizer, or `None`.
        folder: Where to write; made if it is not there.
        dtype: The dtype of the weights on disk; the model's own if not given.

    Raises:
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
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as name:
        writing = Path(name)
        values = _to_json(model.config)
        (writing / "config.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
        weights = {
            name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in _weights(model).items()
        }
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
    if not folder.is_dir():
        raise FileNotFoundError(f"no checkpoint: {folder} is not a folder")
    device = find_device(device)
    config = load_config(_existing(folder / "config.json"))
    tokenizer = Tokenizer.load(_existing(folder / "tokenizer.json"))
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} entries, "
            f"more than the {config.vocab_size} of config.json"
        )
    with torch.device("meta"):
        model = Transformer(config)
    weights = _read(_existing(folder / "model.safetensors"), _weights(model), device, dtype)
    if config.tied_embeddings:
        weights["lm_head.weight"] = weights["embedding.weight"]
    model.load_state_dict(weights, assign=True)
    if config.tied_embeddings:
        model.lm_head.weight = model.embedding.weight
    return model.eval(), tokenizer


def load_config(file: str | os.PathLike[str]) -> ModelConfig:
    """The config in a config.json.

    Raises:
        ValueError: If it is not JSON, or not a config of ours; the message names the file and the value.
    """
    try:
        values = json.loads(Path(file).read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(values, dict) or values.pop("model_type", None) != MODEL_TYPE:
        raise ValueError(f"{file}: expected model_type {MODEL_TYPE!r}, found another or none")
    for ours, theirs in (("bos_id", "bos_token_id"), ("eos_id", "eos_token_id")):
        if theirs in values:
            values[ours] = values.pop(theirs)
    try:
        return ModelConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


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
    file: Path, expected: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt", device=str(device)) as stored:
            found = set(stored.keys())
            if missing := sorted(set(expected) - found):
                raise ValueError(f"{file}: {_count(missing, 'tensor')} missing, the first is {missing[0]!r}")
            if extra := sorted(found - set(expected)):
                raise ValueError(f"{file}: {_count(extra, 'tensor')} unknown, the first is {extra[0]!r}")
            for name, tensor in expected.items():
                shape = tuple(stored.get_slice(name).get_shape())
                if shape != tuple(tensor.shape):
                    raise ValueError(f"{file}: {name} should have shape {tuple(tensor.shape)}, found {shape}")
            return {name: stored.get_tensor(name).to(dtype) for name in expected}
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or not a safetensors file: {error}") from None


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint: {file} is missing")
    return file


def _count(names: list[str], noun: str) -> str:
    return f"{len(names)} {noun} is" if len(names) == 1 else f"{len(names)} {noun}s are"
