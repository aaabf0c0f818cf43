"""From documents to batches: several short documents share a row, and none sees another.

Each document becomes `[bos] tokens…`, and the target of its last token is the end-of-text id. A packed row
keeps the documents apart twice: positions start at 0 in each, and the mask lets a token look at its own
document only.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.tokenizer import TextTokenizer

IGNORE = -100  # what PyTorch's cross entropy takes as "no target here"


@dataclass(frozen=True)
class Batch:
    """Packed rows.

    Attributes:
        ids: Token ids; 0 in padding.
        targets: The id that follows each token; `IGNORE` in padding.
        positions: Where each token stands in its own document; -1 in padding.
        documents: Which document of its row each token belongs to; -1 in padding.
    """

    ids: Int[Tensor, "rows tokens"]
    targets: Int[Tensor, "rows tokens"]
    positions: Int[Tensor, "rows tokens"]
    documents: Int[Tensor, "rows tokens"]

    @property
    def n_targets(self) -> int:
        """How many tokens are predicted."""
        return int((self.targets != IGNORE).sum())

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(*(x.to(device) for x in (self.ids, self.targets, self.positions, self.documents)))


def pack(documents: Sequence[Sequence[int]], length: int, bos_id: int, eos_id: int) -> Batch:
    """Pack documents into rows: the longest first, each into the fullest row that has room.

    Args:
        documents: The token ids of each document, without begin and end.
        length: How many tokens a row holds.
        bos_id: Put before each document.
        eos_id: The target of each document's last token.

    Raises:
        ValueError: If there is no document, or one does not fit into a row.

    >>> batch = pack([[5, 6], [7], [8, 9, 4]], length=6, bos_id=1, eos_id=2)
    >>> batch.ids.tolist()
    [[1, 8, 9, 4, 1, 7], [1, 5, 6, 0, 0, 0]]
    >>> batch.targets.tolist()
    [[8, 9, 4, 2, 7, 2], [5, 6, 2, -100, -100, -100]]
    >>> batch.positions.tolist()
    [[0, 1, 2, 3, 0, 1], [0, 1, 2, -1, -1, -1]]
    """
    if not documents:
        raise ValueError("there are no documents to pack")
    rows: list[list[Sequence[int]]] = []
    rooms: list[int] = []
    for document in sorted(documents, key=len, reverse=True):
        size = len(document) + 1
        if size > length:
            raise ValueError(f"a document of {size} tokens does not fit into a row of {length}")
        fitting = [row for row, room in enumerate(rooms) if room >= size]
        if fitting:
            row = min(fitting, key=rooms.__getitem__)
        else:
            row = len(rows)
            rows.append([])
            rooms.append(length)
        rows[row].append(document)
        rooms[row] -= size

    shape = (len(rows), length)
    ids, targets = torch.zeros(shape, dtype=torch.long), torch.full(shape, IGNORE)
    positions, numbers = torch.full(shape, -1), torch.full(shape, -1)
    for row, members in enumerate(rows):
        start = 0
        for number, document in enumerate(members):
            place = slice(start, start + len(document) + 1)
            ids[row, place] = torch.tensor([bos_id, *document])
            targets[row, place] = torch.tensor([*document, eos_id])
            positions[row, place] = torch.arange(len(document) + 1)
            numbers[row, place] = number
            start = place.stop
    return Batch(ids, targets, positions, numbers)


class Documents(Protocol):
    """The documents of each training step: a function of the step, so that a run can be resumed."""

    def __call__(self, step: int, count: int) -> list[str]:
        """The `count` documents of a step."""


class TextFile:
    """The documents of a UTF-8 text file, parted by blank lines, shuffled anew at each pass over them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8, or holds no document.
    """

    def __init__(self, file: str | os.PathLike[str], seed: int = 0) -> None:
        try:
            text = Path(file).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not UTF-8 text: {error}") from None
        self.documents = [part.strip() for part in text.split("\n\n") if part.strip()]
        if not self.documents:
            raise ValueError(f"{file} holds no document: expected texts parted by blank lines")
        self.file, self.seed = file, seed

    def __call__(self, step: int, count: int) -> list[str]:
        """The documents of a step: a pure function of the seed and the step."""
        total = len(self.documents)
        first, last = step * count, (step + 1) * count - 1
        orders = {number: self._order(number) for number in range(first // total, last // total + 1)}
        return [self.documents[orders[i // total][i % total]] for i in range(first, last + 1)]

    def check_lengths(self, tokenizer: TextTokenizer, context_length: int) -> None:
        """Make sure before a run that every document fits into a row, with the token that begins it.

        Raises:
            ValueError: If one is too long; the message says which.
        """
        for number, text in enumerate(self.documents, start=1):
            size = len(tokenizer.encode(text)) + 1
            if size > context_length:
                raise ValueError(
                    f"document {number} of {self.file} has {size} tokens with the one that begins it, "
                    f"and a row holds {context_length}: part it by a blank line"
                )

    def _order(self, number: int) -> list[int]:
        """The order of the documents in one pass over them."""
        order = list(range(len(self.documents)))
        random.Random(f"{self.seed} {number}").shuffle(order)
        return order
