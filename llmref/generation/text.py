"""Text in, text out: the loop between a tokenizer's two ends."""

from collections.abc import Collection, Iterator, Sequence
from typing import Unpack

from tqdm import tqdm

from llmref.decoding import StrategySettings, strategy
from llmref.generation.batch import Generated, Row, checked_cache, rows_of, write_batch
from llmref.generation.draft import Draft
from llmref.generation.loop import generate_ids
from llmref.generation.protocol import LanguageModel
from llmref.generation.speculative import SpeculationReport, speculate
from llmref.generation.stop import StopTexts
from llmref.tokenizer import TextTokenizer

USUAL: StrategySettings = {"temperature": 0.8}
"""The settings of a text where nothing is said."""


def stream(
    model: LanguageModel,
    tokenizer: TextTokenizer,
    prompt: str | Sequence[int],
    *,
    max_new_tokens: int = 64,
    seed: int | None = None,
    stop: str | Collection[str] = (),
    draft: Draft | None = None,
    draft_tokens: int = 4,
    report: SpeculationReport | None = None,
    **settings: Unpack[StrategySettings],
) -> Iterator[str]:
    """The text that follows a prompt, piece by piece; no piece ever holds half a character.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        prompt: The text to go on from, or its ids as they are: those of a chat, for instance.
        max_new_tokens: How many new tokens at most; the context length is a limit of its own.
        seed: The same seed gives the same text.
        stop: End before whichever of these texts is whole first, also where it spans several tokens.
        draft: Proposes tokens that the model then checks (`speculate`), so that it needs fewer passes.
        draft_tokens: How many tokens the draft may propose for each pass.
        report: Counts what was drafted and accepted.
        settings: How a token is chosen: those of `strategy`. The temperature is 0.8 if not given.

    Raises:
        ValueError: If the prompt is empty or too long, a setting is out of range, a stop text is empty, or
            the draft has another vocabulary.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> pieces = list(stream(model, tokenizer, "옛날에", max_new_tokens=8, seed=0))
    >>> "".join(pieces) == generate(model, tokenizer, "옛날에", max_new_tokens=8, seed=0)
    True
    """
    ids = ids_of(model, tokenizer, prompt)
    spelling = Spelling(tokenizer, ids, stop)
    chooser = strategy(**(USUAL | settings), end_ids=model.config.end_ids)
    if draft is None:
        return spelled(spelling, generate_ids(model, ids, chooser, max_new_tokens, seed=seed))
    new_ids = speculate(
        model,
        ids,
        chooser,
        max_new_tokens,
        draft=draft,
        draft_tokens=draft_tokens,
        seed=seed,
        report=report,
    )
    return spelled(spelling, new_ids)


def generate(
    model: LanguageModel,
    tokenizer: TextTokenizer,
    prompt: str | Sequence[int],
    *,
    max_new_tokens: int = 64,
    seed: int | None = None,
    stop: str | Collection[str] = (),
    draft: Draft | None = None,
    draft_tokens: int = 4,
    report: SpeculationReport | None = None,
    **settings: Unpack[StrategySettings],
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
        seed=seed,
        stop=stop,
        draft=draft,
        draft_tokens=draft_tokens,
        report=report,
        **settings,
    )
    return "".join(pieces)


def stream_batch(
    model: LanguageModel,
    tokenizer: TextTokenizer,
    prompts: Sequence[str | Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int] = 64,
    seed: int | Sequence[int] | None = None,
    stop: str | Collection[str] = (),
    memory_limit: int | None = None,
    **settings: Unpack[StrategySettings],
) -> Iterator[list[Generated]]:
    """The texts that follow many prompts, as they stand after each step.

    It is the same list each time, and its texts grow. A text so far never ends in half a character, nor in
    what may be the start of a stop text; all that is in it stays.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        prompts: The texts to go on from, or their ids as they are. Their lengths may differ.
        max_new_tokens: How many new tokens at most: one number for all rows, or one for each.
        seed: The same seed gives the same text, in any batch: one for all rows, or one for each.
        stop: End a text before whichever of these is whole first.
        memory_limit: Refuse a request that needs more bytes; what the machine has free if not given.
        settings: How a token is chosen: those of `strategy`. The temperature is 0.8 if not given.

    Raises:
        ValueError: As `generate_batch_ids`; or if a setting is out of range, or a stop text is empty. What
            is wrong in one row is said with its number.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> prompts = ["Minji lives in the", "The dog"]
    >>> for texts in stream_batch(model, tokenizer, prompts, max_new_tokens=[2, 5], temperature=0):
    ...     print([text.text for text in texts])
    [' forest', ' leaned']
    [' forest.', ' leaned on']
    [' forest.', ' leaned on the']
    [' forest.', ' leaned on the mouse']
    [' forest.', ' leaned on the mouse because']
    """
    if isinstance(prompts, str):
        raise ValueError(f"a batch needs a list of prompts, found one text: {prompts!r}")
    ids = []
    for row, prompt in enumerate(prompts):
        try:
            ids.append(ids_of(model, tokenizer, prompt))
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from None
    rows = rows_of(model, ids, max_new_tokens, seed)
    spellings = [Spelling(tokenizer, prompt, stop) for prompt in ids]
    chooser = strategy(**(USUAL | settings), end_ids=model.config.end_ids)
    chooser.check(model.config.vocab_size)
    cache = checked_cache(model, rows, None, memory_limit)
    return texts_after_each(write_batch(model, rows, chooser, cache), rows, spellings)


def generate_batch(
    model: LanguageModel,
    tokenizer: TextTokenizer,
    prompts: Sequence[str | Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int] = 64,
    seed: int | Sequence[int] | None = None,
    stop: str | Collection[str] = (),
    memory_limit: int | None = None,
    **settings: Unpack[StrategySettings],
) -> list[Generated]:
    """The texts that follow many prompts, whole; the arguments and errors are those of `stream_batch`.

    Each row gets the text that `generate` gives it alone. A terminal shows how far it is, if it takes long.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> first, second = generate_batch(model, tokenizer, ["옛날에", "Once upon a time"], seed=[1, 2])
    >>> second.text == generate(model, tokenizer, "Once upon a time", seed=2)
    True
    """
    steps = stream_batch(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        seed=seed,
        stop=stop,
        memory_limit=memory_limit,
        **settings,
    )
    # Only where standard error is a terminal: that is what `disable=None` means.
    *_, texts = tqdm(steps, desc="writing", unit=" steps", delay=2, leave=False, disable=None)
    return texts


def ids_of(model: LanguageModel, tokenizer: TextTokenizer, prompt: str | Sequence[int]) -> list[int]:
    """A prompt's ids, as a text or as they are."""
    if prompt == "":
        raise ValueError("the prompt is empty: give at least one character")
    return prompt_ids(model, tokenizer, prompt) if isinstance(prompt, str) else list(prompt)


def prompt_ids(model: LanguageModel, tokenizer: TextTokenizer, text: str) -> list[int]:
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


class Spelling:
    """Ids in, text out, for one text: no half character, and nothing from a stop text on."""

    def __init__(self, tokenizer: TextTokenizer, prompt: Sequence[int], stop: str | Collection[str]) -> None:
        # A model may have room for more ids than its tokenizer has tokens for: those spell nothing.
        self.size = tokenizer.vocab_size
        self.decoder = tokenizer.stream(after=[token_id for token_id in prompt if token_id < self.size])
        self.stops = StopTexts((stop,) if isinstance(stop, str) else tuple(stop))

    def push(self, token_id: int) -> str:
        """Takes one id; returns the text that is now sure."""
        return self.stops.push(self.decoder.push(token_id)) if token_id < self.size else ""

    def flush(self) -> str:
        """Ends the text; returns what was kept back."""
        return self.stops.push(self.decoder.flush()) + self.stops.flush()


def spelled(spelling: Spelling, ids: Iterator[int]) -> Iterator[str]:
    """The pieces of one text."""
    for token_id in ids:
        if piece := spelling.push(token_id):
            yield piece
        if spelling.stops.found:
            return
    if piece := spelling.flush():
        yield piece


def texts_after_each(
    steps: Iterator[None], rows: list[Row], spellings: list[Spelling]
) -> Iterator[list[Generated]]:
    """The texts of a batch after each step; a row whose text meets a stop text ends."""
    texts = [row.written for row in rows]
    open_rows = [place for place, text in enumerate(texts) if text.ended_by is None]
    if not open_rows:
        yield texts
    for _ in steps:
        for place in open_rows:
            text, spelling = texts[place], spellings[place]
            if text.ended_by != "end":
                text.text += spelling.push(text.ids[-1])
            if spelling.stops.found:
                text.ended_by = "stop"
            elif text.ended_by:
                text.text += spelling.flush()
        open_rows = [place for place in open_rows if texts[place].ended_by is None]
        yield texts
