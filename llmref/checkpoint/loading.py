"""Loading: what the files say is held against the model, and then the numbers are read, tensor by tensor."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from llmref.checkpoint.configuration import MODEL_TYPE, read_config
from llmref.checkpoint.contents import outline, stored_as, tensors_of
from llmref.checkpoint.device import find_device
from llmref.checkpoint.files import shortened
from llmref.checkpoint.folder import find_folder
from llmref.checkpoint.tensors import DTYPES, INDEX, SINGLE, Found, find_tensors, mapped, stored_dtype
from llmref.config import ModelConfig
from llmref.families import FAMILIES, Stored
from llmref.files import shown
from llmref.model import Transformer
from llmref.tokenizer import TextTokenizer, load_tokenizer

MAPPED_BYTES = 64 * 2**20  # of a file in memory at once, beside the weights; a larger tensor is alone


def load(
    path_or_id: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = torch.float32,
    revision: str | None = None,
) -> tuple[Transformer, TextTokenizer]:
    """Read a model and its tokenizer, from a folder or from the Hugging Face hub.

    Args:
        path_or_id: A folder with config.json, tokenizer.json, and model.safetensors or several such files and
            their index; or a name on the hub (`"owner/name"`), from which these are fetched, once.
        device: Where the weights go: `"cpu"`, `"cuda"`, `"mps"` …
        dtype: The dtype of the weights in memory, whatever it is on disk; `None` for the one that most of the
            stored numbers have. float32 if not given: exact, and what a CPU is made for.
        revision: A branch, a tag or a commit of the hub's.

    Raises:
        FileNotFoundError: If the folder or one of the files is missing, or the hub has no such checkpoint.
        ValueError: If a file is damaged or does not fit the others, or the device is not there.
    """
    device = find_device(device)
    _check_dtype(dtype)
    folder = find_folder(path_or_id, revision)
    _, config = read_config(folder / "config.json")
    tokenizer = _tokenizer(folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} entries, "
            f"more than the {config.vocab_size} of config.json"
        )
    return load_model(folder, device, dtype), tokenizer


def _tokenizer(folder: Path) -> TextTokenizer:
    try:
        return load_tokenizer(folder)
    except ValueError as error:
        raise ValueError(shortened(error)) from None


def load_model(
    path_or_id: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = torch.float32,
    revision: str | None = None,
) -> Transformer:
    """Read a model without its tokenizer; the arguments and errors are those of `load`."""
    device = find_device(device)
    _check_dtype(dtype)
    folder = find_folder(path_or_id, revision)
    family, config = read_config(folder / "config.json")
    found = find_tensors(folder)
    model = _outline(folder / "config.json", config, found).to(
        stored_dtype(found) if dtype is None else dtype
    )
    ours = tensors_of(model)
    stored = _match(folder, family, config, ours, found)

    weights: dict[str, Tensor] = {}
    for group in _groups(stored, found):
        weights |= _read(group, ours, found, device)
    if config.tied_embeddings:
        weights["lm_head.weight"] = weights["embedding.weight"]
    model.load_state_dict(weights, assign=True)
    if config.tied_embeddings:
        model.lm_head.weight = model.embedding.weight
    return model.eval()


def _check_dtype(dtype: torch.dtype | None) -> None:
    if dtype is not None and dtype not in DTYPES.values():
        known = ", ".join(map(str, DTYPES.values()))
        raise ValueError(f"dtype must be None or one of {known}, found {dtype}")


def _outline(file: Path, config: ModelConfig, found: Mapping[str, Found]) -> Transformer:
    if len(config.blocks) > len(found):  # before they are made
        raise ValueError(f"{file}: {len(config.blocks):,} blocks, but the weights are {len(found):,} tensors")
    try:
        return outline(config)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _match(
    folder: Path, family: str, config: ModelConfig, ours: Mapping[str, Tensor], found: Mapping[str, Found]
) -> list[Stored]:
    """The tensors to read: those that the model needs, if they are what it needs and all that is there."""
    stored = stored_as(family, config, ours, found)
    if missing := sorted(each.name for each in stored if each.name not in found):
        file = folder / (SINGLE if (folder / SINGLE).is_file() else INDEX)
        raise ValueError(f"{file}: {_count(missing, 'missing')}")
    for each in stored:
        _check(found[each.name], each, ours)
    unknown = set(found) - {each.name for each in stored} - _second_head(family, config, ours, found)
    unknown = {name for name in unknown if found[name].size > 0}  # a tensor of no numbers says nothing
    if family != MODEL_TYPE:
        unknown = {name for name in unknown if not FAMILIES[family].ignores(name, config)}
    if unknown:
        raise ValueError(f"{found[min(unknown)].file}: {_count(sorted(unknown), 'unknown')}")
    return stored


def _check(found: Found, stored: Stored, ours: Mapping[str, Tensor]) -> None:
    if found.dtype not in DTYPES:
        raise ValueError(
            f"{found.file}: {stored.name} should have a dtype of {', '.join(DTYPES)}, found {found.dtype}"
        )
    shape = tuple(stored.layout.pack([ours[name] for name in stored.ours]).shape)
    if found.shape != shape:
        raise ValueError(f"{found.file}: {stored.name} should have shape {shape}, found {shown(found.shape)}")


def _second_head(
    family: str, config: ModelConfig, ours: Mapping[str, Tensor], found: Mapping[str, Found]
) -> set[str]:
    """The LM head of a tied model, which some checkpoints hold too: it must be the embedding's matrix."""
    if not config.tied_embeddings:
        return set()
    matrix = ours["embedding.weight"]
    try:
        (head,) = stored_as(family, config, {"lm_head.weight": matrix}, found)
    except ValueError:  # a family whose models are always tied has no name for it
        return set()
    if head.name not in found:
        return set()
    (embedding,) = stored_as(family, config, {"embedding.weight": matrix}, found)
    first, second = found[embedding.name], found[head.name]
    if (first.dtype, first.shape) == (second.dtype, second.shape):
        with mapped(first.file) as one, mapped(second.file) as other:
            if torch.equal(_bits(one.get_tensor(embedding.name)), _bits(other.get_tensor(head.name))):
                return {head.name}
    raise ValueError(f"{second.file}: {head.name} differs from {embedding.name}, and config.json ties them")


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.uint8)


def _groups(stored: Sequence[Stored], found: Mapping[str, Found]) -> Iterator[list[Stored]]:
    """Tensors of one file that are mapped together; the large ones first, while little else is in memory."""

    def large_first(each: Stored) -> tuple[int, Path]:
        place = found[each.name]
        return (-place.nbytes if place.nbytes > MAPPED_BYTES else 0, place.file)

    group: list[Stored] = []
    size = 0
    for each in sorted(stored, key=large_first):
        place = found[each.name]
        if group and (place.file != found[group[0].name].file or size + place.nbytes > MAPPED_BYTES):
            yield group
            group, size = [], 0
        group.append(each)
        size += place.nbytes
    yield group


def _read(
    group: Sequence[Stored],
    ours: Mapping[str, Tensor],
    found: Mapping[str, Found],
    device: torch.device,
) -> dict[str, Tensor]:
    """Our tensors, each in memory of its own: a view would hold the whole file there."""
    weights: dict[str, Tensor] = {}
    with mapped(found[group[0].name].file) as file:
        for each in group:
            parts = each.layout.unpack(file.get_tensor(each.name), [ours[name] for name in each.ours])
            for name, part in zip(each.ours, parts, strict=True):
                weights[name] = part.to(
                    device, ours[name].dtype, copy=True, memory_format=torch.contiguous_format
                )
    return weights


def _count(names: list[str], what: str) -> str:
    one = len(names) == 1
    return f"{len(names)} {'tensor is' if one else 'tensors are'} {what}, the first is {shown(names[0])}"
