"""Loading a checkpoint: bytes read, peak memory, and time, beside the transformers library in one run.

Run it alone, on Linux: python benchmarks/loading.py --out FILE.json
It makes a Llama checkpoint of random bfloat16 numbers in a temporary folder, in several files. Each way loads
it in a process of its own, after the system's cache has dropped the files; then every weight is read once, so
so that what was only mapped counts too. Memory is the growth of the resident set at its peak, mapped files
included.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from llmref.checkpoint import load_model, outline, save
from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
WAYS = ("llmref", "transformers")
Load = Callable[[Path, torch.dtype], nn.Module]


def make(folder: Path, gigabytes: float) -> None:
    """A checkpoint of about that size, in at least three files."""
    block = BlockConfig(AttentionConfig(n_heads=16, n_kv_heads=4, head_dim=128), FeedForwardConfig(d_ff=5632))
    per_block = sum(parameter.numel() for parameter in outline(config_of((block,))).blocks.parameters())
    blocks = max(1, round((gigabytes * 1e9 / 2 - 2 * 32_000 * 2048) / per_block))
    model = outline(config_of((block,) * blocks)).to(torch.bfloat16).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.02, 0.02)
    size = sum(parameter.nbytes for parameter in model.parameters())
    save(model, None, folder, family="llama", max_shard_size=size // 3 + 2**20)


def config_of(blocks: tuple[BlockConfig, ...]) -> ModelConfig:
    """The model with these blocks."""
    return ModelConfig(32_000, 2048, 4096, blocks, tied_embeddings=False)


def loader(way: str) -> Load:
    """What loads a model; its library is imported, so that this is not measured."""
    if way == "llmref":
        return lambda folder, dtype: load_model(folder, dtype=dtype)
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401

    return lambda folder, dtype: AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def figures(file: str) -> dict[str, int]:
    """The numbers of a file in /proc/self, by name."""
    lines = (line.split() for line in Path("/proc/self", file).read_text(encoding="utf-8").splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}


def measure(way: str, dtype: str, folder: Path) -> dict[str, Any]:
    """One load, in this process."""
    load = loader(way)
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the resident set starts anew
    memory, read = figures("status")["VmRSS"], figures("io")
    start = time.perf_counter()
    model = load(folder, DTYPES[dtype])
    loaded = time.perf_counter()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.sum()
    seconds, all_read = loaded - start, time.perf_counter() - start
    size = sum(file.stat().st_size for file in files)
    in_memory = sum(parameter.nbytes for parameter in model.parameters())
    after = figures("io")
    from_disk, by_calls = (after[name] - read[name] for name in ("read_bytes", "rchar"))
    peak = 1024 * (figures("status")["VmHWM"] - memory)
    return {
        "way": way,
        "dtype": dtype,
        "bytes_on_disk": size,
        "bytes_in_memory": in_memory,
        "read_from_disk": from_disk,
        "read_by_calls": by_calls,
        "peak": peak,
        "read_over_size": round(max(from_disk, by_calls) / size, 3),
        "peak_over_size": round(peak / in_memory, 3),
        "seconds_to_load": round(seconds, 2),
        "seconds_until_all_was_read": round(all_read, 2),
    }


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="A JSON file for the figures.")
@click.option("--gigabytes", default=1.0, show_default=True, help="How large the checkpoint is.")
@click.option("--one", nargs=3, help="A way, a dtype and a folder: measure this alone, in this process.")
def main(out: Path | None, gigabytes: float, one: tuple[str, str, str] | None) -> None:
    """Make the checkpoint, measure each way in a process of its own, print, and write the file."""
    if one is not None:
        click.echo(json.dumps(measure(one[0], one[1], Path(one[2]))))
        return
    if not Path("/proc/self/clear_refs").exists():
        click.echo("only Linux tells what this benchmark has to know", err=True)
        return
    load = round(os.getloadavg()[0], 1)  # of other work, which the times are to be read with
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), gigabytes)
        os.sync()
        for dtype in DTYPES:
            for way in WAYS:
                command = [sys.executable, __file__, "--one", way, dtype, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                row = json.loads(done.stdout.splitlines()[-1])
                rows.append(row)
                click.echo(
                    f"{way:14}{dtype:10}{row['read_over_size']:8.3f} x the files read"
                    f"{row['peak_over_size']:8.3f} x the weights in memory{row['seconds_to_load']:8.2f} s"
                )
    result = {
        "benchmark": "loading",
        "command": "python benchmarks/loading.py",
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "load": load,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "rows": rows,
    }
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
