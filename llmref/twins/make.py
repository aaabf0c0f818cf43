"""Train the twins whose results are missing, or of another recipe: `python -m llmref.twins.make`.

A run that was interrupted goes on. To train all of them again, remove `llmref/twins/results.json`.
"""

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

from llmref.checkpoint import save
from llmref.corpus import Probe
from llmref.model import Transformer
from llmref.tiny import load_tiny
from llmref.tiny.measure import HELD_OUT_SEED, accuracy
from llmref.training import Batch, next_token_loss, pack, train
from llmref.training.loss import routing
from llmref.twins import FILE, TwinResult
from llmref.twins.recipe import (
    CONTEXT_LENGTH,
    HELD_OUT_DOCUMENTS,
    KEPT,
    QUESTIONS,
    SEEDS,
    TWINS,
    ShortDocuments,
    fits,
    recipe_hash,
    training,
    world,
)

CURVE_STEPS = 25


def measure(twin: str, seed: int, model: Transformer, losses: list[float]) -> TwinResult:
    """Every figure of one trained twin; both languages together, but for the shares of the experts."""
    _, tokenizer = load_tiny()
    texts = ShortDocuments(HELD_OUT_SEED)(0, HELD_OUT_DOCUMENTS)

    def packed(texts: list[str]) -> Batch:
        return pack([tokenizer.encode(text) for text in texts], CONTEXT_LENGTH, bos_id=0, eos_id=0)

    with torch.inference_mode():
        loss = float(next_token_loss(model, packed(texts)))
    korean = [text for text in texts if is_korean(text)]
    english = [text for text in texts if not is_korean(text)]
    shares = {"ko": expert_shares(model, packed(korean)), "en": expert_shares(model, packed(english))}

    def right(probes: list[Probe]) -> float:
        short = [probe for probe in probes if fits(tokenizer, probe.prefix + probe.right)]
        return accuracy(model, tokenizer, short[:QUESTIONS])["right_percent"]

    def references(held_out: bool) -> float:
        found = [
            right(world().reference_probes(language, held_out=held_out, count=4 * QUESTIONS))
            for language in world().languages
        ]
        return mean(found)

    return TwinResult(
        twin=twin,
        seed=seed,
        parameters=model.n_parameters,
        loss=loss,
        facts=mean(right(world().fact_probes(language)) for language in world().languages),
        references=references(held_out=False),
        references_held_out=references(held_out=True),
        curve=tuple(
            mean(losses[start : start + CURVE_STEPS]) for start in range(0, len(losses), CURVE_STEPS)
        ),
        expert_shares={language: blocks for language, blocks in shares.items() if blocks},
    )


def is_korean(text: str) -> bool:
    """Whether a document is written in Hangul.

    >>> is_korean("강아지가 잤다."), is_korean("The dog slept.")
    (True, False)
    """
    return any("가" <= character <= "힣" for character in text)


def expert_shares(model: Transformer, batch: Batch) -> tuple[tuple[float, ...], ...]:
    """For each block with a mixture, each expert's share of all the choices that the tokens made."""
    with torch.inference_mode(), routing(model) as (scores, choices):
        next_token_loss(model, batch)
    real = batch.positions >= 0
    return tuple(
        tuple((chosen[real].flatten().bincount(minlength=one.shape[-1]) / chosen[real].numel()).tolist())
        for one, chosen in zip(scores, choices, strict=True)
    )


def make(twin: str, seed: int, run: Path, folder: Path) -> TwinResult:
    """Train and measure one twin, or go on with a run of the same recipe; keep its weights where they are."""
    torch.set_num_threads(1)  # twins train side by side, a core each; and one thread adds in one order
    _, tokenizer = load_tiny()
    torch.manual_seed(seed)
    model = Transformer(TWINS[twin])
    checkpoints = run / f"{twin}-{seed}-{recipe_hash(twin)[:8]}"
    losses = train(model, tokenizer, ShortDocuments(seed), training(twin), checkpoints, progress=False)
    if KEPT.get(twin) == seed:
        save(model, None, folder / twin, dtype=torch.float16)
    return measure(twin, seed, model, losses)


def current(out: Path) -> dict[str, dict[str, Any]]:
    """What a file of results holds for each twin, if it was made by the recipe that there is now."""
    if not out.exists():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(out.read_text("utf-8"))
    return {
        twin: entry for twin, entry in found.items() if twin in TWINS and entry["recipe"] == recipe_hash(twin)
    }


def missing(twin: str, seed: int, found: dict[str, dict[str, Any]], folder: Path) -> bool:
    """Whether one training has no result yet, or its weights are to be kept and are not there."""
    results = found[twin]["results"] if twin in found else []
    kept = KEPT.get(twin) != seed or (folder / twin / "model.safetensors").exists()
    return not kept or all(result["seed"] != seed for result in results)


def add(found: dict[str, dict[str, Any]], result: TwinResult) -> None:
    """Put a result in its place: by twin, then by seed."""
    entry = found.setdefault(result.twin, {"recipe": recipe_hash(result.twin), "results": []})
    others = [other for other in entry["results"] if other["seed"] != result.seed]
    entry["torch"] = torch.__version__
    entry["results"] = sorted([*others, asdict(result)], key=lambda values: values["seed"])


def write(out: Path, found: dict[str, dict[str, Any]]) -> None:
    """The results in the order of the twins: the whole file or none."""
    writing = out.with_suffix(".writing")
    ordered = {twin: found[twin] for twin in TWINS if twin in found}
    writing.write_text(json.dumps(ordered, indent=1) + "\n", "utf-8")
    writing.rename(out)


@click.command()
@click.option("--run", default="build/twins", type=click.Path(path_type=Path), help="Where checkpoints go.")
@click.option("--out", default=FILE, type=click.Path(path_type=Path), help="Where the results go.")
@click.option("--workers", default=2, type=click.IntRange(min=1), help="How many train side by side.")
def main(run: Path, out: Path, workers: int) -> None:
    """Train every twin that has no result of its recipe, with every seed; measure; write the results."""
    found = current(out)
    todo = [(twin, seed) for seed in SEEDS for twin in TWINS if missing(twin, seed, found, out.parent)]
    print(f"{len(TWINS)} twins with {len(SEEDS)} seeds: {len(todo)} to train", file=sys.stderr)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(make, twin, seed, run, out.parent) for twin, seed in todo]
        for job in tqdm(as_completed(jobs), total=len(jobs), unit="twin"):
            result = job.result()
            add(found, result)
            write(out, found)
            tqdm.write(f"{result.twin}, seed {result.seed}: loss {result.loss:.4f}", file=sys.stderr)
    write(out, found)


if __name__ == "__main__":
    main()
