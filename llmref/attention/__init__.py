"""Attention: the two steps, the masks, the heads, and the ways to run them."""

from llmref.attention.backends import attend
from llmref.attention.dot_product import attention_weights, combine, dot_product_attention, relevance_scores
from llmref.attention.heads import MultiHeadAttention
from llmref.attention.latent import LatentAttention
from llmref.attention.masks import (
    Mask,
    PlacedMask,
    blocks,
    causal,
    documents,
    global_tokens,
    random_blocks,
    strided,
    window,
)

__all__ = [
    "LatentAttention",
    "Mask",
    "MultiHeadAttention",
    "PlacedMask",
    "attend",
    "attention_weights",
    "blocks",
    "causal",
    "combine",
    "documents",
    "dot_product_attention",
    "global_tokens",
    "random_blocks",
    "relevance_scores",
    "strided",
    "window",
]
