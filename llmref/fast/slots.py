"""The part of a static cache that one pass needs, as nothing but tensors: so a compiler can follow it."""

from jaxtyping import Int
from torch import Tensor

from llmref.cache.protocol import Keys, NewKey, NewValue, Values


class SeenSlots:
    """A store for one pass: where its tokens go is a tensor, and it looks at the first slots only.

    So one compiled step serves every step, and its time grows with the text and not with the cache.

    Args:
        positions: Where the tokens of the first slots stand, -1 where a slot is empty.
        slots: Which slots the new tokens take.
        keys: The keys of all slots, for each block.
        values: The values.

    >>> import torch
    >>> keys, values = [torch.zeros(1, 1, 8, 4)], [torch.zeros(1, 1, 8, 4)]
    >>> store = SeenSlots(torch.tensor([[0, 1]]), torch.tensor([1]), keys, values)
    >>> seen, _ = store.update(0, torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    >>> seen.sum(dim=-1).tolist()
    [[[0.0, 4.0]]]
    """

    def __init__(
        self,
        positions: Int[Tensor, "batch seen"],
        slots: Int[Tensor, "tokens"],
        keys: list[Tensor],
        values: list[Tensor],
    ) -> None:
        self.positions, self.slots, self.keys, self.values = positions, slots, keys, values

    def key_positions(self, block: int) -> Int[Tensor, "batch keys"]:
        """The same for every block."""
        return self.positions

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Write one block's keys and values into their slots; gives those of the first slots."""
        seen = self.positions.shape[1]
        self.keys[block].index_copy_(2, self.slots, key)
        self.values[block].index_copy_(2, self.slots, value)
        return self.keys[block][:, :, :seen], self.values[block][:, :, :seen]
