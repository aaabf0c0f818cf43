"""Text in, text out: the loop between a tokenizer's two ends."""

from collections.abc import Collection, Iterator, Sequence

from llmref.decoding import strategy
from llmref.generation.loop import generate_ids
from llmref.model import Transformer
from llmref.tokenizer import TextTokenizer


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
    return until(stops, decode(tokenizer, ids, new_ids))


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


def decode(tokenizer: TextTokenizer, prompt: Sequence[int], ids: Iterator[int]) -> Iterator[str]:
    # A model may have room for more ids than its tokenizer has tokens for: those spell nothing.
    size = tokenizer.vocab_size
    decoder = tokenizer.stream(after=[token_id for token_id in prompt if token_id < size])
    for token_id in ids:
        yield decoder.push(token_id) if token_id < size else ""
    yield decoder.flush()


def until(stops: tuple[str, ...], pieces: Iterator[str]) -> Iterator[str]:
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
