"""What the benchmarks share: the machine by its name, calls in turns, what the machine can do, the file.

A benchmark holds us and the peer to each other in one process: the same weights, the same tokens, in turns,
so that whatever else the machine does falls on all of them alike. Medians count. What the machine can do is
measured in the same rounds, so a share of it is a share of that day's, and not of a data sheet's.
"""

import gc
import importlib.metadata
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import click
import torch

RESULTS = Path(__file__).resolve().parent / "results"
READ_BYTES = {"cpu": 2**29, "cuda": 2**31}  # more than any processor caches
MATRIX = {"cpu": 2048, "cuda": 8192}
Call = Callable[[], object]


def find_device() -> str:
    """The GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def wait(device: str) -> None:
    """A GPU works on while Python goes ahead: nothing is timed before it has caught up."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(call: Call, device: str) -> float:
    """The time of one call."""
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - start


def in_turns(calls: Mapping[str, Call], rounds: int, device: str) -> dict[str, list[float]]:
    """The seconds of each call, round after round; a round runs all of them, one after the other."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        gc.collect()
        for name, call in calls.items():
            times[name].append(seconds(call, device))
    return times


class Machine:
    """How fast the machine reads and multiplies, measured whenever it is asked: the medians count.

    Args:
        device: `"cpu"` or `"cuda"`.
        dtypes: For which dtypes the matrix product is measured.
        small: Sizes for a test; the figures mean nothing then.
    """

    def __init__(self, device: str, dtypes: tuple[torch.dtype, ...], small: bool = False) -> None:
        self.device = device
        self.n_bytes = 2**16 if small else READ_BYTES[device]
        self.size = 64 if small else MATRIX[device]
        self.data = torch.ones(self.n_bytes // 4, device=device)
        self.matrices = {
            dtype: torch.ones(self.size, self.size, device=device, dtype=dtype) for dtype in dtypes
        }
        self.reads: list[float] = []
        self.products: dict[torch.dtype, list[float]] = {dtype: [] for dtype in dtypes}
        self.measure()
        self.reads.clear()  # the first ones warm up
        for times in self.products.values():
            times.clear()

    def measure(self) -> None:
        """One sum over much memory, and one matrix product of each dtype."""
        self.reads.append(seconds(self.data.sum, self.device))
        for dtype, matrix in self.matrices.items():
            self.products[dtype].append(seconds(lambda matrix=matrix: matrix @ matrix, self.device))

    @property
    def bandwidth(self) -> float:
        """Bytes read per second."""
        return self.n_bytes / statistics.median(self.reads)

    def flops(self, dtype: torch.dtype) -> float:
        """FLOPs per second of a large matrix product."""
        return 2 * self.size**3 / statistics.median(self.products[dtype])


def chip(device: str) -> str:
    """The name of what is measured."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """The version of an installed package, or `None`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def needs(package: str) -> None:
    """End here, and say so, where a package is not installed that a whole benchmark is about."""
    if version(package) is None:
        click.echo(f"not run: {package} is not installed")
        sys.exit()


def about(benchmark: str, device: str) -> dict[str, Any]:
    """What the figures are to be read with: the machine, its load, the versions, the date."""
    return {
        "benchmark": benchmark,
        "command": f"python benchmarks/{benchmark.replace('-', '_')}.py",
        "date": date.today().isoformat(),
        "device": device,
        "chip": chip(device),
        "threads": torch.get_num_threads() if device == "cpu" else None,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),  # of other work, before ours
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "cuda": torch.version.cuda if device == "cuda" else None,
        "python": platform.python_version(),
    }


def name_of(dtype: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def default_file(benchmark: str, device: str) -> Path:
    """Where a result belongs: named after the GPU, or `cpu`."""
    kind = "cpu" if device == "cpu" else re.sub(r"[^a-z0-9]+", "-", chip(device).lower()).strip("-")
    return RESULTS / f"{benchmark}-{kind}.json"


def write(result: Mapping[str, Any], out: Path | None) -> None:
    """Write a result, if there is a file for it."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        click.echo(f"written: {out.name}")


def options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all benchmarks have."""
    for option in (
        click.option("--out", type=click.Path(path_type=Path), help="A JSON file for the figures."),
        click.option(
            "--device", type=click.Choice(["cpu", "cuda"]), help="By default the GPU if there is one."
        ),
        click.option(
            "--save", is_flag=True, help="Write the figures to benchmarks/results/, named after the machine."
        ),
    ):
        command = option(command)
    return command


def place(benchmark: str, device: str, out: Path | None, save: bool) -> Path | None:
    """The file that the options ask for."""
    return default_file(benchmark, device) if save and out is None else out
