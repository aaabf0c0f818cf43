"""The transformer block: attention, then feedforward, each adding to the residual stream.

Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.1 (post-norm); Xiong et al., "On Layer
Normalization in the Transformer Architecture" (2020), section 3 (pre-norm).
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmref.attention.heads import MultiHeadAttention, Update
from llmref.config import BlockConfig
from llmref.feedforward import FeedForward
from llmref.normalization import make_norm
from llmref.sites import sites


class TransformerBlock(nn.Module):
    """One block. Pre-norm: `x + layer(norm(x))`. Post-norm: `norm(x + layer(x))`.

    >>> import torch
    >>> from llmref.config import AttentionConfig, FeedForwardConfig
    >>> config = BlockConfig(AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8), FeedForwardConfig(d_ff=64))
    >>> block = TransformerBlock(config, d_model=16)
    >>> allowed = torch.ones(1, 3, 3, dtype=torch.bool).tril()
    >>> block(torch.zeros(1, 3, 16), torch.arange(3)[None], allowed).shape
    torch.Size([1, 3, 16])
    """

    def __init__(self, config: BlockConfig, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.attention_norm = make_norm(config.norm, d_model)
        self.attention = MultiHeadAttention(config.attention, d_model)
        self.feedforward_norm = make_norm(config.norm, d_model)
        self.feedforward = FeedForward(config.feedforward, d_model)
        self.sites = sites("input", "middle", "output")

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        positions: Int[Tensor, "batch tokens"],
        allowed: Bool[Tensor, "batch tokens keys"],
        update: Update | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """The residual stream after this block; the arguments are those of `MultiHeadAttention.forward`."""
        x = self.sites["input"](x)
        if self.config.norm_position == "pre":
            x = x + self.attention(self.attention_norm(x), positions, allowed, update)
            x = self.sites["middle"](x)
            x = x + self.feedforward(self.feedforward_norm(x))
        else:
            x = self.attention_norm(x + self.attention(x, positions, allowed, update))
            x = self.sites["middle"](x)
            x = self.feedforward_norm(x + self.feedforward(x))
        return self.sites["output"](x)
