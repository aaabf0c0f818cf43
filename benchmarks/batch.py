"""Many texts at once: ragged prompts, equal and mixed numbers of new tokens, new tokens per second.

Run it alone on the machine: python benchmarks/batch.py --save
It measures the GPU where there is one, else the CPU.

The prompts have 16 to 128 tokens. In "equal" every row writes as many tokens; in "mixed" some few and some
many, as in a real queue, and only those that were asked for count. The peer library pads prompts on the left
and goes on until the longest row is done; here a row that has ended leaves the batch. Ids are compared row by
row with those that the row gets alone.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from harness import Machine, about, find_device, in_turns, name_of, options, place, write
from shapes import SHAPES, checkpoint, ours, peer_library, peers

from llmref.decoding import strategy
from llmref.fast import Decoder, prepare
from llmref.generation import generate_batch_ids, generate_ids
from llmref.model import Transformer

GREEDY = strategy(temperature=0)


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    shape: str = "Llama-style 134M"
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)
    rows: tuple[int, ...] = (8, 32)
    prompts: tuple[int, int] = (16, 128)
    new: int = 32
    mixed: tuple[int, int] = (4, 64)
    rounds: int = 3
    small: bool = False


SETTINGS = {
    "cpu": Settings(),
    "cuda": Settings("Llama-style 8B", (torch.bfloat16,), (1, 4, 16, 64, 256)),
}


@dataclass(frozen=True)
class Request:
    """Prompts, and how many new tokens each shall get."""

    prompts: list[list[int]]
    limits: list[int]


def requests(rows: int, settings: Settings) -> dict[str, Request]:
    """The same requests every time."""
    draws = random.Random(0)
    vocab = SHAPES[settings.shape]["vocab_size"]
    prompts = [
        [draws.randrange(1, vocab) for _ in range(draws.randint(*settings.prompts))] for _ in range(rows)
    ]
    few, many = settings.mixed
    mixed = [round(few * (many / few) ** draws.random()) for _ in range(rows)]  # few more often than many
    return {"equal": Request(prompts, [settings.new] * rows), "mixed": Request(prompts, mixed)}


def our_texts(model: Transformer | Decoder, request: Request) -> list[list[int]]:
    return [text.ids for text in generate_batch_ids(model, request.prompts, GREEDY, request.limits)]


def peer_texts(model: Any, request: Request) -> list[list[int]]:
    longest = max(map(len, request.prompts))
    ids = [[0] * (longest - len(row)) + row for row in request.prompts]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in request.prompts]
    with torch.inference_mode():
        out = model.generate(
            torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=max(request.limits),
            do_sample=False,
            pad_token_id=0,
        )
    return [row[longest : longest + limit].tolist() for row, limit in zip(out, request.limits, strict=True)]


def measure(dtype: torch.dtype, folder: Path, device: str, settings: Settings) -> list[dict[str, Any]]:
    """A row for each batch, kind of request and way."""
    model, found = ours(folder, device, dtype), []
    decoder = prepare(model, backend=None)
    peer = None if peer_library() is None else peers(folder, device, dtype)
    for rows in settings.rows:
        for kind, request in requests(rows, settings).items():
            ways: dict[str, Callable[[], list[list[int]]]] = {}
            if peer is not None:
                ways["transformers"] = lambda request=request: peer_texts(peer, request)
            ways["rows leave"] = lambda request=request: our_texts(model, request)
            ways["rows leave, prepared"] = lambda request=request: our_texts(decoder, request)
            texts = {name: write_all() for name, write_all in ways.items()}
            alone = [
                list(generate_ids(model, ids, GREEDY, limit))
                for ids, limit in zip(request.prompts[:4], request.limits, strict=False)
            ]
            machine = Machine(device, (dtype,), settings.small)
            times = in_turns({"machine": machine.measure, **ways}, settings.rounds, device)
            for name in ways:
                seconds = median(times[name])
                found.append(
                    {
                        "dtype": name_of(dtype),
                        "rows": rows,
                        "request": kind,
                        "way": name,
                        "seconds": round(seconds, 3),
                        "new_tokens": sum(request.limits),
                        "tokens_per_second": round(sum(request.limits) / seconds, 1),
                        "same_as_alone": sum(
                            one == other for one, other in zip(texts[name], alone, strict=False)
                        ),
                        "compared": len(alone),
                    }
                )
                row = found[-1]
                click.echo(
                    f"{row['dtype']:10}{rows:4} rows, {kind:6}{name:22}{row['tokens_per_second']:10.1f} tok/s"
                    f"   as alone: {row['same_as_alone']} of {row['compared']}"
                )
    return found


def run(device: str, settings: Settings) -> dict[str, Any]:
    """Measure everything; the result as it is written."""
    result, rows = about("batch", device), list[dict[str, Any]]()
    made_in = torch.bfloat16 if "8B" in settings.shape else torch.float32
    with checkpoint(settings.shape, device, made_in) as folder:
        for dtype in settings.dtypes:
            rows += measure(dtype, folder, device, settings)
    return result | {"model": settings.shape, "rounds": settings.rounds, "rows": rows}


@click.command(help=__doc__)
@options
def main(out: Path | None, device: str | None, save: bool) -> None:
    """Measure, print, and write the file."""
    device = device or find_device()
    write(run(device, SETTINGS[device]), place("batch", device, out, save))


if __name__ == "__main__":
    main()
