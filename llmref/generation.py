"""The loop: predict, choose, append, and again, until the text ends."""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.cache import Cache, GrowingCache
from llmref.decoding import Strategy, finite, strategy
from llmref.model import Transformer, sequential_positions
from llmref.tokenizer import TextTokenizer


def generate_naive(model: Transformer, ids: list[int], max_new_tokens: int) -> list[int]:
    """Greedy decoding as short as the idea: one whole forward pass for each new token, and nothing kept.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> ids = [model.config.bos_id, *tokenizer.encode("Once upon a time")]
    >>> naive = generate_naive(model, ids, 8)
    >>> naive == list(generate_ids(model, ids, Strategy(greedy=True), 8))
    True
    """
    ids = list(ids)
    start = len(ids)
    for _ in range(max_new_tokens):
        prompt = torch.tensor([ids])
        logits = model(prompt, sequential_positions(prompt))
        ids.append(int(logits[0, -1].argmax()))
    return ids[start:]


def generate_ids(
    model: Transformer,
    ids: list[int],
    strategy: Strategy,
    max_new_tokens: int,
    *,
    seed: int | None = None,
    cache: Cache | None = None,
) -> Iterator[int]:
    """The ids that follow a prompt, one at a time.

    The first pass reads the whole prompt (prefill); each later pass reads one token and finds the rest in the
    cache. It ends before the model's end-of-text token, after `max_new_tokens`, or when the context is full.

    Args:
        model: The model.
        ids: The prompt's token ids, the begin-of-text token included where the model wants one.
        strategy: How a token is chosen.
        max_new_tokens: How many new tokens at most.
        seed: Makes the draws repeatable.
        cache: An empty cache to use; a growing one if not given.

    Raises:
        ValueError: If the prompt is empty or longer than the context, an id is out of range,
            `max_new_tokens` is negative, or the cache already holds tokens.
    """
    steps = _steps(model, ids, max_new_tokens)
    if cache is not None and cache.n_tokens:
        raise ValueError(f"generation needs an empty cache, found one that holds {cache.n_tokens} tokens")
    return _loop(model, ids, strategy, steps, seed, cache or GrowingCache())


def _steps(model: Transformer, ids: list[int], max_new_tokens: int) -> int:
    """How many new tokens there may be."""
    if not ids:
        raise ValueError("the prompt is empty: give at least one token")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, found {max_new_tokens}")
    context_length = model.config.context_length
    if len(ids) > context_length:
        raise ValueError(
            f"the prompt has {len(ids)} tokens, and this model's context length is {context_length}"
        )
    return min(max_new_tokens, context_length - len(ids))


def _loop(
    model: Transformer, ids: list[int], strategy: Strategy, steps: int, seed: int | None, cache: Cache
) -> Iterator[int]:
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    tokens: Int[Tensor, "batch tokens"] = torch.tensor([ids], device=model.device)
    so_far, position = tokens, 0
    for _ in range(steps):
        with torch.inference_mode():
            hidden = model.hidden_states(tokens, sequential_positions(tokens, position), cache)
            logits = model.logits(hidden[:, -1])
            position += tokens.shape[1]
            chosen = strategy.choose(logits, generator, so_far, prompt_length=len(ids))
        token_id = int(chosen)
        if token_id in model.config.end_ids:
            return
        yield token_id
        tokens = chosen[:, None]
        so_far = torch.cat([so_far, tokens], dim=1)


class Beam(NamedTuple):
    """A text that beam search kept.

    Attributes:
        ids: The new token ids, the end-of-text token included where it came.
        log_probability: The sum of the tokens' log-probabilities, in nats.
        score: What ranks it: the log-probability over the length to the power of the length penalty.
    """

    ids: list[int]
    log_probability: float
    score: float


def beam_search(
    model: Transformer, ids: list[int], beams: int, max_new_tokens: int, length_penalty: float = 1.0
) -> list[Beam]:
    """Look for the likeliest text rather than the likeliest next token: keep the best few at every step.

    It ends when no text that goes on can beat the finished ones any more, or at `max_new_tokens`. With one
    beam and no length penalty it is greedy decoding.

    Args:
        model: The model.
        ids: The prompt's token ids, the begin-of-text token included where the model wants one.
        beams: How many texts are kept at every step.
        max_new_tokens: How many new tokens at most.
        length_penalty: The power of the length that the log-probability is divided by: 0 compares whole
            texts, 1 the mean for each token. Over 0 it favours longer texts.

    Returns:
        At most so many texts, the best first.

    Raises:
        ValueError: If `beams` is under 1 or the length penalty not finite; otherwise as `generate_ids`.

    Source: Graves, "Sequence Transduction with Recurrent Neural Networks" (2012), section 2.5; the length
    penalty: Wu et al., "Google's Neural Machine Translation System" (2016), section 7, in its plain form.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> ids = [model.config.bos_id, *tokenizer.encode("Once upon a time")]
    >>> greedy = list(generate_ids(model, ids, strategy(temperature=0), 8))
    >>> beam_search(model, ids, beams=1, max_new_tokens=8)[0].ids == greedy
    True
    """
    if beams < 1:
        raise ValueError(f"beam search needs at least 1 beam, found {beams}")
    if not math.isfinite(length_penalty):
        raise ValueError(f"the length penalty must be a finite number, found {length_penalty!r}")
    steps = _steps(model, ids, max_new_tokens)
    cache = GrowingCache()
    tokens: Int[Tensor, "beams tokens"] = torch.tensor([ids], device=model.device)
    position = 0
    running, finished = [Beam([], 0.0, 0.0)], list[Beam]()
    for step in range(1, steps + 1):
        with torch.inference_mode():
            hidden = model.hidden_states(tokens, sequential_positions(tokens, position), cache)
            log_probabilities = finite(model.logits(hidden[:, -1])).log_softmax(dim=-1).cpu()
        position += tokens.shape[1]
        totals = torch.tensor([[beam.log_probability] for beam in running]) + log_probabilities
        # Twice as many as are kept: at most half of them end here, so enough are left to go on.
        best = totals.flatten().sort(descending=True, stable=True)
        rows, going_on = list[int](), list[Beam]()
        for rank, index in enumerate(best.indices[: 2 * beams].tolist()):
            row, token_id = divmod(index, totals.shape[1])
            total = float(best.values[rank])
            beam = Beam([*running[row].ids, token_id], total, total / step**length_penalty)
            if token_id in model.config.end_ids:
                finished += [beam] if rank < beams else []
            elif len(going_on) < beams:
                rows.append(row)
                going_on.append(beam)
        running = going_on
        finished = sorted(finished, key=lambda beam: -beam.score)[:beams]
        # A log-probability only falls; dividing by the greatest length is the best that can still happen.
        longest = steps if length_penalty > 0 else step
        hope = running[0].log_probability / longest**length_penalty
        if len(finished) == beams and hope <= finished[-1].score:
            return finished
        tokens = torch.tensor([beam.ids[-1:] for beam in running], device=model.device)
        _keep(cache, rows)
    return sorted(finished + running, key=lambda beam: -beam.score)[:beams]


def _keep(cache: GrowingCache, rows: list[int]) -> None:
    """Give each beam the keys and values of the beam that it goes on from."""
    assert cache.positions is not None
    cache.positions = cache.positions[rows]
    cache.keys = [key[rows] for key in cache.keys]
    cache.values = [value[rows] for value in cache.values]


def stream(
    model: Transformer,
    tokenizer: TextTokenizer,
    prompt: str | Sequence[int],
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    seed: int | None = None,
    stop: str | Collection[str] = (),
) -> Iterator[str]:
    """The text that follows a prompt, piece by piece; no piece ever holds half a character.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        prompt: The text to go on from, or its ids as they are: those of a chat, for instance.
        max_new_tokens: How many new tokens at most; the context length is a limit of its own.
        temperature: 0 is greedy; higher is more varied.
        top_k: Draw from so many likeliest tokens only.
        top_p: Draw from the likeliest tokens that reach this probability only.
        min_p: Draw only from tokens at least this many times as likely as the likeliest.
        repetition_penalty: Over 1 makes every token of the text so far less likely, the prompt's too.
        frequency_penalty: Taken from a logit for each time that the token was written after the prompt.
        presence_penalty: Taken once from the logit of every token that was written after the prompt.
        seed: The same seed gives the same text.
        stop: End before whichever of these texts is whole first, also where it spans several tokens.

    Raises:
        ValueError: If the prompt is empty or too long, a setting is out of range, or a stop text is empty.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> pieces = list(stream(model, tokenizer, "옛날에", max_new_tokens=8, seed=0))
    >>> "".join(pieces) == generate(model, tokenizer, "옛날에", max_new_tokens=8, seed=0)
    True
    """
    chooser = strategy(
        temperature,
        top_k,
        top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty,
    )
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in stops:
        raise ValueError("a stop text must not be empty")
    if prompt == "":
        raise ValueError("the prompt is empty: give at least one character")
    ids = prompt_ids(model, tokenizer, prompt) if isinstance(prompt, str) else list(prompt)
    new_ids = generate_ids(model, ids, chooser, max_new_tokens, seed=seed)
    return _until(stops, _decode(tokenizer, ids, new_ids))


def prompt_ids(model: Transformer, tokenizer: TextTokenizer, text: str) -> list[int]:
    """The ids of a text as the model reads it, with what stands before every text.

    A tokenizer's files say which token that is, if any; where they say nothing, the model's `bos_id` is it.
    It is put there once: a name such as `<s>` in the text itself is plain text.

    Raises:
        ValueError: If the text holds a lone surrogate.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> prompt_ids(model, tokenizer, "The dog") == [model.config.bos_id, *tokenizer.encode("The dog")]
    True
    """
    begin = tokenizer.begins_with
    if begin is None:
        begin = () if model.config.bos_id is None else (model.config.bos_id,)
    return [*begin, *tokenizer.encode(text)]


def _decode(tokenizer: TextTokenizer, prompt: Sequence[int], ids: Iterator[int]) -> Iterator[str]:
    # A model may have room for more ids than its tokenizer has tokens for: those spell nothing.
    size = tokenizer.vocab_size
    decoder = tokenizer.stream(after=[token_id for token_id in prompt if token_id < size])
    for token_id in ids:
        yield decoder.push(token_id) if token_id < size else ""
    yield decoder.flush()


def _until(stops: tuple[str, ...], pieces: Iterator[str]) -> Iterator[str]:
    """Pass pieces on until a stop text, keeping back what may yet turn out to be the start of one."""
    held = ""
    for piece in pieces:
        held += piece
        # The one that ends first: whatever the pieces, it is whole before any other.
        found = [(held.index(stop) + len(stop), held.index(stop)) for stop in stops if stop in held]
        if found:
            held = held[: min(found)[1]]
            break
        keep = max((n for stop in stops for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        ready, held = held[: len(held) - keep], held[len(held) - keep :]
        if ready:
            yield ready
    if held:
        yield held


def generate(
    model: Transformer,
    tokenizer: TextTokenizer,
    prompt: str | Sequence[int],
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    seed: int | None = None,
    stop: str | Collection[str] = (),
) -> str:
    """The text that follows a prompt, whole; the arguments and errors are those of `stream`.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> generate(model, tokenizer, "")
    Traceback (most recent call last):
    ...
    ValueError: the prompt is empty: give at least one character
    """
    pieces = stream(
        model,
        tokenizer,
        prompt,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty,
        seed=seed,
        stop=stop,
    )
    return "".join(pieces)
