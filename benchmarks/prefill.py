"""Reading a prompt: the time of one pass over all its tokens, and the share of the machine's arithmetic.

Run it alone on the machine: python benchmarks/prefill.py --save
It measures the GPU where there is one, else the CPU.

Only the last token's logits are needed to go on; "all logits" computes those of every token. The FLOPs that
count are those that must be done (`llmref.cost`): every matrix product, the pairs of tokens that the causal
mask leaves, and one row of logits. Their share of the rate of a large matrix product, measured in the same
rounds, is the MFU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from harness import Machine, about, find_device, in_turns, name_of, options, place, write
from shapes import SHAPES, checkpoint, ours, peer_library, peers, prompt
from torch import Tensor

from llmref.config import ModelConfig
from llmref.cost import cost
from llmref.fast import Decoder, prepare
from llmref.model import Transformer, sequential_positions


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    shapes: tuple[str, ...] = ("GPT-2 124M", "Llama-style 134M")
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)
    lengths: tuple[int, ...] = (512, 2048)
    rounds: int = 5
    compiled: bool = True
    small: bool = False


SETTINGS = {
    "cpu": Settings(),
    "cuda": Settings(("Llama-style 134M", "Llama-style 8B"), (torch.bfloat16,), (2048, 8192)),
}


def needed_flops(config: ModelConfig, length: int) -> int:
    """What a prefill must compute: each token sees itself and those before it; the last has logits."""

    def of_token(place: int) -> int:
        step = cost(config, context=place)
        return step.total.decode_flops - step.lm_head.decode_flops

    # What a token costs grows evenly with its place: the first and the last give the mean. (No windows here.)
    return length * (of_token(1) + of_token(length)) // 2 + cost(config, context=1).lm_head.decode_flops


def our_pass(model: Transformer | Decoder, ids: Tensor, every: bool = False) -> Tensor:
    """The logits of the last token, or of all, with the keys and values kept."""
    cache = model.new_cache(1, ids.shape[1])
    with torch.inference_mode():
        hidden = model.hidden_states(ids, sequential_positions(ids), cache)
        return model.logits(hidden if every else hidden[:, -1:])


def peer_pass(model: Any, ids: Tensor, every: bool = False) -> Tensor:
    """The same by the peer library."""
    with torch.inference_mode():
        return model(ids, use_cache=True, logits_to_keep=0 if every else 1).logits


def measure(
    shape: str, dtype: torch.dtype, folder: Path, device: str, settings: Settings
) -> list[dict[str, Any]]:
    """A row for each length and way."""
    model, rows = ours(folder, device, dtype), []
    decoder = prepare(model, backend=None)  # a prompt is not what it compiles
    passes: dict[str, Callable[[Tensor], Tensor]] = {}
    if peer_library() is not None:
        peer = peers(folder, device, dtype)
        passes["transformers, all logits"] = lambda ids: peer_pass(peer, ids, every=True)
        passes["transformers"] = lambda ids: peer_pass(peer, ids)
        if settings.compiled:
            quick = torch.compile(peer)
            passes["transformers, compiled"] = lambda ids: peer_pass(quick, ids)
    passes["all logits"] = lambda ids: our_pass(model, ids, every=True)
    passes["last logits"] = lambda ids: our_pass(model, ids)
    passes["prepared"] = lambda ids: our_pass(decoder, ids)
    for length in settings.lengths:
        if length > model.config.context_length:
            continue
        ids = torch.tensor([prompt(shape, length)], device=device)
        last = {name: run(ids)[0, -1].float() for name, run in passes.items()}
        machine = Machine(device, (dtype,), settings.small)
        calls = {name: lambda run=run, ids=ids: run(ids) for name, run in passes.items()}
        times = in_turns({"machine": machine.measure, **calls}, settings.rounds, device)
        flops = needed_flops(model.config, length)
        for name in passes:
            seconds = median(times[name])
            rows.append(
                {
                    "model": shape,
                    "dtype": name_of(dtype),
                    "length": length,
                    "way": name,
                    "milliseconds": round(1000 * seconds, 3),
                    "tokens_per_second": round(length / seconds, 1),
                    "flops": flops,
                    "mfu": round(flops / seconds / machine.flops(dtype), 3),
                    "same_id": int(last[name].argmax()) == int(last["all logits"].argmax()),
                    "difference": round(float((last[name] - last["all logits"]).abs().max()), 6),
                }
            )
            row = rows[-1]
            click.echo(
                f"{shape:18}{row['dtype']:10}{length:6} {name:26}{row['milliseconds']:10.1f} ms"
                f"{row['mfu']:7.0%} MFU"
            )
    return rows


def run(device: str, settings: Settings) -> dict[str, Any]:
    """Measure everything; the result as it is written."""
    result, rows = about("prefill", device), list[dict[str, Any]]()
    for shape in settings.shapes:
        made_in = torch.bfloat16 if "8B" in shape else torch.float32
        with checkpoint(shape, device, made_in) as folder:
            for dtype in settings.dtypes:
                rows += measure(shape, dtype, folder, device, settings)
    return result | {"rounds": settings.rounds, "rows": rows}


@click.command(help=__doc__)
@options
@click.option("--shape", multiple=True, type=click.Choice(list(SHAPES)), help="Measure these models only.")
def main(out: Path | None, device: str | None, save: bool, shape: tuple[str, ...]) -> None:
    """Measure, print, and write the file."""
    device = device or find_device()
    settings = SETTINGS[device]
    settings = Settings(shape or settings.shapes, settings.dtypes, settings.lengths)
    write(run(device, settings), place("prefill", device, out, save))


if __name__ == "__main__":
    main()
