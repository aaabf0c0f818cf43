"""The tensors of a checkpoint: in which file each one is, and what it looks like, before it is read."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from llmref.checkpoint.files import existing, read_values
from llmref.files import shown

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SHARD = re.compile(r"[\w.-]+\.safetensors", re.ASCII)
PICKLES = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # how one begins
CONVERT = (
    "only safetensors files are read, because a pickle can run any code; where you trust the file, the "
    "library that wrote it can convert it (transformers: from_pretrained, then save_pretrained)"
)


@dataclass(frozen=True)
class Found:
    """A stored tensor: its file, and the dtype and the shape that the file's header says."""

    file: Path
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes they take in the file."""
        return self.size * DTYPES[self.dtype].itemsize


def find_tensors(folder: Path) -> dict[str, Found]:
    """Every tensor of a checkpoint by its name. Only the headers of the files are read.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or a pickle, or the files and their index do not fit.
    """
    if not (folder / SINGLE).is_file() and (folder / INDEX).is_file():
        return _sharded(folder)
    if not (folder / SINGLE).is_file():
        for pickled in sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]):
            raise ValueError(f"{pickled} is a pickle, and {folder / SINGLE} is missing: {CONVERT}")
    return _header(existing(folder / SINGLE))


def read_index(folder: Path) -> dict[str, str]:
    """The file of each tensor, as the index of a checkpoint in several files says.

    Raises:
        ValueError: If it is not an index, or names anything else than a safetensors file beside it.
    """
    index = folder / INDEX
    files = read_values(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ValueError(f"{index}: weight_map must name the file of each tensor, found {shown(files)}")
    for name, file in files.items():
        if not isinstance(file, str) or not SHARD.fullmatch(file):
            raise ValueError(
                f"{index}: the file of {shown(name)} must be the plain name of a safetensors file, "
                f"found {shown(file)}"
            )
    return files


def _sharded(folder: Path) -> dict[str, Found]:
    named: dict[str, list[str]] = {}
    for name, file in read_index(folder).items():
        named.setdefault(file, []).append(name)
    found: dict[str, Found] = {}
    for file, names in named.items():
        header = _header(_inside(folder, existing(folder / file)))
        for name in names:
            if name not in header:
                raise ValueError(f"{folder / file}: {shown(name)} is missing, which {INDEX} says is there")
        for name in header:
            if name in found:
                raise ValueError(f"{folder / file}: {shown(name)} is in {found[name].file.name} too")
        found |= header
    return found


def _inside(folder: Path, file: Path) -> Path:
    """The file, if it is no link that leads elsewhere; the hub library's cache keeps its files in `blobs`."""
    home, place = folder.resolve(), file.resolve()
    homes = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    if not any(place.is_relative_to(each) for each in homes):
        raise ValueError(f"{file} must lie in its folder, found a link to {place}")
    return file


def _header(file: Path) -> dict[str, Found]:
    with mapped(file) as stored:
        slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
        return {name: Found(file, each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}


@contextmanager
def mapped(file: Path) -> Iterator[Any]:
    """A safetensors file, mapped into memory while the `with` block runs and a tensor of it is alive.

    Raises:
        ValueError: If it is damaged or not a safetensors file.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            yield stored
    except SafetensorError as error:
        with file.open("rb") as opened:
            start = opened.read(8)
        pickled = start[:2] in PICKLES and any(start[2:])
        more = f"; it looks like a pickle: {CONVERT}" if pickled else ""
        raise ValueError(f"{file} is damaged or not a safetensors file: {error}{more}") from None


def stored_dtype(found: Mapping[str, Found]) -> torch.dtype:
    """The dtype that most of the stored numbers have, of those that are read."""
    sizes = dict.fromkeys(DTYPES, 0)
    for each in found.values():
        if each.dtype in sizes:
            sizes[each.dtype] += each.size
    return DTYPES[max(sizes, key=lambda name: sizes[name])]
