"""A cache that forgets what no window can see any more.

Source: Jiang et al., "Mistral 7B" (2023), section 2, "Rolling Buffer Cache". There position i lies in slot
i mod W of a buffer of fixed size. Here the kept tokens stand in the order in which they came, each with its
position, so that padding, rows of different lengths and prompts longer than the window need no rule of their
own.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.cache.protocol import Keys, NewKey, NewValue, Values, bytes_of, check_rows
from llmref.config import ModelConfig


class RollingCache:
    """A cache that keeps only what the windows can still see, so that its bytes stop growing with the text.

    Between two passes a block with a window of W keeps, of each row, the W - 1 tokens at the highest
    positions: the next token is the W-th that it sees. A block without a window keeps all.

    Args:
        config: The model that the cache serves.

    Raises:
        ValueError: From `extend`, when the positions of a row do not rise: an earlier token could look at
            one that is no longer kept.

    >>> from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig
    >>> attention = AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8, window=3)
    >>> block = BlockConfig(attention, FeedForwardConfig(d_ff=64))
    >>> cache = RollingCache(ModelConfig(vocab_size=50, d_model=16, context_length=32, blocks=(block,)))
    >>> for position in range(5):
    ...     cache.extend(torch.tensor([[position]]))
    ...     key, value = cache.update(0, torch.ones(1, 1, 1, 8), torch.ones(1, 1, 1, 8))
    >>> cache.key_positions(0).tolist(), cache.n_tokens, cache.n_bytes  # two keys and two values are kept
    ([[2, 3, 4]], 5, 128)
    """

    def __init__(self, config: ModelConfig) -> None:
        self.windows = [block.attention.window for block in config.blocks]
        self.n_tokens = 0
        self.highest: Int[Tensor, "batch 1"] | None = None
        # By window: the positions of the keys that a pass may look at, and which of them stay after it.
        self.positions: dict[int | None, Int[Tensor, "batch keys"]] = {}
        self.kept: dict[int | None, Int[Tensor, "batch kept"]] = {}
        self.keys: dict[int, Keys] = {}
        self.values: dict[int, Values] = {}

    def extend(self, positions: Int[Tensor, "batch tokens"]) -> None:
        """Add the new tokens to those that were kept, and choose which of them all stay after this pass."""
        if self.highest is None:
            self.highest = positions.new_full((len(positions), 1), -1)
        check_rows(len(self.highest), positions)
        self.highest = highest_after(self.highest, positions)
        self.n_tokens += positions.shape[1]
        for window in set(self.windows):
            stored = positions[:, :0]
            if window in self.positions:
                stored = self.positions[window].take_along_dim(self.kept[window], dim=1)
            self.positions[window] = torch.cat([stored, positions], dim=1)
            self.kept[window] = still_visible(self.positions[window], window)

    def key_positions(self, block: int) -> Int[Tensor, "batch keys"]:
        """The positions of the tokens that the block kept, then those of the new ones."""
        return self.positions[self.windows[block]]

    def update(self, block: int, key: NewKey, value: NewValue) -> tuple[Keys, Values]:
        """Gives what one block kept and what is new, and keeps what later tokens can see of both."""
        if block in self.keys:
            key = torch.cat([self.keys[block], key], dim=2)
            value = torch.cat([self.values[block], value], dim=2)
        kept = self.kept[self.windows[block]][:, None, :, None]
        self.keys[block] = key.take_along_dim(kept, dim=2)
        self.values[block] = value.take_along_dim(kept, dim=2)
        return key, value

    @property
    def n_bytes(self) -> int:
        """The bytes of the keys and values that are kept between two passes."""
        return bytes_of(*self.keys.values(), *self.values.values())


def still_visible(positions: Int[Tensor, "batch keys"], window: int | None) -> Int[Tensor, "batch kept"]:
    """Which tokens of each row a later one can see through the window, in the order in which they came.

    >>> still_visible(torch.tensor([[-1, 0, 1, 2], [0, 1, -1, -1]]), window=3).tolist()
    [[2, 3], [0, 1]]
    """
    forgotten = 0 if window is None else max(positions.shape[1] - (window - 1), 0)
    return positions.argsort(dim=1, stable=True)[:, forgotten:].sort(dim=1).values


def highest_after(
    highest: Int[Tensor, "batch 1"], positions: Int[Tensor, "batch tokens"]
) -> Int[Tensor, "batch 1"]:
    """The highest position of each row once these are read, which must rise; -1 is padding.

    >>> highest_after(torch.tensor([[4]]), torch.tensor([[5, 3]]))
    Traceback (most recent call last):
    ...
    ValueError: a rolling cache reads each row in order, found position 3 after 5 in row 0
    """
    so_far = torch.cat([highest, positions], dim=1).cummax(dim=1).values
    wrong = ((positions >= 0) & (positions <= so_far[:, :-1])).nonzero().tolist()
    if wrong:
        row, token = wrong[0]
        raise ValueError(
            f"a rolling cache reads each row in order, found position {int(positions[row, token])} "
            f"after {int(so_far[row, token])} in row {row}"
        )
    return so_far[:, -1:]
