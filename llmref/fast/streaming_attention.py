"""Attention of one query, as products and sums: a compiler makes loops of them.

Each key and each value is read once, where the cache keeps it, and the sums are float32; see
`streaming_linear`.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from llmref.attention.scoring import PLAIN, Scoring


def streamed_attention(
    query: Float[Tensor, "batch heads 1 head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    allowed: Bool[Tensor, "batch 1 keys"],
    scoring: Scoring = PLAIN,
) -> Float[Tensor, "batch heads 1 value_dim"]:
    """What `llmref.attention.attend` gives, for one query of each head.

    >>> import torch

    >>> from llmref.attention import attend
    >>> query, (key, value) = torch.randn(1, 4, 1, 8), torch.randn(2, 1, 2, 5, 8)
    >>> allowed = torch.tensor([[[True, True, False, True, False]]])
    >>> streamed, plain = (run(query, key, value, allowed) for run in (streamed_attention, attend))
    >>> torch.allclose(streamed, plain, atol=1e-6)
    True
    """
    kv_heads, head_dim = key.shape[1], query.shape[-1]
    grouped = query.unflatten(1, (kv_heads, -1)).float() * scoring.scale_for(head_dim)
    # batch, kv_heads, group, keys: the heads of a group share what they read
    scores = (grouped * key[:, :, None].float()).sum(dim=-1)
    weights = scoring.weights(scoring.bent(scores.flatten(1, 2)[:, :, None]), allowed)
    shared = weights[:, :, 0].unflatten(1, (kv_heads, -1))
    mixed = (shared[..., None] * value[:, :, None].float()).sum(dim=-2)
    return mixed.flatten(1, 2)[:, :, None].to(query.dtype)
