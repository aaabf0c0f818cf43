"""Many texts at once: each row of a batch is a text of its own, and leaves the batch when it ends."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from llmref.cache import Cache, GrowingCache
from llmref.decoding import Strategy, finite, uniforms
from llmref.generation.loop import allowed_steps
from llmref.generation.memory import check_cache, check_memory
from llmref.generation.protocol import LanguageModel

Value = TypeVar("Value")


@dataclass
class Generated:
    """A text that was written, or that is being written.

    Attributes:
        ids: The new token ids, without the end-of-text token.
        log_probabilities: What the model gave each of these ids, in nats: its own, before any strategy.
        ended_by: `"end"`, the model's end-of-text token; `"stop"`, a stop text; `"length"`, as many new
            tokens as were asked for; `"context"`, a full context. `None` while it is being written.
        text: What the ids spell, up to a stop text; empty where no tokenizer was given.
    """

    ids: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    ended_by: Literal["end", "stop", "length", "context"] | None = None
    text: str = ""


@dataclass
class Row:
    """One text of a batch: what it was asked for, and what was written."""

    prompt: list[int]
    limit: int
    limited_by: Literal["length", "context"]
    seed: int | None
    written: Generated = field(default_factory=Generated)

    def __post_init__(self) -> None:
        self.end_at_limit()

    def take(self, token_id: int, log_probability: float, end_ids: Collection[int]) -> None:
        """Append a token, or end."""
        if token_id in end_ids:
            self.written.ended_by = "end"
            return
        self.written.ids.append(token_id)
        self.written.log_probabilities.append(log_probability)
        self.end_at_limit()

    def end_at_limit(self) -> None:
        if len(self.written.ids) == self.limit:
            self.written.ended_by = self.limited_by


def generate_batch_ids(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    strategy: Strategy,
    max_new_tokens: int | Sequence[int],
    *,
    seed: int | Sequence[int] | None = None,
    cache: Cache | None = None,
    memory_limit: int | None = None,
) -> list[Generated]:
    """The ids that follow each of many prompts of any lengths, all at once.

    Each row gets what `generate_ids` gives it alone. The rows share every forward pass, and one that ends
    leaves the batch: what was read for it costs nothing any more.

    Args:
        model: The model.
        prompts: The token ids of each prompt.
        strategy: How a token is chosen.
        max_new_tokens: How many new tokens at most: one number for all rows, or one for each.
        seed: Makes the draws repeatable: one for all rows, so that equal prompts get equal texts, or one for
            each. A seed gives a row the same text in any batch.
        cache: An empty cache for so many rows; the model's own kind if not given. It is yours to size.
        memory_limit: Refuse a request that needs more bytes; what the machine has free if not given.

    Raises:
        ValueError: If there is no prompt, one is empty, longer than the context or holds an id out of range;
            a limit is negative; there is not one limit or seed for each row; the strategy bans or forces ids
            that are not there; the cache is not empty or too small; or the texts do not fit into memory.

    >>> import llmref
    >>> from llmref import generate_ids, strategy
    >>> model, tokenizer = llmref.load_tiny()
    >>> prompts = [llmref.prompt_ids(model, tokenizer, text) for text in ("옛날에", "Once upon a time")]
    >>> greedy = strategy(temperature=0)
    >>> together = generate_batch_ids(model, prompts, greedy, [4, 8])
    >>> [text.ids for text in together] == [
    ...     list(generate_ids(model, prompt, greedy, limit)) for prompt, limit in zip(prompts, [4, 8])
    ... ]
    True
    """
    rows = rows_of(model, prompts, max_new_tokens, seed)
    strategy.check(model.config.vocab_size)
    for _ in write_batch(model, rows, strategy, checked_cache(model, rows, cache, memory_limit)):
        pass
    return [row.written for row in rows]


def rows_of(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int | Sequence[int],
    seed: int | Sequence[int] | None,
) -> list[Row]:
    """A row for each prompt, checked."""
    if not prompts:
        raise ValueError("a batch needs at least one prompt, found none")
    limits = for_each_row("max_new_tokens", max_new_tokens, len(prompts))
    seeds = for_each_row("seed", seed, len(prompts))
    rows = []
    for place, (prompt, limit, own_seed) in enumerate(zip(prompts, limits, seeds, strict=True)):
        try:
            steps = allowed_steps(model, list(prompt), limit)
        except ValueError as error:
            raise ValueError(f"row {place}: {error}") from None
        rows.append(Row(list(prompt), steps, "length" if steps == limit else "context", own_seed))
    return rows


def for_each_row(name: str, given: Value | Sequence[Value], rows: int) -> list[Value]:
    """One value for each row, where one was given for all of them or a list of them."""
    if not isinstance(given, Sequence):
        return [given] * rows
    if len(given) != rows:
        raise ValueError(f"{name} must be one for all {rows} rows or one for each, found {len(given)}")
    return list(given)


def checked_cache(
    model: LanguageModel, rows: list[Row], cache: Cache | None, memory_limit: int | None
) -> Cache:
    """The cache to use, once it is known that all fits."""
    going_on = [row for row in rows if row.written.ended_by is None]
    if not going_on:
        return cache or GrowingCache()
    columns = max(len(row.prompt) for row in going_on) + max(row.limit for row in going_on)
    if cache is None:
        tokens = max(len(row.prompt) + row.limit for row in going_on)
        check_memory(model, len(going_on), tokens, memory_limit)
        return model.new_cache(len(going_on), columns)
    check_cache(cache, columns - 1)  # a text's last token is not read
    return cache


def write_batch(model: LanguageModel, rows: list[Row], strategy: Strategy, cache: Cache) -> Iterator[None]:
    """Write one token in each row that has not ended, pause, and go on until all have.

    In a pause whoever looks on may end rows too.
    """
    rows = [row for row in rows if row.written.ended_by is None]
    if not rows:
        return
    steps = max(row.limit for row in rows)
    numbers: Float64[Tensor, "rows steps"] = torch.stack([uniforms(row.seed, steps) for row in rows])
    numbers = numbers.to(model.device)
    tokens, positions = left_padded([row.prompt for row in rows], model.device)
    so_far, width = tokens.masked_fill(positions < 0, -1), tokens.shape[1]
    for step in range(steps):
        with torch.inference_mode():
            hidden = model.hidden_states(tokens, positions, cache)
            logits = model.logits(hidden[:, -1])
            chosen = strategy.choose(logits, numbers[:, step], so_far, prompt_length=width)
            own = finite(logits).log_softmax(dim=-1).take_along_dim(chosen[:, None], dim=1)[:, 0]
        for row, token_id, log_probability in zip(rows, chosen.tolist(), own.tolist(), strict=True):
            row.take(token_id, log_probability, model.config.end_ids)
        yield
        tokens, positions = chosen[:, None], positions[:, -1:] + 1
        so_far = torch.cat([so_far, tokens], dim=1)
        going_on = [place for place, row in enumerate(rows) if row.written.ended_by is None]
        if not going_on:
            return
        if len(going_on) < len(rows):
            rows = [rows[place] for place in going_on]
            tokens, positions = tokens[going_on], positions[going_on]
            so_far, numbers = so_far[going_on], numbers[going_on]
            cache.select(going_on)


def left_padded(
    prompts: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> tuple[Int[Tensor, "rows tokens"], Int[Tensor, "rows tokens"]]:
    """Prompts of any lengths side by side, with padding before the shorter ones: ids, and positions.

    So the last token of every prompt stands in the last column, which is all that the LM head reads.

    >>> left_padded([[5, 6, 7], [8]])
    (tensor([[5, 6, 7],
             [0, 0, 8]]),
     tensor([[ 0,  1,  2],
             [-1, -1,  0]]))
    """
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    ids = [[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)]
    places = [[-1] * pad + list(range(longest - pad)) for pad in padding]
    return torch.tensor(ids, device=device), torch.tensor(places, device=device)
