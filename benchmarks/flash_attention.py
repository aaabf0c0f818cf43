"""Attention several ways (naive, tiled, PyTorch's fused call, Triton): time and memory against the length.

Run it alone on the machine: python benchmarks/flash_attention.py --out FILE.json
It measures the GPU where there is one, else the CPU. The site shows benchmarks/results/flash-attention*.json.

All ways take the same queries, keys, values and the same causal mask; "fused, told causal" is PyTorch's call
without a mask, told that attention is causal, which lets it use its FlashAttention. The tiled way and the
Triton kernels, which run where there is a GPU, get the mask not yet written out. A round runs all of them in
turn, and the fastest round counts. Memory is what a call holds at most beside its input.
"""

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llmref.attention import attend, causal
from llmref.attention.memory import PeakMemory

ROUNDS = 5
BATCH, HEADS, HEAD_DIM = 1, 8, 64
LENGTHS = {"cpu": (512, 1024, 2048, 4096), "cuda": (512, 1024, 2048, 4096, 8192, 16384)}
DTYPES = {"cpu": torch.float32, "cuda": torch.bfloat16}
Run = Callable[[], Tensor]


def ways(length: int, device: str) -> dict[str, Run]:
    """What is compared at one length."""
    query, key, value = torch.randn(
        3, BATCH, HEADS, length, HEAD_DIM, device=device, dtype=DTYPES[device]
    ).unbind()
    positions = torch.arange(length, device=device)[None]
    mask = causal().at(positions, positions)
    runs: dict[str, Run] = {
        "naive": partial(attend, query, key, value, mask.dense(), "naive"),
        "tiled": partial(attend, query, key, value, mask, "tiled"),
        "fused": partial(attend, query, key, value, mask.dense(), "sdpa"),
        "fused, told causal": partial(scaled_dot_product_attention, query, key, value, is_causal=True),
    }
    if device == "cuda":
        runs["triton"] = partial(attend, query, key, value, mask, "triton")
    return runs


def seconds(run: Run, device: str) -> float:
    """The time of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


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


def measure(length: int, device: str) -> list[dict[str, Any]]:
    """One row for each way; a way that runs out of memory has none."""
    runs, rows = ways(length, device), []
    peaks = {}
    for name, run in list(runs.items()):
        try:
            peaks[name] = peak_bytes(run, device)  # warms up as well
        except torch.cuda.OutOfMemoryError:
            del runs[name]
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(seconds(run, device))
    for name in runs:
        milliseconds = round(1000 * min(times[name]), 3)
        rows.append({"length": length, "way": name, "milliseconds": milliseconds, "peak_bytes": peaks[name]})
    return rows


def chip(device: str) -> str:
    """The name of what was measured."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="A JSON file for the figures.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="By default the GPU, where there is one.")
def main(out: Path | None, device: str | None) -> None:
    """Measure, print, and write the file."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    load = round(os.getloadavg()[0], 1)  # of other work, which the times are to be read with
    torch.manual_seed(0)
    rows = []
    with torch.inference_mode():
        for length in LENGTHS[device]:
            for row in measure(length, device):
                rows.append(row)
                click.echo(
                    f"{row['length']:6} {row['way']:20}{row['milliseconds']:10.2f} ms"
                    f"{row['peak_bytes'] / 2**20:10.1f} MiB"
                )
    for way in ("naive", "tiled"):
        peaks = [row["peak_bytes"] for row in rows if row["way"] == way]
        growth = ", ".join(f"{after / before:.2f}" for before, after in pairwise(peaks))
        click.echo(f"memory of the {way} way, for twice the length: times {growth}")
    result = {
        "benchmark": "flash-attention",
        "command": "python benchmarks/flash_attention.py",
        "date": date.today().isoformat(),
        "device": device,
        "chip": chip(device),
        "threads": torch.get_num_threads() if device == "cpu" else None,
        "cores": os.cpu_count(),
        "load": load,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device == "cuda" else None,
        "python": platform.python_version(),
        "dtype": str(DTYPES[device]).removeprefix("torch."),
        "batch": BATCH,
        "heads": HEADS,
        "head_dim": HEAD_DIM,
        "mask": repr(causal()),
        "rounds": ROUNDS,
        "rows": rows,
    }
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
