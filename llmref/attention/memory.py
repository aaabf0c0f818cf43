"""Two meters: the bytes that cross between slow and fast memory, and the most bytes held at once."""

import weakref
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass
class SlowMemory:
    """Counts what is loaded from slow memory and what is stored there, in bytes.

    >>> import torch
    >>> memory = SlowMemory()
    >>> row = memory.load(torch.zeros(4))
    >>> row = memory.store(2 * row)
    >>> memory.loaded, memory.stored, memory.moved
    (16, 16, 32)
    """

    loaded: int = 0
    stored: int = 0

    @property
    def moved(self) -> int:
        """Bytes in both directions."""
        return self.loaded + self.stored

    def load(self, tensor: Tensor) -> Tensor:
        """The tensor, counted as read."""
        self.loaded += tensor.numel() * tensor.element_size()
        return tensor

    def store(self, tensor: Tensor) -> Tensor:
        """The tensor, counted as written."""
        self.stored += tensor.numel() * tensor.element_size()
        return tensor


class PeakMemory(TorchDispatchMode):
    """Inside a `with` block, counts the most bytes of new tensors that are alive at once: its `peak`.

    What a kernel holds inside a single operation is not seen.

    >>> import torch
    >>> with PeakMemory() as memory:
    ...     for _ in range(3):
    ...         x = torch.zeros(1000)  # the old x is still there while the new one is made
    >>> memory.peak
    8000
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._held = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation: what it reads was there before, what it gives may be new."""
        self._see((args, kwargs), new=False)
        result = operation(*args, **(kwargs or {}))
        self._see(result, new=True)
        return result

    def _see(self, tensors: Any, new: bool) -> None:
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._seen:
                storage = tensor.untyped_storage()
                name, size = storage._cdata, storage.nbytes() if new else 0
                self._seen[name] = weakref.ref(storage, partial(self._free, name, size))

                self._held += size
                self.peak = max(self.peak, self._held)

    def _free(self, name: int, size: int, _: Any) -> None:
        del self._seen[name]
        self._held -= size
