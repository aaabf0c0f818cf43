"""Saving: everything is written into a folder inside the target, and moved out of it when it is whole."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from llmref.checkpoint.configuration import MODEL_TYPE, to_json
from llmref.checkpoint.contents import stored_as, tensors_of
from llmref.checkpoint.tensors import INDEX, SINGLE
from llmref.families import Stored, family_of
from llmref.model import Transformer
from llmref.tokenizer import TextTokenizer

SHARDS = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


def save(
    model: Transformer,
    tokenizer: TextTokenizer | None,
    folder: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    family: str | None = None,
    max_shard_size: int = 5 * 10**9,
) -> None:
    """Write a model, and its tokenizer if there is one. The weights of a model that was there are removed.

    Args:
        model: The model.
        tokenizer: Its tokenizer, or `None`.
        folder: Where to write; made if it is not there.
        dtype: The dtype of the weights on disk; the model's own if not given.
        family: The family as which others shall read it (`"llama"`); our own format if not given.
        max_shard_size: The most bytes of weights in one file; a model that has more is written as several
            files and an index. A larger tensor is alone in its file.

    Raises:
        ValueError: If there is no such family, or it cannot say this model's config.
        OSError: If the folder cannot be written; nothing in it has changed then.

    >>> import llmref, tempfile
    >>> from llmref.checkpoint import load
    >>> model, tokenizer = llmref.load_tiny()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, tokenizer, folder)
    ...     again, _ = load(folder)
    >>> ids = torch.tensor([[1, 2, 3]])
    >>> torch.equal(model(ids, torch.arange(3)[None]), again(ids, torch.arange(3)[None]))
    True
    """
    if max_shard_size < 1:
        raise ValueError(f"max_shard_size must be at least 1 byte, found {max_shard_size}")
    folder, weights = Path(folder), tensors_of(model)
    dtype = model.embedding.weight.dtype if dtype is None else dtype
    buffers = dict(model.named_buffers())  # a router's choice bias: small, and exact only in its own dtype
    dtypes = {name: tensor.dtype if name in buffers else dtype for name, tensor in weights.items()}
    values = _config(model, family, dtype)
    shards = list(
        _shards(stored_as(family or MODEL_TYPE, model.config, weights), weights, dtype, max_shard_size)
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as name:
        writing = Path(name)
        _write_json(writing / "config.json", values)
        places: dict[str, str] = {}
        for number, shard in enumerate(shards, start=1):
            file = f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else SINGLE
            _write_shard(writing / file, shard, weights, dtypes)
            places |= {each.name: file for each in shard}
        if len(shards) > 1:
            size = sum(tensor.numel() for tensor in weights.values()) * dtype.itemsize
            _write_json(writing / INDEX, {"metadata": {"total_size": size}, "weight_map": places})
        if tokenizer is not None:
            tokenizer.save(writing / "tokenizer.json")
        _move(writing, folder)


def _config(model: Transformer, family: str | None, dtype: torch.dtype) -> dict[str, Any]:
    if family is None:
        return to_json(model.config)
    values = family_of({"model_type": family}).to_json(model.config)
    return {**values, "torch_dtype": str(dtype).removeprefix("torch.")}


def _shards(
    stored: Sequence[Stored], weights: Mapping[str, Tensor], dtype: torch.dtype, most: int
) -> Iterator[list[Stored]]:
    """The tensors of each file, in their order."""
    shard: list[Stored] = []
    size = 0
    for each in stored:
        more = sum(weights[name].numel() for name in each.ours) * dtype.itemsize
        if shard and size + more > most:
            yield shard
            shard, size = [], 0
        shard.append(each)
        size += more
    yield shard


def _write_shard(
    file: Path, shard: Sequence[Stored], weights: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype]
) -> None:
    tensors = {
        each.name: each.layout.pack(
            [weights[name].detach().to("cpu", dtypes[name]) for name in each.ours]
        ).contiguous()
        for each in shard
    }
    try:
        save_file(tensors, file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{file} cannot be written: {error}") from None
    # safetensors writes a file that its owner alone can read; give it the mode of any other new file.
    shutil.copymode(file.parent / "config.json", file)


def _write_json(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _move(writing: Path, folder: Path) -> None:
    """Move the new files out, and remove what an earlier model left.

    The old index goes first and the new one comes last, so that an index never names files of two models.
    """
    (folder / INDEX).unlink(missing_ok=True)
    new = {file.name for file in writing.iterdir()}
    for file in folder.iterdir():
        if file.name not in new and (file.name == SINGLE or SHARDS.fullmatch(file.name)):
            file.unlink()
    for name in sorted(new, key=lambda name: name == INDEX):
        (writing / name).replace(folder / name)
