"""Train every twin with every seed: `python -m llmref.twins.make`. A run that was interrupted goes on."""

import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import click
import torch
from tqdm import tqdm

from llmref.corpus import Probe, World
from llmref.model import Transformer
from llmref.tiny import load_tiny
from llmref.tiny.measure import HELD_OUT_SEED, accuracy
from llmref.training import next_token_loss, pack, train
from llmref.twins import FILE, TwinResult
from llmref.twins.recipe import (
    CONTEXT_LENGTH,
    HELD_OUT_DOCUMENTS,
    QUESTIONS,
    SEEDS,
    TRAINING,
    TWINS,
    ShortDocuments,
    fits,
    recipe_hash,
)

CURVE_STEPS = 25


def measure(twin: str, seed: int, model: Transformer, losses: list[float]) -> TwinResult:
    """Every figure of one trained twin; both languages together."""
    _, tokenizer = load_tiny()
    world = World()
    texts = ShortDocuments(HELD_OUT_SEED)(0, HELD_OUT_DOCUMENTS)
    batch = pack([tokenizer.encode(text) for text in texts], CONTEXT_LENGTH, bos_id=0, eos_id=0)
    with torch.inference_mode():
        loss = float(next_token_loss(model, batch))

    def right(probes: list[Probe]) -> float:
        short = [probe for probe in probes if fits(tokenizer, probe.prefix + probe.right)]
        return accuracy(model, tokenizer, short[:QUESTIONS])["right_percent"]

    def references(held_out: bool) -> float:
        found = [
            right(world.reference_probes(language, held_out=held_out, count=4 * QUESTIONS))
            for language in world.languages
        ]
        return mean(found)

    return TwinResult(
        twin=twin,
        seed=seed,
        parameters=model.n_parameters,
        loss=loss,
        facts=mean(right(world.fact_probes(language)) for language in world.languages),
        references=references(held_out=False),
        references_held_out=references(held_out=True),
        curve=tuple(
            mean(losses[start : start + CURVE_STEPS]) for start in range(0, len(losses), CURVE_STEPS)
        ),
    )


def make(twin: str, seed: int, run: Path) -> TwinResult:
    """Train and measure one twin, or read what an earlier run of the same recipe found."""
    torch.set_num_threads(1)  # twins train side by side, a core each; and one thread adds in one order
    file = run / f"{twin}-{seed}" / "result.json"
    if file.exists():
        kept = json.loads(file.read_text("utf-8"))
        if kept["recipe"] == recipe_hash():
            return TwinResult(**(kept["result"] | {"curve": tuple(kept["result"]["curve"])}))
    _, tokenizer = load_tiny()
    torch.manual_seed(seed)
    model = Transformer(TWINS[twin])
    losses = train(model, tokenizer, ShortDocuments(seed), TRAINING, file.parent, progress=False)
    result = measure(twin, seed, model, losses)
    _write(file, {"result": asdict(result)})
    return result


def _write(file: Path, found: dict[str, Any], indent: int | None = None) -> None:
    """What was found, with the recipe it belongs to: the whole file or none."""
    writing = file.with_suffix(".writing")
    writing.write_text(json.dumps({"recipe": recipe_hash(), **found}, indent=indent) + "\n", "utf-8")
    writing.rename(file)


@click.command()
@click.option("--run", default="build/twins", type=click.Path(path_type=Path), help="Where checkpoints go.")
@click.option("--out", default=FILE, type=click.Path(path_type=Path), help="Where the results go.")
@click.option("--workers", default=2, type=click.IntRange(min=1), help="How many train side by side.")
def main(run: Path, out: Path, workers: int) -> None:
    """Train every twin with every seed, measure them, and write the results."""
    todo = [(twin, seed) for seed in SEEDS for twin in TWINS]
    print(f"{len(TWINS)} twins with {len(SEEDS)} seeds, {TRAINING.steps:,} steps each …", file=sys.stderr)
    found: dict[tuple[str, int], TwinResult] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(make, twin, seed, run): (twin, seed) for twin, seed in todo}
        for job in tqdm(as_completed(jobs), total=len(jobs), unit="twin"):
            result = found[jobs[job]] = job.result()
            tqdm.write(f"{result.twin}, seed {result.seed}: loss {result.loss:.4f}", file=sys.stderr)
    results = [asdict(found[twin, seed]) for twin in TWINS for seed in SEEDS]
    _write(out, {"torch": torch.__version__, "results": results}, indent=1)


if __name__ == "__main__":
    main()
