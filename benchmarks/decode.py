"""Decoding one text, step by step up the ladder: what each step of making it fast gains.

Run it alone on the machine: python benchmarks/decode.py --save
It measures the GPU where there is one, else the CPU. The site shows benchmarks/results/decode*.json.

Every way continues the same random ids with the same random weights, greedily. A time is that of a long text
minus that of a text of one token, shared among the tokens between, so the prompt's own pass is left out. A
round runs all ways in turn; medians count. "Bytes" is what one step has to read: the weights that it
multiplies by, and the cache (`llmref.cost`). Their share of the bandwidth that was measured in the same
rounds is the MBU. The peer is the transformers library; where it is not installed, its rows are missing.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import gpt_fast
import torch
from harness import Machine, about, find_device, in_turns, name_of, options, place, write
from shapes import SHAPES, checkpoint, ours, peer_library, peers, prompt

from llmref.cache import Cache, GrowingCache, StaticCache
from llmref.cost import cost
from llmref.decoding import strategy
from llmref.fast import Decoder, join_projections, prepare
from llmref.generation import PromptLookup, SpeculationReport, generate_ids, generate_naive, speculate
from llmref.model import Transformer
from llmref.quantization import quantization_of, quantize

Write = Callable[[int], list[int]]
"""So many new ids."""
PEER, COMPILED = "transformers", "compiled step"
GREEDY = strategy(temperature=0)


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        shapes: The models, by their names in `SHAPES`.
        dtypes: The dtypes of the weights, each with ways of its own.
        prompt: How many tokens the prompt has.
        new: How many are written.
        rounds: How often all ways have their turn.
        compiled: Whether ways that compile take part; that takes a minute each.
        large: Whether the model is so large that copies of it must be few.
        small: Sizes for a test.
        gpt_fast: A folder with the gpt-fast project, or `None`.
    """

    shapes: tuple[str, ...] = ("GPT-2 124M", "Llama-style 134M")
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)
    prompt: int = 64
    new: int = 64
    rounds: int = 5
    compiled: bool = True
    large: bool = False
    small: bool = False
    gpt_fast: Path | None = None


@dataclass
class Way:
    """One way to write.

    Attributes:
        write: Writes so many new ids.
        n_bytes: What a step reads.
        exact: Whether the ids must be those of the plain model of that dtype, but for rounding.
        tokens: How many ids it writes in a round.
        warm_up: The seconds that it takes to prepare, and of its first run.
        report: What a draft came to, where there is one.
    """

    write: Write
    n_bytes: int
    exact: bool = True
    tokens: int = 0
    warm_up: float = 0.0
    report: SpeculationReport | None = None
    ids: list[int] = field(default_factory=list)


def our_ways(model: Transformer, ids: list[int], settings: Settings) -> Iterator[tuple[str, Way]]:
    """The ladder, each step on top of the one before it."""
    length = settings.prompt + settings.new
    n_bytes = read_in_a_step(model, length)
    if not settings.large:
        yield "no cache", Way(lambda n: naive(model, ids, n), n_bytes, tokens=max(2, settings.new // 4))
    yield "growing cache", Way(lambda n: cached(model, ids, n, GrowingCache()), n_bytes)
    yield "static cache", Way(lambda n: cached(model, ids, n, static(model, length)), n_bytes)
    if not settings.large:  # its copy of the weights would be one too many
        joined = deepcopy(model, {id(tensor): tensor for tensor in model.parameters()})
        join_projections(joined)
        yield "joined projections", Way(lambda n: cached(joined, ids, n, static(model, length)), n_bytes)
    if settings.compiled:
        start = time.perf_counter()
        decoder = prepare(model)
        prepared = time.perf_counter() - start
        write = lambda n: cached(decoder, ids, n, decoder.new_cache(1, length))  # noqa: E731
        yield COMPILED, Way(write, n_bytes, warm_up=prepared)
        report = SpeculationReport()
        yield (
            "prompt look-up",
            Way(lambda n: looked_up(decoder, ids, n, length, report), n_bytes, report=report),
        )


def quantized_ways(
    folder: Path, device: str, dtype: torch.dtype, ids: list[int], settings: Settings
) -> Iterator[tuple[str, Way]]:
    """The compiled step with weights of fewer bits: near the model, and not the same."""
    length = settings.prompt + settings.new
    for kind in ("int8", "int4"):
        model = ours(folder, device, dtype)
        quantize(model, kind)
        decoder = prepare(model, backend="inductor" if settings.compiled else None, pack=False)
        n_bytes = read_in_a_step(model, length)
        yield (
            kind,
            Way(
                lambda n, decoder=decoder: cached(decoder, ids, n, decoder.new_cache(1, length)),
                n_bytes,
                exact=False,
            ),
        )


def read_in_a_step(model: Transformer, context: int) -> int:
    """The bytes of the weights that a step multiplies by, and of the cache at the end of the text."""
    number = model.embedding.weight.element_size()
    quantization = quantization_of(model)
    return cost(
        model.config, context=context, bytes_per_number=number, quantization=quantization
    ).decode_bytes


def naive(model: Transformer, ids: list[int], new: int) -> list[int]:
    with torch.inference_mode():
        return generate_naive(model, ids, new)


def cached(model: Transformer | Decoder, ids: list[int], new: int, cache: Cache) -> list[int]:
    return list(generate_ids(model, ids, GREEDY, new, cache=cache))


def looked_up(
    decoder: Decoder, ids: list[int], new: int, length: int, report: SpeculationReport
) -> list[int]:
    report.passes = report.new_tokens = 0
    cache = decoder.new_cache(1, length)
    return list(speculate(decoder, ids, GREEDY, new, draft=PromptLookup(), cache=cache, report=report))


def static(model: Transformer, length: int) -> StaticCache:
    return StaticCache(model.config, length, device=model.device, dtype=model.embedding.weight.dtype)


def peer_ways(model: Any, ids: list[int], n_bytes: int, settings: Settings) -> Iterator[tuple[str, Way]]:
    """The peer library's default, and the fastest way that it offers by an argument."""
    yield PEER, Way(lambda n: peer_write(model, ids, n), n_bytes)
    if settings.compiled:
        from transformers import CompileConfig

        compiling = CompileConfig()
        compiling._compile_all_devices = True  # it would leave a CPU out
        fast = {"cache_implementation": "static", "compile_config": compiling}
        yield f"{PEER}, static cache, compiled", Way(lambda n: peer_write(model, ids, n, **fast), n_bytes)


def peer_write(model: Any, ids: list[int], new: int, **how: Any) -> list[int]:
    given = torch.tensor([ids], device=model.device)
    with torch.inference_mode():
        out = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
            **how,
        )
    return out[0, len(ids) :].tolist()


def measure(
    shape: str, dtype: torch.dtype, folder: Path, device: str, settings: Settings
) -> list[dict[str, Any]]:
    """One row for each way of one model in one dtype; the quantized ones are measured by themselves."""
    ids = prompt(shape, settings.prompt)
    model = ours(folder, device, dtype)
    n_bytes = read_in_a_step(model, settings.prompt + settings.new)
    peer = None
    if peer_library() is None:
        click.echo("the transformers library is not installed: its rows are missing")
    else:
        peer = peers(folder, device, dtype)
    ways = {} if peer is None else dict(peer_ways(peer, ids, n_bytes, settings))
    ways |= dict(our_ways(model, ids, settings))
    if settings.gpt_fast is not None and SHAPES[shape]["model_type"] == "llama":
        length = settings.prompt + settings.new
        write = gpt_fast.load(settings.gpt_fast, folder, device, dtype, length, settings.compiled)
        ways["gpt-fast"] = Way(lambda n: write(ids, n), n_bytes)
    rows, reference = timed(ways, shape, dtype, device, settings, None)
    del model, ways
    ways = {} if peer is None else {PEER: Way(lambda n: peer_write(peer, ids, n), n_bytes)}
    ways |= dict(quantized_ways(folder, device, dtype, ids, settings))
    others, _ = timed(ways, shape, dtype, device, settings, reference)
    return rows + [row | {"group": "quantized"} for row in others]


def timed(
    ways: dict[str, Way],
    shape: str,
    dtype: torch.dtype,
    device: str,
    settings: Settings,
    reference: list[int] | None,
) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows of ways that have their turns together, and the ids of the plain model."""
    for name, way in ways.items():
        way.tokens = way.tokens or settings.new
        start = time.perf_counter()
        way.ids = way.write(way.tokens)
        way.warm_up += time.perf_counter() - start
        way.write(1)
        click.echo(f"  warm: {name} ({way.warm_up:.1f} s)")
    machine = Machine(device, (dtype,), settings.small)
    calls: dict[str, Callable[[], object]] = {"machine": machine.measure}
    for name, way in ways.items():
        calls[f"{name}, one"] = lambda way=way: way.write(1)
        calls[name] = lambda way=way: way.write(way.tokens)
    times = in_turns(calls, settings.rounds, device)
    reference = ways["growing cache"].ids if reference is None else reference
    rows = []
    for name, way in ways.items():
        pairs = zip(times[name], times[f"{name}, one"], strict=True)
        per_token = statistics.median(whole - one for whole, one in pairs) / (way.tokens - 1)
        rows.append(
            {
                "model": shape,
                "dtype": name_of(dtype),
                "way": name,
                "milliseconds": round(1000 * per_token, 3),
                "tokens_per_second": round(1 / per_token, 2),
                "n_bytes": way.n_bytes,
                "bandwidth": round(machine.bandwidth),
                "mbu": round(way.n_bytes / per_token / machine.bandwidth, 3),
                "same_ids": same(way.ids, reference),
                "tokens": way.tokens,
                "exact": way.exact,
                "group": "exact",
                "tokens_per_pass": None if way.report is None else round(way.report.tokens_per_pass, 2),
                "warm_up_seconds": round(way.warm_up, 1),
            }
        )
    return rows, reference


def same(ids: list[int], reference: list[int]) -> int:
    """How many ids are equal until the first that is not."""
    pairs = zip(ids, reference, strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(ids), len(reference)))


def run(device: str, settings: Settings) -> dict[str, Any]:
    """Measure everything; the result as it is written."""
    result, rows = about("decode", device), []
    for shape in settings.shapes:
        large = "8B" in shape
        dtypes = (torch.bfloat16,) if large else settings.dtypes
        with checkpoint(shape, device, dtypes[0]) as folder:
            for dtype in dtypes:
                click.echo(f"{shape}, {name_of(dtype)}")
                found = measure(shape, dtype, folder, device, replace(settings, large=large))
                rows += found
                for group in ("exact", "quantized"):
                    show([row for row in found if row["group"] == group])
    return result | {
        "prompt": settings.prompt,
        "new": settings.new,
        "rounds": settings.rounds,
        "rows": rows,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table, beside the peer's default where it is among them."""
    peer = next((row["milliseconds"] for row in rows if row["way"] == PEER), None)
    for row in rows:
        against = "" if peer is None else f"{peer / row['milliseconds']:7.2f} x"
        click.echo(
            f"  {row['way']:36}{row['milliseconds']:10.2f} ms{row['tokens_per_second']:9.1f} tok/s{against}"
            f"{row['mbu']:8.0%} MBU   same ids: {row['same_ids']} of {row['tokens']}"
        )


@click.command(help=__doc__)
@options
@click.option(
    "--gpt-fast", type=click.Path(path_type=Path, exists=True), help="A folder with gpt-fast's model.py."
)
@click.option("--shape", multiple=True, type=click.Choice(list(SHAPES)), help="Measure these models only.")
@click.option("--rounds", default=Settings.rounds, show_default=True)
@click.option("--no-compile", is_flag=True, help="Leave out what compiles.")
def main(
    out: Path | None,
    device: str | None,
    save: bool,
    gpt_fast: Path | None,
    shape: tuple[str, ...],
    rounds: int,
    no_compile: bool,
) -> None:
    """Measure, print, and write the file."""
    device = device or find_device()
    shapes = shape or (Settings.shapes if device == "cpu" else (*Settings.shapes, "Llama-style 8B"))
    settings = Settings(shapes, rounds=rounds, compiled=not no_compile, gpt_fast=gpt_fast)
    write(run(device, settings), place("decode", device, out, save))


if __name__ == "__main__":
    main()
