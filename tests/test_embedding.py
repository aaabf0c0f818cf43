"""Token embedding: a row of a table, which is a one-hot product."""

import pytest
import torch
from helpers import random_ids

from llmref.embedding import TokenEmbedding


def test_a_lookup_is_a_one_hot_product() -> None:
    embedding = TokenEmbedding(vocab_size=61, d_model=7)
    ids = random_ids(2, 9)
    one_hot = torch.nn.functional.one_hot(ids, 61).float()
    assert torch.equal(embedding(ids), one_hot @ embedding.weight)


def test_only_the_rows_that_were_read_learn() -> None:
    embedding = TokenEmbedding(vocab_size=6, d_model=3)
    embedding(torch.tensor([[1, 4, 1]])).sum().backward()
    assert embedding.weight.grad is not None
    assert embedding.weight.grad[:, 0].tolist() == [0, 2, 0, 0, 1, 0]


def test_an_id_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(IndexError):
        TokenEmbedding(vocab_size=6, d_model=3)(torch.tensor([[6]]))
