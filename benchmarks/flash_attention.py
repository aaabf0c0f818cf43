"""Attention several ways (naive, tiled, PyTorch's fused calls, Triton): time and memory against the length.

Run it alone on the machine: python benchmarks/flash_attention.py --save
It measures the GPU where there is one, else the CPU. The site shows benchmarks/results/flash-attention*.json.

All ways take the same queries, keys, values and the same causal mask; "fused, told causal" is PyTorch's call
without a mask, told that attention is causal, which lets it use its FlashAttention. The tiled way and the
Triton kernels, which run where there is a GPU, get the mask not yet written out. On a GPU each of PyTorch's
backends has a row, and the backward pass is timed too: it goes back from the same gradient of the output. A
round runs all of them in turn, and the fastest round counts. Memory is what a call holds at most beside its
input. The share of the matrix-product rate, measured in the same run, counts only the pairs that the mask
leaves: 4 x head_dim FLOPs each forward, 10 x head_dim backward.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import torch
from harness import Machine, about, find_device, in_turns, name_of, options, place, wait, write
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from llmref.attention import attend, causal
from llmref.attention.memory import PeakMemory

BATCH, HEADS, HEAD_DIM = 1, 8, 64
DTYPES = {"cpu": torch.float32, "cuda": torch.bfloat16}
GPU_BACKENDS = {
    "PyTorch, FlashAttention": SDPBackend.FLASH_ATTENTION,
    "PyTorch, cuDNN": SDPBackend.CUDNN_ATTENTION,
    "PyTorch, memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
}
FLOPS_PER_PAIR = {"forward": 4 * HEAD_DIM, "backward": 10 * HEAD_DIM}
Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    lengths: tuple[int, ...]
    rounds: int = 5
    small: bool = False


SETTINGS = {
    "cpu": Settings((512, 1024, 2048, 4096)),
    "cuda": Settings((512, 1024, 2048, 4096, 8192, 16384, 32768)),
}


def inputs(length: int, device: str) -> list[Tensor]:
    """Queries, keys and values."""
    shape = (BATCH, HEADS, length, HEAD_DIM)
    return [torch.randn(shape, device=device, dtype=DTYPES[device]) for _ in range(3)]


def ways(query: Tensor, key: Tensor, value: Tensor, device: str) -> dict[str, Run]:
    """What is compared at one length."""
    positions = torch.arange(query.shape[2], device=device)[None]
    mask = causal().at(positions, positions)
    runs: dict[str, Run] = {
        "naive": lambda: attend(query, key, value, mask.dense(), "naive"),
        "tiled": lambda: attend(query, key, value, mask, "tiled"),
        "fused": lambda: attend(query, key, value, mask.dense(), "sdpa"),
        "fused, told causal": lambda: scaled_dot_product_attention(query, key, value, is_causal=True),
    }
    if device == "cuda":
        runs["triton"] = lambda: attend(query, key, value, mask, "triton")
        for name, backend in GPU_BACKENDS.items():
            runs[name] = partial(by_backend, backend, query, key, value)
    return runs


def by_backend(backend: SDPBackend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """PyTorch's call, by one of its backends."""
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(query, key, value, is_causal=True)


def backward(output: Tensor, given: list[Tensor], gradient: Tensor) -> Tensor:
    """The gradients of queries, keys and values; what the forward pass kept is kept on."""
    return torch.autograd.grad(output, given, gradient, retain_graph=True)[0]


def backward_ways(runs: dict[str, Run], given: list[Tensor], device: str) -> dict[str, Run]:
    """The way back of each that has one; the forward passes run here."""
    gradient, back = torch.randn_like(given[0]), dict[str, Run]()
    for name, run in runs.items():
        with suppress(RuntimeError):  # out of memory, or a backend that the GPU has not
            output = run()
            if output.requires_grad:
                back[name] = partial(backward, output, given, gradient)
    wait(device)
    return back


def peak_bytes(run: Run, device: str) -> int:
    """The most bytes that one call holds beside its input."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with PeakMemory() as memory:
        run()
    return memory.peak


def timed(
    runs: dict[str, Run], length: int, direction: str, device: str, settings: Settings
) -> list[dict[str, Any]]:
    """One row for each way; one that runs out of memory, or that the GPU has not, has none."""
    peaks = {}
    for name, run in runs.items():
        try:
            peaks[name] = peak_bytes(run, device)  # warms up as well
        except RuntimeError as error:
            click.echo(f"{length:6} {name}: not run ({str(error).splitlines()[0][:60]})")
    machine = Machine(device, (DTYPES[device],), settings.small)
    calls = {"machine": machine.measure, **{name: runs[name] for name in peaks}}
    times = in_turns(calls, settings.rounds, device)
    flops = FLOPS_PER_PAIR[direction] * BATCH * HEADS * length * (length + 1) // 2
    return [
        {
            "length": length,
            "direction": direction,
            "way": name,
            "milliseconds": round(1000 * min(times[name]), 3),
            "peak_bytes": peak,
            "mfu": round(flops / min(times[name]) / machine.flops(DTYPES[device]), 3),
        }
        for name, peak in peaks.items()
    ]


def measure(length: int, device: str, settings: Settings) -> list[dict[str, Any]]:
    """The rows of one length; backward on a GPU only."""
    given = inputs(length, device)
    with torch.inference_mode():
        rows = timed(ways(*given, device), length, "forward", device, settings)
    if device == "cuda":
        leaves = [tensor.requires_grad_() for tensor in inputs(length, device)]
        back = backward_ways(ways(*leaves, device), leaves, device)
        rows += timed(back, length, "backward", device, settings)
    return rows


def run(device: str, settings: Settings) -> dict[str, Any]:
    """Measure everything; the result as it is written."""
    result, rows = about("flash-attention", device), list[dict[str, Any]]()
    torch.manual_seed(0)
    for length in settings.lengths:
        for row in measure(length, device, settings):
            rows.append(row)
            click.echo(
                f"{row['length']:6} {row['direction']:9}{row['way']:28}{row['milliseconds']:10.2f} ms"
                f"{row['peak_bytes'] / 2**20:10.1f} MiB{row['mfu']:8.0%} MFU"
            )
    return result | {
        "dtype": name_of(DTYPES[device]),
        "batch": BATCH,
        "heads": HEADS,
        "head_dim": HEAD_DIM,
        "mask": repr(causal()),
        "rounds": settings.rounds,
        "rows": rows,
    }


@click.command(help=__doc__)
@options
def main(out: Path | None, device: str | None, save: bool) -> None:
    """Measure, print, and write the file."""
    device = device or find_device()
    result = run(device, SETTINGS[device])
    for way in ("naive", "tiled"):
        peaks = [
            row["peak_bytes"] for row in result["rows"] if (row["way"], row["direction"]) == (way, "forward")
        ]
        growth = ", ".join(f"{after / before:.2f}" for before, after in pairwise(peaks))
        click.echo(f"memory of the {way} way, for twice the length: times {growth}")
    write(result, place("flash-attention", device, out, save))


if __name__ == "__main__":
    main()
