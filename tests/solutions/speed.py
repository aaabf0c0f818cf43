"""Speed: what a decode step reads, divided by the bandwidth."""

from llmref.model import Transformer


def floor_milliseconds(model: Transformer, context: int, bandwidth: float) -> float:
    weights = sum(parameter.nbytes for parameter in model.parameters())
    if not model.config.tied_embeddings:
        weights -= model.embedding.weight.nbytes
    number = model.embedding.weight.element_size()
    per_token = sum(
        2 * block.attention.n_kv_heads * block.attention.head_dim * number for block in model.config.blocks
    )
    return (weights + context * per_token) / bandwidth * 1000
