"""The loss of a language model: how surprised it is by each next token."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmref.attention.masks import causal, documents
from llmref.mixture_of_experts import Router, balancing_loss
from llmref.model import Transformer
from llmref.training.data import IGNORE, Batch


def next_token_loss(model: Transformer, batch: Batch) -> Float[Tensor, ""]:
    """The mean cross entropy over all real targets of a batch, in nats per token.

    >>> from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
    >>> from llmref.training.data import pack
    >>> block = BlockConfig(AttentionConfig(2, 1, 8), FeedForwardConfig(64))
    >>> model = Transformer(ModelConfig(vocab_size=50, d_model=16, context_length=8, blocks=(block,)))
    >>> _ = torch.nn.init.zeros_(model.final_norm.weight)  # all logits are 0: it knows nothing
    >>> loss = next_token_loss(model, pack([[5, 6], [7]], length=8, bos_id=1, eos_id=2))
    >>> round(loss.item(), 4), round(torch.tensor(50).log().item(), 4)
    (3.912, 3.912)
    """
    mask = causal() & documents(batch.documents)
    logits = model(batch.ids, batch.positions, mask=mask)
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), batch.targets.flatten(), ignore_index=IGNORE
    )


def training_losses(model: Transformer, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The next-token loss, and the balancing loss of the same pass, summed over the routers of all blocks.

    Padding counts in neither. The second is 0 for a model without a mixture of experts.
    """
    with routing(model) as (scores, choices):
        loss = next_token_loss(model, batch)
    real = batch.positions >= 0
    parts = [balancing_loss(one[real], other[real]) for one, other in zip(scores, choices, strict=True)]
    return loss, torch.stack(parts).sum() if parts else torch.zeros_like(loss)


@contextmanager
def routing(model: nn.Module) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Keep the scores and the choices of a model's routers inside a `with` block, block after block.

    >>> from llmref.config import FeedForwardConfig, MixtureConfig
    >>> from llmref.mixture_of_experts import MixtureOfExperts
    >>> layer = MixtureOfExperts(MixtureConfig(4, n_active=2, expert=FeedForwardConfig(d_ff=8)), d_model=16)
    >>> with routing(layer) as (scores, choices):
    ...     _ = layer(torch.zeros(1, 3, 16))
    >>> scores[0].shape, choices[0].shape
    (torch.Size([1, 3, 4]), torch.Size([1, 3, 2]))
    """
    seen: dict[str, list[Tensor]] = {"scores": [], "choices": []}
    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, Router):
                for name, kept in seen.items():
                    hooks.callback(module.sites[name].register_forward_hook(_keeper(kept)).remove)
        yield seen["scores"], seen["choices"]


def _keeper(kept: list[Tensor]) -> Callable[..., None]:
    return lambda site, inputs, output: kept.append(output)
