"""Training: collect the gradient of several batches as if they had been one."""

from llmref.model import Transformer
from llmref.training import Batch, next_token_loss


def accumulate(model: Transformer, batches: list[Batch]) -> float:
    """Leave in the parameters' `grad` the gradient of the mean loss over all tokens of all batches.

    For batches that do not fit into memory together. Take one at a time: `next_token_loss(model, batch)`
    is the mean over the tokens of that batch, `batch.n_targets` says how many they are, and `backward()`
    adds to `grad`. A batch with more tokens counts for more. Forget older gradients first
    (`model.zero_grad()`). What comes back is the mean loss over all tokens.
    """
    raise NotImplementedError("write accumulate()")


# What is checked

from typing import Any

import torch

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.training import pack

DOCUMENTS = ([5, 6, 7, 8, 9, 10, 11], [12, 13], [14], [15, 16, 17])


def _model() -> Transformer:
    torch.manual_seed(0)
    block = BlockConfig(AttentionConfig(2, 1, 8), FeedForwardConfig(32))
    return Transformer(ModelConfig(20, 16, context_length=16, blocks=(block,)))


def _packed(documents: Any) -> Batch:
    return pack(list(documents), length=16, bos_id=1, eos_id=2)


def _compare(answer: Any, parts: list[Batch], before: Batch | None = None) -> None:
    """Hold the answer's gradients against those of one batch that holds all documents."""
    whole, model = _model(), _model()
    loss = next_token_loss(whole, _packed(DOCUMENTS))
    loss.backward()
    if before is not None:
        next_token_loss(model, before).backward()
    found = answer.accumulate(model, parts)
    assert isinstance(found, float), f"expected the mean loss as a float, found {found!r}"
    assert abs(found - loss.item()) < 1e-4, f"expected a mean loss of {loss.item():.4f}, found {found:.4f}"
    for (name, one), other in zip(whole.named_parameters(), model.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None, f"expected a gradient of {name}, found none"
        gap = (one.grad - other.grad).abs().max().item()
        assert gap < 1e-5, f"expected the gradient of one large batch, {name} differs by {gap:.5f}"


def check_one_batch(answer: Any) -> None:
    """With one batch it is that batch's own gradient."""
    _compare(answer, [_packed(DOCUMENTS)])


def check_unequal_batches(answer: Any) -> None:
    """A batch with more tokens counts for more."""
    _compare(answer, [_packed(DOCUMENTS[:1]), _packed(DOCUMENTS[1:3]), _packed(DOCUMENTS[3:])])


def check_older_gradients(answer: Any) -> None:
    """What was in the gradients before does not stay."""
    _compare(answer, [_packed(DOCUMENTS)], before=_packed([[18, 19]]))
