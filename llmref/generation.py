"""The loop: predict, choose, append, and again, until the text ends."""

from collections.abc import Collection, Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.cache import Cache, GrowingCache
from llmref.decoding import Strategy, strategy
from llmref.model import Transformer, sequential_positions
from llmref.tokenizer import Tokenizer


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
        ValueError: If the prompt is empty or longer than the context, an id is out of range, or
            `max_new_tokens` is negative.
    """
    if not ids:
        raise ValueError("the prompt is empty: give at least one token")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, found {max_new_tokens}")
    context_length = model.config.context_length
    if len(ids) > context_length:
        raise ValueError(
            f"the prompt has {len(ids)} tokens, and this model's context length is {context_length}"
        )
    return _loop(
        model, ids, strategy, min(max_new_tokens, context_length - len(ids)), seed, cache or GrowingCache()
    )


def _loop(
    model: Transformer, ids: list[int], strategy: Strategy, steps: int, seed: int | None, cache: Cache
) -> Iterator[int]:
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    tokens: Int[Tensor, "batch tokens"] = torch.tensor([ids], device=model.device)
    position = 0
    for _ in range(steps):
        with torch.inference_mode():
            hidden = model.hidden_states(tokens, sequential_positions(tokens, position), cache)
            logits = model.lm_head(hidden[:, -1])
            position += tokens.shape[1]
            chosen = strategy.choose(logits, generator)
        token_id = int(chosen)
        if token_id == model.config.eos_id:
            return
        yield token_id
        tokens = chosen[:, None]


def stream(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Collection[str] = (),
) -> Iterator[str]:
    """The text that follows a prompt, piece by piece; no piece ever holds half a character.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        prompt: The text to go on from.
        max_new_tokens: How many new tokens at most; the context length is a limit of its own.
        temperature: 0 is greedy; higher is more varied.
        top_k: Draw from so many likeliest tokens only.
        top_p: Draw from the likeliest tokens that reach this probability only.
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
    chooser = strategy(temperature, top_k, top_p)
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in stops:
        raise ValueError("a stop text must not be empty")
    if not prompt:
        raise ValueError("the prompt is empty: give at least one character")
    bos_id = model.config.bos_id
    ids = tokenizer.encode(prompt) if bos_id is None else [bos_id, *tokenizer.encode(prompt)]
    new_ids = generate_ids(model, ids, chooser, max_new_tokens, seed=seed)
    return _until(stops, _decode(tokenizer, new_ids))


def _decode(tokenizer: Tokenizer, ids: Iterator[int]) -> Iterator[str]:
    decoder = tokenizer.stream()
    for token_id in ids:
        yield decoder.push(token_id)
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
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
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
        seed=seed,
        stop=stop,
    )
    return "".join(pieces)
