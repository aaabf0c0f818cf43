"""The loss of a language model: how surprised it is by each next token."""

import torch
from jaxtyping import Float
from torch import Tensor

from llmref.attention.masks import causal, documents
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
