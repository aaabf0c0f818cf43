"""One token at a time: write the loop, with any rule for choosing, up to the end of the text."""

from collections.abc import Callable

import torch
from torch import Tensor

from llmref.model import Transformer, sequential_positions


def write(
    model: Transformer, ids: list[int], choose: Callable[[Tensor], int], max_new_tokens: int
) -> list[int]:
    """Write on from `ids`, and return the new ids alone.

    For each new token run one forward pass over all ids so far:

        tokens = torch.tensor([ids_so_far])
        logits = model(tokens, sequential_positions(tokens))

    The logits have the shape [1, tokens, vocabulary]. Their last row, after
    a softmax, is a probability for every token. `choose` takes these
    probabilities, and returns the id of the next token. Stop at
    `model.config.eos_id`, which is not part of the text, or after
    `max_new_tokens` new ids. Leave the list `ids` as it is.
    """
    raise NotImplementedError("write write()")


# What is checked

from typing import Any

from llmref.decoding import Strategy
from llmref.generation import generate_ids
from llmref.tiny import load_tiny


def check_likeliest(answer: Any) -> None:
    """With the likeliest token chosen each time, the ids are the package's."""
    model, tokenizer = load_tiny()
    for prompt in ("옛날에", "Once upon a time"):
        ids = [0, *tokenizer.encode(prompt)]
        before = list(ids)
        expected = list(generate_ids(model, ids, Strategy(greedy=True), 10))
        found = answer.write(model, ids, lambda probabilities: int(probabilities.argmax()), 10)
        assert found == expected, f"expected the new ids {expected} after {prompt!r}, found {found}"
        assert ids == before, f"the list of the prompt must stay {before}, found {ids}"


def check_probabilities(answer: Any) -> None:
    """`choose` gets a probability for every token of the vocabulary."""
    model, _ = load_tiny()
    seen: list[Tensor] = []

    def choose(probabilities: Tensor) -> int:
        seen.append(probabilities)
        return 5

    answer.write(model, [0, 7, 9], choose, 1)
    assert len(seen) == 1, f"expected one call of choose() for one new token, found {len(seen)}"
    shape, size = tuple(seen[0].shape), model.config.vocab_size
    assert shape == (size,), f"expected {size} probabilities in one row, found the shape {shape}"
    total = float(seen[0].detach().sum())
    assert abs(total - 1) < 1e-3, f"expected probabilities that sum to 1, found the sum {total:.3f}"


def check_passes(answer: Any) -> None:
    """Each new token costs one forward pass, and each pass reads one id more."""
    model, _ = load_tiny()
    read: list[int] = []
    model.blocks[0].register_forward_pre_hook(lambda block, inputs: read.append(inputs[0].shape[1]))
    answer.write(model, [0, 7, 9], lambda probabilities: 5, 4)
    assert read == [3, 4, 5, 6], f"expected passes over 3, 4, 5 and 6 ids, found {read}"


def check_end(answer: Any) -> None:
    """The text ends at the end-of-text token, which is left out."""
    model, _ = load_tiny()
    script = iter([11, 12, model.config.eos_id, 13, 14])
    found = answer.write(model, [0, 7, 9], lambda probabilities: next(script), 5)
    assert found == [11, 12], f"expected [11, 12] and then the end, found {found}"
