"""Sharing keys and values: each key/value head is repeated for the query heads of its group."""

from torch import Tensor

from llmref.attention import attention_weights, combine, relevance_scores


def shared_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
    return combine(attention_weights(relevance_scores(query, key), allowed), value)
