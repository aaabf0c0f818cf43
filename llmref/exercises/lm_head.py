"""LM head: ask the head after every block what it would say (the logit lens)."""

import torch
from torch import Tensor

from llmref.model import Transformer
from llmref.trace import trace


def logit_lens(model: Transformer, ids: list[int]) -> Tensor:
    """The distribution of the next token after the last id, as seen after each block: [blocks, vocab].

    `trace(model, ids)` gives every tensor of one pass by name; `"blocks.0.output"` is what block 0 passes on,
    of shape [1, tokens, d_model]. The head expects what it always gets: a hidden state that went through
    `model.final_norm`. `model.lm_head` gives the logits, and a softmax makes them probabilities.
    """
    raise NotImplementedError("write logit_lens()")


# What is checked

from typing import Any

from llmref.tiny import load_tiny

PROMPT = "The dog chased the squirrel because it was hungry. The hungry one was the"


def lens(answer: Any, prompt: str) -> tuple[Tensor, Tensor]:
    """What the reader's function gives, and the model's own distribution."""
    model, tokenizer = load_tiny()
    ids = [0, *tokenizer.encode(prompt)]
    found = answer.logit_lens(model, ids)
    shape = (len(model.blocks), tokenizer.vocab_size)
    assert found.shape == shape, f"expected a tensor of shape {shape}, found {tuple(found.shape)}"
    return found, trace(model, ids)["logits"][0, -1].softmax(dim=-1)


def check_probabilities(answer: Any) -> None:
    """Every row is a probability distribution over the vocabulary."""
    found, _ = lens(answer, "옛날에")
    sums = found.sum(dim=-1)
    assert (found >= 0).all(), f"expected no negative probability, found {found.min():.3f}"
    assert (sums - 1).abs().max() < 1e-4, f"expected rows that sum to 1, found sums {sums.tolist()}"


def check_last_block(answer: Any) -> None:
    """After the last block it is the model's own prediction."""
    for prompt in ("옛날에", PROMPT):
        found, own = lens(answer, prompt)
        difference = (found[-1] - own).abs().max().item()
        assert difference < 1e-4, (
            f"expected the model's own probabilities in the last row after {prompt!r}, "
            f"found a difference of {difference:.3f}"
        )


def check_early_blocks(answer: Any) -> None:
    """Early blocks have another opinion, and it is read through the final norm."""
    found, _ = lens(answer, PROMPT)
    model, tokenizer = load_tiny()
    seen = trace(model, [0, *tokenizer.encode(PROMPT)])
    for block in range(len(model.blocks)):
        hidden = model.final_norm(seen[f"blocks.{block}.output"][0, -1])
        expected = model.lm_head(hidden).softmax(dim=-1)
        difference = (found[block] - expected).abs().max().item()
        assert difference < 1e-4, (
            f"row {block} differs by up to {difference:.3f}: check the norm and the block"
        )
