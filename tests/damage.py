"""Ways to damage a checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

Damage = Callable[[Path], object]


def weights_changed(change: Callable[[dict[str, Any]], object], file: str = "model.safetensors") -> Damage:
    """Other tensors in a file."""

    def damage(folder: Path) -> None:
        weights = load_file(folder / file)
        change(weights)
        save_file(weights, folder / file)

    return damage


def json_changed(name: str, **changes: Any) -> Damage:
    """Other values in a JSON file."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / name).read_text("utf-8")) | changes
        (folder / name).write_text(json.dumps(values), "utf-8")

    return damage


def cut_to(name: str, share: float) -> Damage:
    """Only the first part of a file."""

    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return damage


def written(name: str, data: bytes) -> Damage:
    """A file with another content."""
    return lambda folder: (folder / name).write_bytes(data)


def sparse(name: str, size: int) -> Damage:
    """A file of that size which takes no room on the disk."""

    def damage(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return damage


def all_of(*damages: Damage) -> Damage:
    """Several at once."""
    return lambda folder: [damage(folder) for damage in damages]
