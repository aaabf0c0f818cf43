"""A model prepared for generation: the same calls as `Transformer`, faster.

Nothing here says what a model computes. The stack is `Transformer.stack`; it is given other linear layers, a
place for its keys that a compiler can follow, and a compiler.
"""

from copy import deepcopy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmref.attention.masks import Mask
from llmref.cache import Cache, StaticCache
from llmref.fast.compiled import compiled, head_of, step_of
from llmref.fast.experts import gather_experts
from llmref.fast.graphed import GraphedStep
from llmref.fast.joined import join_projections
from llmref.fast.linear import make_fast
from llmref.model import Transformer


class Decoder(Transformer):
    """What `prepare` makes of a model. Generation takes it as it takes the model.

    A step of one token with a cache from `new_cache` is compiled; on a GPU it is a CUDA graph, and asks for
    nothing that the CPU would have to wait for. All else runs as it is, with the packed weights where there
    are any: prompts, batches on a CPU, other caches.

    Args:
        model: A model of its own, with its layers replaced.
        backend: As of `prepare`.
    """

    def __init__(self, model: Transformer, backend: str | None) -> None:
        nn.Module.__init__(self)
        self.config, self.positional_embedding = model.config, model.positional_embedding
        for name, part in model.named_children():
            setattr(self, name, part)
        self.step, self.head = step_of(self), head_of(self)
        self.fast_step, self.fast_head = self.step, self.head
        if backend is not None:
            self.fast_step, self.fast_head = compiled(self, self.new_cache(1, 5), backend)
        self.graphed = GraphedStep(self.fast_step) if self.device.type == "cuda" else None

    @torch.inference_mode(False)
    def new_cache(self, rows: int, length: int) -> StaticCache:
        """An empty cache for so many texts of at most so many tokens, allocated now."""
        return StaticCache(self.config, length, rows, self.device, self.dtype)

    @torch.inference_mode()
    def hidden_states(
        self,
        ids: Int[Tensor, "batch tokens"],
        positions: Int[Tensor, "batch tokens"],
        cache: Cache | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """What `Transformer.hidden_states` gives.

        Raises:
            ValueError: As there; but a step of one token is not checked, for a model writes no other tokens
                than there are, and the cache knows how many it holds.
        """
        if not isinstance(cache, StaticCache) or mask is not None:
            return super().hidden_states(ids, positions, cache, mask)
        rows, tokens = ids.shape
        # Made here, whoever made those and however they lie in memory: a compiled step asks for the same.
        ids, positions = (x.clone(memory_format=torch.contiguous_format) for x in (ids, positions))
        if tokens > 1 or cache.n_tokens == 0:
            self.check(ids, positions)
        start = cache.n_tokens
        cache.extend(positions)
        slots = torch.arange(start, start + tokens, device=self.device)
        if tokens == 1 and self.graphed is not None:
            return self.graphed(ids, positions, slots, cache)
        # What was made in inference mode is another kind of tensor, for which all would be compiled again.
        fast = tokens == rows == 1 and start > 0 and not cache.keys[0].is_inference()
        step = self.fast_step if fast else self.step
        return step(ids, positions, cache.positions[:, : start + tokens], slots, cache.keys, cache.values)

    @torch.inference_mode()
    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """What `Transformer.logits` gives."""
        if hidden.shape[:-1].numel() > 1:
            return self.head(hidden)
        return self.fast_head(hidden.flatten()).view(*hidden.shape[:-1], -1)


def prepare(model: Transformer, backend: str | None = "inductor", pack: bool = True) -> Decoder:
    """Prepare a model for generation: joined projections, packed weights, a static cache, a compiled step.

    It takes from seconds to a minute or two, most of it the compiler's, and pays for itself over many tokens.
    In float32 the same products are summed in another order; in bfloat16 a compiled step rounds less often.

    Args:
        model: The model, quantized or not. It stays as it is, and shares what weights it can.
        backend: Of `torch.compile`; `None` compiles nothing.
        pack: Whether a CPU gets a second, packed copy of the weights, for prompts and batches.

    Raises:
        RuntimeError: If the step cannot be compiled.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> decoder = prepare(model, backend=None)
    >>> llmref.generate(decoder, tokenizer, "Minji lives in the", max_new_tokens=2, temperature=0)
    ' forest.'
    """
    shared = (*model.parameters(), *model.buffers())
    prepared = deepcopy(model, {id(tensor): tensor for tensor in shared}).eval()
    gather_experts(prepared)
    join_projections(prepared)
    make_fast(prepared, prepared.embedding.weight.dtype if pack else None)
    return Decoder(prepared, backend)
