"""Parallel streams: score every token of a text with a single forward pass."""

import torch

from llmref.model import Transformer, sequential_positions


def score(model: Transformer, ids: list[int]) -> list[float]:
    """The log probability of each token of a text but the first, given the tokens before it.

    For `ids` of n tokens, n - 1 numbers come back: the first one says how likely `ids[1]` was after `ids[0]`.
    Call the model once, with `tokens` of shape [1, tokens] and `sequential_positions(tokens)`. It gives
    logits of shape [1, tokens, vocabulary]; `logits.log_softmax(dim=-1)` turns each row into log
    probabilities. Mind which row predicts which token, and that the last row predicts one that is not there.
    """
    raise NotImplementedError("write score()")


# What is checked

from typing import Any

from llmref.tiny import load_tiny

TEXTS = ("The dog chased the squirrel because it was hungry.", "옛날에 민지라는 아이가 숲에 살았습니다.")


def check_one_by_one(answer: Any) -> None:
    """The numbers are those of a pass for each token, over the text up to it."""
    model, tokenizer = load_tiny()
    for text in TEXTS:
        ids = [0, *tokenizer.encode(text)]
        expected = []
        for length in range(1, len(ids)):
            tokens = torch.tensor([ids[:length]])
            with torch.no_grad():
                last = model(tokens, sequential_positions(tokens))[0, -1].log_softmax(dim=-1)
            expected.append(float(last[ids[length]]))
        found = [float(number) for number in answer.score(model, list(ids))]
        assert len(found) == len(expected), (
            f"expected {len(expected)} numbers for {len(ids)} tokens, found {len(found)}"
        )
        worst = max(range(len(expected)), key=lambda place: abs(found[place] - expected[place]))
        assert abs(found[worst] - expected[worst]) < 1e-3, (
            f"in {text!r}, number {worst}: expected {expected[worst]:.4f}, found {found[worst]:.4f}"
        )


def check_one_pass(answer: Any) -> None:
    """The model is called once, for all positions."""
    model, _ = load_tiny()
    computed: list[int] = []
    model.blocks[0].register_forward_pre_hook(lambda block, inputs: computed.append(inputs[0].shape[1]))
    answer.score(model, [0, 7, 9, 11, 13])
    assert len(computed) == 1, f"expected 1 pass over the text, found passes over {computed} tokens"


def check_later_tokens(answer: Any) -> None:
    """What comes later changes no number before it."""
    model, _ = load_tiny()
    short, long = (answer.score(model, ids) for ids in ([0, 7, 9, 11], [0, 7, 9, 11, 13, 15]))
    difference = max(abs(float(a) - float(b)) for a, b in zip(short, long[: len(short)], strict=True))
    assert difference < 1e-3, f"two more tokens changed an earlier number by {difference:.4f}"
