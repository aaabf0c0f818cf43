"""Attention: the two steps, the masks, the heads, and the ways to run them."""

from llmref.attention.backends import attend
from llmref.attention.dot_product import attention_weights, combine, dot_product_attention, relevance_scores
from llmref.attention.heads import MultiHeadAttention
from llmref.attention.masks import Mask, causal, documents, window

__all__ = [
    "Mask",
    "MultiHeadAttention",
    "attend",
    "attention_weights",
    "causal",
    "combine",
    "documents",
    "dot_product_attention",
    "relevance_scores",
    "window",
]
