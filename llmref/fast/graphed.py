"""The step as CUDA graphs: recorded once, then started whole, so that no kernel waits for Python.

A graph repeats the same kernels on the same memory. So a step's input is copied to where the graph reads it,
the cache stays where it is, and the number of slots that are seen goes up in powers of two, a graph for each.
Source: Nguyen et al., "Accelerating PyTorch with CUDA Graphs" (PyTorch blog, 2021).
"""

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from llmref.cache import StaticCache
from llmref.fast.compiled import Step

FEWEST = 128  # slots that a graph sees at least

Record = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]


def bucket(used: int, length: int) -> int:
    """How many slots a step sees: the next power of two, but no more than there are.

    >>> bucket(5, 1000), bucket(129, 1000), bucket(600, 1000)
    (128, 256, 1000)
    """
    return min(max(1 << (used - 1).bit_length(), FEWEST), length)


def record_cuda_graph(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """What `run` does, recorded: the function that is returned does it again, on the same memory.

    `run` must give the same when it is run twice, for here it is, before it is recorded.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # compilers and libraries set themselves up outside of a recording
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


class GraphedStep:
    """A step that is recorded for each cache and each bucket when it comes to it, and replayed from then on.

    Args:
        step: The step, compiled or not, as a function of tensors alone.
        record: What records; a test can give one that does without a GPU.
    """

    def __init__(self, step: Step, record: Record = record_cuda_graph) -> None:
        self.step, self.record = step, record
        self.recorded: WeakKeyDictionary[StaticCache, _Recordings] = WeakKeyDictionary()

    def __call__(self, ids: Tensor, positions: Tensor, slots: Tensor, cache: StaticCache) -> Tensor:
        """The hidden states of a step, for which the cache was extended."""
        recordings = self.recorded.get(cache)
        if recordings is None or recordings.memory is not cache.positions:
            # Its rows were selected: what was recorded goes, and the memory with it.
            recordings = self.recorded[cache] = _Recordings(cache.positions, {})
        seen = bucket(cache.used, cache.length)
        if seen not in recordings.by_seen:
            recordings.by_seen[seen] = _Recording(self, ids, positions, slots, seen, cache)
        return recordings.by_seen[seen](ids, positions, slots)


class _Recordings(NamedTuple):
    """Those of one cache, as long as it stays in its memory."""

    memory: Tensor
    by_seen: dict[int, "_Recording"]


class _Recording:
    """One recorded step, and the memory that it reads its input from."""

    def __init__(
        self,
        graphed: GraphedStep,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        seen: int,
        cache: StaticCache,
    ) -> None:
        self.inputs = ids.clone(), positions.clone(), slots.clone()
        own_ids, own_positions, own_slots = self.inputs
        # The graph keeps the memory of these alive, and not the cache itself: it goes when nobody has it.
        seen_positions, keys, values = cache.positions[:, :seen], list(cache.keys), list(cache.values)
        self.replay = graphed.record(
            lambda: graphed.step(own_ids, own_positions, seen_positions, own_slots, keys, values)
        )

    def __call__(self, *inputs: Tensor) -> Tensor:
        for own, new in zip(self.inputs, inputs, strict=True):
            own.copy_(new)
        return self.replay().clone()  # the next replay writes over it
