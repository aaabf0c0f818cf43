"""What longer texts and more of them cost: a token's time against the context, memory against the batch.

Run it alone on the machine: python benchmarks/context.py --save
It measures the GPU where there is one, else the CPU.

Nothing is read in: the caches are filled with random keys and values, for the time of a step does not depend
on what they are. Then each way writes a few tokens in its turn, greedily, and goes back to where it was.
Memory is what the tensors of the cache take, beside what `llmref.memory` says without making any.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from harness import Machine, about, find_device, in_turns, name_of, options, place, write
from shapes import checkpoint, ours, peer_library, peers, prompt
from torch import Tensor

from llmref.cache import GrowingCache, StaticCache
from llmref.cost import cost, memory
from llmref.fast import Decoder, prepare
from llmref.generation import generate_naive
from llmref.model import Transformer, sequential_positions


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    shape: str = "Llama-style 134M"
    dtype: torch.dtype = torch.float32
    contexts: tuple[int, ...] = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768)
    without_cache: int = 1024
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    memory_context: int = 1024
    new: int = 8
    rounds: int = 5
    compiled: bool = True
    small: bool = False


def filled(cache: Any, model: Transformer | Decoder, context: int, dtype: torch.dtype) -> Any:
    """One of our caches, with so many random keys and values in each block."""
    cache.extend(torch.arange(context, device=model.device)[None])
    for index, block in enumerate(model.config.blocks):
        heads, key_dim, value_dim = block.attention.cached
        key, value = (
            torch.randn(1, heads, context, dim, device=model.device, dtype=dtype)
            for dim in (key_dim, value_dim)
        )
        cache.update(index, key, value)
    return cache


def our_steps(model: Transformer | Decoder, cache: Any, context: int, new: int) -> Callable[[], object]:
    """A few tokens by one of our models; then the cache forgets them."""

    def steps() -> None:
        tokens = torch.ones(1, 1, dtype=torch.long, device=model.device)
        with torch.inference_mode():
            for place in range(context, context + new):
                hidden = model.hidden_states(tokens, sequential_positions(tokens, place), cache)
                tokens = model.logits(hidden[:, -1]).argmax(dim=-1, keepdim=True)
        cache.crop(context)

    return steps


def peer_steps(model: Any, context: int, new: int) -> Callable[[], object]:
    """The same by the peer library, with its default cache."""
    from transformers import DynamicCache

    cache, config = DynamicCache(config=model.config), model.config
    shape = (1, config.num_key_value_heads, context, config.head_dim)
    for layer in range(config.num_hidden_layers):
        cache.update(*(torch.randn(shape, device=model.device, dtype=model.dtype) for _ in range(2)), layer)

    def steps() -> None:
        tokens = torch.ones(1, 1, dtype=torch.long, device=model.device)
        with torch.inference_mode():
            for _ in range(new):
                out = model(input_ids=tokens, past_key_values=cache, use_cache=True)
                tokens = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        cache.crop(-new)

    return steps


def without_cache(model: Transformer, ids: list[int]) -> Callable[[], object]:
    """One token, for which the whole text is computed."""

    def one() -> None:
        with torch.inference_mode():
            generate_naive(model, ids, 1)

    return one


def time_against_context(folder: Path, device: str, settings: Settings) -> list[dict[str, Any]]:
    """A row for each context and way."""
    model, rows = ours(folder, device, settings.dtype), []
    decoder = prepare(model, backend="inductor" if settings.compiled else None)
    peer = None if peer_library() is None else peers(folder, device, settings.dtype)
    for context in settings.contexts:
        machine = Machine(device, (), settings.small)
        length = context + settings.new
        static = StaticCache(model.config, length, device=device, dtype=settings.dtype)
        calls: dict[str, Callable[[], object]] = {}
        if peer is not None:
            calls["transformers"] = peer_steps(peer, context, settings.new)
        growing = filled(GrowingCache(), model, context, settings.dtype)
        calls["growing cache"] = our_steps(model, growing, context, settings.new)
        calls["static cache"] = our_steps(
            model, filled(static, model, context, settings.dtype), context, settings.new
        )
        own = filled(decoder.new_cache(1, length), decoder, context, settings.dtype)
        calls["compiled step"] = our_steps(decoder, own, context, settings.new)
        if context <= settings.without_cache:
            calls["no cache"] = without_cache(model, prompt(settings.shape, context))
        for call in calls.values():
            call()
        times = in_turns({"machine": machine.measure, **calls}, settings.rounds, device)
        number = settings.dtype.itemsize
        n_bytes = cost(model.config, context=context, bytes_per_number=number).decode_bytes
        for name in calls:
            per_token = median(times[name]) / (1 if name == "no cache" else settings.new)
            rows.append(
                {
                    "context": context,
                    "way": name,
                    "milliseconds": round(1000 * per_token, 3),
                    "n_bytes": n_bytes,
                    "mbu": round(n_bytes / per_token / machine.bandwidth, 3),
                }
            )
            click.echo(f"{context:7,} {name:20}{1000 * per_token:10.2f} ms{rows[-1]['mbu']:8.0%} MBU")
    return rows


def memory_against_batch(folder: Path, device: str, settings: Settings) -> list[dict[str, Any]]:
    """A row for each batch."""
    model, rows = ours(folder, device, settings.dtype), []
    for batch in settings.batches:
        cache = StaticCache(model.config, settings.memory_context, batch, device, settings.dtype)
        said = memory(model.config, batch, settings.memory_context, settings.dtype.itemsize)
        rows.append(
            {
                "batch": batch,
                "context": settings.memory_context,
                "weight_bytes": sum(tensor.nbytes for tensor in unique(model.parameters())),
                "cache_bytes": cache.n_bytes,
                "said_weight_bytes": said.weights,
                "said_cache_bytes": said.cache,
            }
        )
        click.echo(
            f"batch {batch:3}: cache {cache.n_bytes / 2**20:9,.1f} MiB, said {said.cache / 2**20:9,.1f} MiB"
        )
    return rows


def unique(tensors: Any) -> list[Tensor]:
    """Each tensor once."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def run(device: str, settings: Settings) -> dict[str, Any]:
    """Measure everything; the result as it is written."""
    result = about("context", device)
    with checkpoint(settings.shape, device, settings.dtype) as folder:
        return result | {
            "model": settings.shape,
            "dtype": name_of(settings.dtype),
            "rounds": settings.rounds,
            "rows": time_against_context(folder, device, settings),
            "memory": memory_against_batch(folder, device, settings),
        }


@click.command(help=__doc__)
@options
def main(out: Path | None, device: str | None, save: bool) -> None:
    """Measure, print, and write the file."""
    device = device or find_device()
    settings = Settings(dtype=torch.float32 if device == "cpu" else torch.bfloat16)
    write(run(device, settings), place("context", device, out, save))


if __name__ == "__main__":
    main()
