"""One decode step, and the LM head, each compiled whole: the compiler sees the reference's own functions."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmref.cache import StaticCache
from llmref.fast.slots import SeenSlots
from llmref.model import Transformer

WRITE_OUT = {"realize_reads_threshold": 0, "realize_opcount_threshold": 0}
"""To Inductor, the compiler: make a vector once and keep it, not anew for every row of a matrix."""

Step = Callable[[Tensor, Tensor, Tensor, Tensor, list[Tensor], list[Tensor]], Tensor]
Head = Callable[[Tensor], Tensor]


def step_of(model: Transformer) -> Step:
    """The stack as a function of tensors alone, so that nothing in it changes from step to step."""

    def step(
        ids: Int[Tensor, "batch tokens"],
        positions: Int[Tensor, "batch tokens"],
        seen: Int[Tensor, "batch seen"],
        slots: Int[Tensor, "tokens"],
        keys: list[Tensor],
        values: list[Tensor],
    ) -> Float[Tensor, "batch tokens d_model"]:
        return model.stack(ids, positions, SeenSlots(seen, slots, keys, values))

    return step


def head_of(model: Transformer) -> Head:
    """The LM head as a function."""

    def head(hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        return Transformer.logits(model, hidden)

    return head


@torch.inference_mode()
def compiled(model: Transformer, cache: StaticCache, backend: str) -> tuple[Step, Head]:
    """The step and the head, compiled now, for one token of one row.

    The numbers of slots, of the cache's and of those seen, are the only sizes that stay open: a longer text
    or another cache compiles nothing again.

    Args:
        model: The model, prepared.
        cache: An empty cache of one row, to try them on.
        backend: Of `torch.compile`.

    Raises:
        RuntimeError: If the compiler fails; it says how to do without.
    """
    step, head = step_of(model), head_of(model)
    for function in (step, head):  # the compiler counts by code how often it compiled: each model its own
        function.__code__ = function.__code__.replace()
    options: dict[str, Any] | None = WRITE_OUT if backend == "inductor" else None
    fast_step = torch.compile(step, backend=backend, fullgraph=True, options=options)
    fast_head = torch.compile(head, backend=backend, fullgraph=True)
    tokens = 2  # sizes of 0 and 1 would be compiled as constants
    ids, positions = (torch.zeros(1, 1, dtype=torch.long, device=model.device) for _ in range(2))
    slots = torch.arange(1, device=model.device)
    seen = cache.positions[:, :tokens]
    torch._dynamo.mark_dynamic(seen, 1)
    for stored in (*cache.keys, *cache.values):
        torch._dynamo.mark_dynamic(stored, 2)
    try:
        hidden = fast_step(ids, positions, seen, slots, cache.keys, cache.values)
        fast_head(hidden.flatten())
    except Exception as error:
        raise RuntimeError(
            f"the decode step could not be compiled ({type(error).__name__}): torch.compile needs a C++ "
            f"compiler such as g++ on a CPU, and Triton on a GPU; prepare(model, backend=None) "
            f"does without.\n{error}"
        ) from error
    return fast_step, fast_head
