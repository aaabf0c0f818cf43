"""Token embedding: find the nearest neighbours of a token in the table."""

import torch
from torch import Tensor


def nearest(table: Tensor, token_id: int, count: int) -> list[int]:
    """The ids of the `count` tokens whose vectors point most nearly the way the token's own does.

    `table` has the shape [vocab, d_model]; row `i` is the vector of token id `i`. How nearly two vectors
    point the same way is their cosine: the dot product, divided by both lengths (`tensor.norm(dim=-1)`). The
    nearest comes first. The token itself is not its own neighbour.
    """
    raise NotImplementedError("write nearest()")


# What is checked

from typing import Any

from llmref.tiny import load_tiny


def check_tiny_model(answer: Any) -> None:
    """The neighbours in the tiny model's table are those of the page."""
    model, tokenizer = load_tiny()
    table = model.embedding.weight.detach()
    for word in (" dog", " 강"):
        (token_id,) = tokenizer.encode(word)
        cosines = torch.nn.functional.cosine_similarity(table, table[token_id][None])
        expected = [i for i in cosines.argsort(descending=True).tolist() if i != token_id][:4]
        found = answer.nearest(table, token_id, 4)
        pieces = [tokenizer.decode([i]) for i in expected]
        assert found == expected, f"expected {expected} ({pieces}) beside {word!r}, found {found}"


def check_length_does_not_count(answer: Any) -> None:
    """A long vector is no nearer than a short one that points the same way."""
    table = torch.tensor([[1.0, 0.0], [30.0, 40.0], [0.1, 0.01], [-1.0, 0.0]])
    found = answer.nearest(table, 0, 3)
    assert found == [2, 1, 3], f"expected [2, 1, 3] for the table {table.tolist()}, found {found}"


def check_not_itself(answer: Any) -> None:
    """The token itself is left out, also where another has the very same vector."""
    table = torch.tensor([[0.0, 2.0], [1.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
    found = answer.nearest(table, 2, 2)
    assert found == [0, 1], f"expected [0, 1] beside token 2 of {table.tolist()}, found {found}"


def check_how_many(answer: Any) -> None:
    """There are as many as were asked for."""
    table = torch.eye(6) + torch.arange(6)[:, None] * 0.1
    found = [len(answer.nearest(table, 0, count)) for count in (1, 3, 5)]
    assert found == [1, 3, 5], f"expected 1, 3 and 5 neighbours of 6 tokens, found {found}"
