"""The transformer block: attention, then feedforward, each adding to the residual stream.

Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.1 (post-norm); Xiong et al., "On Layer
Normalization in the Transformer Architecture" (2020), section 3 (pre-norm); Ding et al., "CogView" (2021),
section 2.4 (sandwich); Black et al., "GPT-NeoX-20B" (2022), section 2.1 (parallel).
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmref.attention.heads import MultiHeadAttention, Update
from llmref.attention.latent import LatentAttention
from llmref.attention.masks import PlacedMask
from llmref.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    LatentAttentionConfig,
    MixtureConfig,
)
from llmref.feedforward import FeedForward
from llmref.mixture_of_experts import MixtureOfExperts
from llmref.normalization import make_norm
from llmref.sites import sites


class TransformerBlock(nn.Module):
    """One block. Pre-norm: `x + layer(norm(x))`. Post-norm: `norm(x + layer(x))`.

    Sandwich: `x + norm(layer(norm(x)))`. Output: `x + norm(layer(x))`. Parallel:
    `x + attention(norm(x)) + feedforward(norm(x))`.

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

        def norm(*positions: str) -> nn.Module:
            return make_norm(config.norm, d_model) if config.norm_position in positions else nn.Identity()

        self.attention_norm = norm("pre", "post", "sandwich")
        self.attention = make_attention(config.attention, d_model)
        self.attention_output_norm = norm("output", "sandwich")
        self.feedforward_norm = nn.Identity() if config.shared_norm else norm("pre", "post", "sandwich")
        self.feedforward = make_feedforward(config.feedforward, d_model)
        self.feedforward_output_norm = norm("output", "sandwich")
        self.sites = sites("input", "middle", "output")

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        positions: Int[Tensor, "batch tokens"],
        allowed: Bool[Tensor, "batch tokens keys"] | PlacedMask,
        update: Update | None = None,
        key_positions: Int[Tensor, "batch keys"] | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """The residual stream after this block; the arguments are those of `MultiHeadAttention.forward`."""
        x = self.sites["input"](x)
        attended = self.attention(
            self.read(x, self.attention_norm), positions, allowed, update, key_positions
        )
        middle = self.join(x, self.attention_output_norm(attended), self.attention_norm)
        middle = self.sites["middle"](middle)
        # A parallel feedforward reads what attention read, not what attention left.
        stream = x if self.config.residual == "parallel" else middle
        norm = self.attention_norm if self.config.shared_norm else self.feedforward_norm
        fed = self.feedforward(self.read(stream, norm))
        return self.sites["output"](
            self.join(middle, self.feedforward_output_norm(fed), self.feedforward_norm)
        )

    def read(
        self, stream: Float[Tensor, "batch tokens d_model"], norm: nn.Module
    ) -> Float[Tensor, "batch tokens d_model"]:
        """What a layer reads of the stream: normalized in pre-norm and sandwich."""
        return norm(stream) if self.config.norm_position in ("pre", "sandwich") else stream

    def join(
        self,
        stream: Float[Tensor, "batch tokens d_model"],
        added: Float[Tensor, "batch tokens d_model"],
        norm: nn.Module,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """The stream after a layer has added to it; in post-norm it is normalized then."""
        added = added * self.config.residual_multiplier
        joined = added if self.config.residual == "none" else stream + added
        return norm(joined) if self.config.norm_position == "post" else joined


def make_attention(
    config: AttentionConfig | LatentAttentionConfig, d_model: int
) -> MultiHeadAttention | LatentAttention:
    """The attention layer that a config asks for.

    >>> type(make_attention(AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8), d_model=16)).__name__
    'MultiHeadAttention'
    """
    if isinstance(config, LatentAttentionConfig):
        return LatentAttention(config, d_model)
    return MultiHeadAttention(config, d_model)


def make_feedforward(
    config: FeedForwardConfig | MixtureConfig, d_model: int
) -> FeedForward | MixtureOfExperts:
    """The feedforward layer that a config asks for.

    >>> type(make_feedforward(FeedForwardConfig(d_ff=64), d_model=16)).__name__
    'FeedForward'
    """
    if isinstance(config, MixtureConfig):
        return MixtureOfExperts(config, d_model)
    return FeedForward(config, d_model)
