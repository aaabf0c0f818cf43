"""Token embedding: find the nearest neighbours of a token in the table."""

from torch import Tensor


def nearest(table: Tensor, token_id: int, count: int) -> list[int]:
    """Sort by cosine, and leave the token itself out."""
    directions = table / table.norm(dim=-1, keepdim=True)
    cosines = directions @ directions[token_id]
    order: list[int] = cosines.argsort(descending=True, stable=True).tolist()
    return [other for other in order if other != token_id][:count]
