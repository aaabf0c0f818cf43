"""The transformer LLM: token embedding, a stack of blocks, a final norm, and the LM head."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmref.attention.backends import Backend, check_backend
from llmref.attention.heads import MultiHeadAttention
from llmref.attention.latent import LatentAttention
from llmref.attention.masks import Mask, PlacedMask, causal, window
from llmref.attention.scoring import soft_cap
from llmref.block import TransformerBlock
from llmref.cache import Cache
from llmref.config import ModelConfig
from llmref.embedding import TokenEmbedding
from llmref.normalization import make_norm
from llmref.positions import LearnedPositions, SinusoidalPositions
from llmref.sites import sites


def sequential_positions(ids: Int[Tensor, "batch tokens"], start: int = 0) -> Int[Tensor, "batch tokens"]:
    """Positions that count up from `start`, the same in every row: those of text with no padding.

    >>> sequential_positions(torch.tensor([[7, 7, 7]]), start=5).tolist()
    [[5, 6, 7]]
    """
    return torch.arange(start, start + ids.shape[1], device=ids.device).expand(ids.shape)


class Transformer(nn.Module):
    """A transformer LLM: token ids in, logits over the vocabulary out, one row of logits for every token.

    >>> from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig
    >>> block = BlockConfig(AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8), FeedForwardConfig(d_ff=64))
    >>> model = Transformer(ModelConfig(vocab_size=50, d_model=16, context_length=32, blocks=(block, block)))
    >>> ids = torch.tensor([[1, 2, 3]])
    >>> model(ids, sequential_positions(ids)).shape
    torch.Size([1, 3, 50])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = TokenEmbedding(config.vocab_size, config.d_model)
        self.embedding_norm = (
            make_norm(config.norm, config.d_model) if config.embedding_norm else nn.Identity()
        )
        self.positional_embedding: nn.Module | None = None
        if config.positional_embedding == "learned":
            self.positional_embedding = LearnedPositions(config.context_length, config.d_model)
        elif config.positional_embedding == "sinusoidal":
            self.positional_embedding = SinusoidalPositions(config.d_model)
        self.blocks = nn.ModuleList(TransformerBlock(block, config.d_model) for block in config.blocks)
        self.final_norm = make_norm(config.norm, config.d_model)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.sites = sites("embedding", "final_norm", "logits")
        self.initialize()

    def initialize(self) -> None:
        """Draw fresh weights: a matrix that reads n inputs starts normal with deviation 1 / sqrt(n).

        So every layer passes on about the size it gets. Each of the 2 x n_blocks layers that add to the
        residual stream starts smaller by sqrt(2 x n_blocks), so that the stream's size does not depend on the
        depth (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3).
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                std = parameter.shape[1] ** -0.5
                if name.endswith(("attention.output.weight", ".down.weight")):
                    std /= math.sqrt(2 * len(self.blocks))
                nn.init.normal_(parameter, std=std)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        if self.config.tied_embeddings:
            self.lm_head.weight = self.embedding.weight

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        positions: Int[Tensor, "batch tokens"],
        cache: Cache | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "batch tokens vocab"]:
        """The logits of the token that follows each token.

        Args:
            ids: Token ids, in 0 … vocab_size - 1.
            positions: Where each token stands, below `context_length`; -1 for padding, which nobody sees.
            cache: Holds the keys and values of the tokens before these, and takes those of these.
            mask: Who may look at whom; `causal()` if not given. A block's window is added to it.

        Raises:
            ValueError: If an id or a position is out of range, or the cache is full.
        """
        hidden = self.hidden_states(ids, positions, cache, mask)
        return self.sites["logits"](self.logits(hidden))

    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """What the LM head makes of `hidden_states`: one number for each entry of the vocabulary."""
        logits = self.lm_head(hidden)
        if self.config.logit_multiplier != 1.0:
            logits = logits * self.config.logit_multiplier
        return logits if self.config.logit_soft_cap is None else soft_cap(logits, self.config.logit_soft_cap)

    def hidden_states(
        self,
        ids: Int[Tensor, "batch tokens"],
        positions: Int[Tensor, "batch tokens"],
        cache: Cache | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """What the LM head reads: the residual stream after the last block, normalized."""
        self._check(ids, positions)
        if cache is not None:
            cache.extend(positions)
        placed = self._placed(positions, cache, causal() if mask is None else mask)

        x = self.sites["embedding"](self.embedding(ids))
        if self.config.embedding_multiplier != 1.0:  # rounded as the weights are: so the models were trained
            x = x * torch.tensor(self.config.embedding_multiplier, dtype=x.dtype)
        x = self.embedding_norm(x)
        if self.positional_embedding is not None:
            x = x + self.positional_embedding(positions)
        for index, (block, config) in enumerate(zip(self.blocks, self.config.blocks, strict=True)):
            update = None if cache is None else partial(cache.update, index)
            allowed, key_positions = placed[config.attention.window]
            x = block(x, positions, allowed, update, key_positions)
        return self.sites["final_norm"](self.final_norm(x))

    def _placed(
        self, positions: Int[Tensor, "batch tokens"], cache: Cache | None, mask: Mask
    ) -> dict[int | None, tuple[PlacedMask, Int[Tensor, "batch keys"]]]:
        """For each window of the stack: who may look at whom, and where the keys stand."""
        placed = {}
        for index, config in enumerate(self.config.blocks):
            size = config.attention.window
            if size not in placed:
                key_positions = positions if cache is None else cache.key_positions(index)
                whole = mask if size is None else mask & window(size)
                placed[size] = whole.at(positions, key_positions), key_positions
        return placed

    def _check(self, ids: Tensor, positions: Tensor) -> None:
        if ids.numel() == 0:
            raise ValueError(
                f"a forward pass needs at least one token, found ids of shape {tuple(ids.shape)}"
            )
        if ids.shape != positions.shape:
            raise ValueError(
                f"every token needs a position, found ids of shape {tuple(ids.shape)} "
                f"and positions of shape {tuple(positions.shape)}"
            )
        if ids.min() < 0 or ids.max() >= self.config.vocab_size:
            wrong = int(ids[(ids < 0) | (ids >= self.config.vocab_size)][0])
            raise ValueError(f"token ids must be from 0 to {self.config.vocab_size - 1}, found {wrong}")
        if positions.min() < -1:
            raise ValueError(f"positions must be from 0, or -1 for padding, found {int(positions.min())}")
        if positions.max() >= self.config.context_length:
            raise ValueError(
                f"this model's context length is {self.config.context_length}, "
                f"so positions end at {self.config.context_length - 1}; found {int(positions.max())}"
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    @property
    def n_parameters(self) -> int:
        """How many numbers were trained; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @contextmanager
    def attention_backend(self, backend: Backend) -> Iterator[None]:
        """Run attention another way inside a `with` block; `llmref.attention.backends` names them.

        Raises:
            ValueError: If there is no such backend.
        """
        check_backend(backend)
        layers = [
            module for module in self.modules() if isinstance(module, MultiHeadAttention | LatentAttention)
        ]
        before = [layer.backend for layer in layers]
        for layer in layers:
            layer.backend = backend
        try:
            yield
        finally:
            for layer, name in zip(layers, before, strict=True):
                layer.backend = name
