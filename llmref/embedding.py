"""Token embedding: one vector for each entry of the vocabulary."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """A table of vectors: row `i` is the vector of token id `i`.

    Looking a row up is the same as multiplying a one-hot vector by the table, without the multiplication.

    >>> embedding = TokenEmbedding(vocab_size=10, d_model=4)
    >>> embedding(torch.tensor([[3, 1, 3]])).shape
    torch.Size([1, 3, 4])
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))
        nn.init.normal_(self.weight, std=d_model**-0.5)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d_model"]:
        """The vectors of the tokens.

        Raises:
            IndexError: If an id lies outside the vocabulary; `Transformer` says which.
        """
        return nn.functional.embedding(ids, self.weight)

    def extra_repr(self) -> str:
        """How many entries and how wide, for a model that is printed."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"
