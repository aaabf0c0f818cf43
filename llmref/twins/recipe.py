"""What the twins are: one small base model, and others alike but for one difference."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from itertools import islice
from typing import Any

from llmref.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    LatentAttentionConfig,
    MixtureConfig,
    ModelConfig,
)
from llmref.corpus import World
from llmref.tiny import load_tiny
from llmref.tokenizer import Tokenizer
from llmref.training import TrainingConfig

SEEDS = (1, 2, 3)
N_BLOCKS = 3
CONTEXT_LENGTH = 64
HELD_OUT_DOCUMENTS = 2000
QUESTIONS = 500

TRAINING = TrainingConfig(
    steps=1200,
    documents_per_step=64,
    learning_rate=6e-3,
    warmup_steps=50,
    weight_decay=0.1,
    clip_norm=1.0,
    precision="float32",
    checkpoint_every=400,
)

BASE = AttentionConfig(n_heads=4, n_kv_heads=4, head_dim=16)
DENSE = FeedForwardConfig(d_ff=128)
HALF = FeedForwardConfig(d_ff=64)  # an expert: the two that a token goes to are as wide together as DENSE

# Of a token the cache keeps 24 + 8 numbers, as many as "mqa" keeps, and a quarter of what the base keeps.
# The rotated part is half as wide as the plain one, and that as a value: DeepSeek-V2 (2024), section 3.1.2.
LATENT = LatentAttentionConfig(n_heads=4, latent_dim=24, plain_dim=16, rotated_dim=8, value_dim=16)

# Each comparison: what a twin is called in it, and the twin. All that they have in common is the base's.
COMPARISONS: dict[str, dict[str, str]] = {
    "heads": {"1": "heads-1", "2": "heads-2", "4": "base", "8": "heads-8"},
    "sharing": {"MHA": "base", "GQA": "gqa", "MQA": "mqa"},
    "positions": {
        "none": "positions-none",
        "sinusoidal": "positions-sinusoidal",
        "learned": "positions-learned",
        "ALiBi": "positions-alibi",
        "RoPE": "base",
    },
    "window": {"4": "window-4", "8": "window-8", "16": "window-16", "all": "base"},
    "latent": {"MHA": "base", "GQA": "gqa", "MQA": "mqa", "MLA": "latent"},
    "experts": {
        "dense": "base",
        "4 experts": "experts-4",
        "8 experts": "experts",
        "dense, 4 times as wide": "wide",
    },
    "balancing": {"dense": "base", "with": "experts", "without": "experts-unbalanced"},
}


def twin(
    attention: AttentionConfig | LatentAttentionConfig = BASE,
    feedforward: FeedForwardConfig | MixtureConfig = DENSE,
    **rest: str,
) -> ModelConfig:
    """A twin from its layers, the same in every block; its tokenizer is the tiny model's.

    >>> twin(BASE).d_model
    64
    """
    block = BlockConfig(attention, feedforward)
    config = ModelConfig(
        vocab_size=2048,
        d_model=64,
        context_length=CONTEXT_LENGTH,
        blocks=(block,) * N_BLOCKS,
        bos_id=0,
        eos_id=0,
    )
    return replace(config, **rest)  # type: ignore[arg-type]


TWINS: dict[str, ModelConfig] = {
    "base": twin(),
    "heads-1": twin(AttentionConfig(n_heads=1, n_kv_heads=1, head_dim=64)),
    "heads-2": twin(AttentionConfig(n_heads=2, n_kv_heads=2, head_dim=32)),
    "heads-8": twin(AttentionConfig(n_heads=8, n_kv_heads=8, head_dim=8)),
    "gqa": twin(replace(BASE, n_kv_heads=2)),
    "mqa": twin(replace(BASE, n_kv_heads=1)),
    "positions-none": twin(replace(BASE, rope=None)),
    "positions-sinusoidal": twin(replace(BASE, rope=None), positional_embedding="sinusoidal"),
    "positions-learned": twin(replace(BASE, rope=None), positional_embedding="learned"),
    "positions-alibi": twin(replace(BASE, rope=None, alibi=True)),
    "window-4": twin(replace(BASE, window=4)),
    "window-8": twin(replace(BASE, window=8)),
    "window-16": twin(replace(BASE, window=16)),
    "latent": twin(LATENT),
    "experts-4": twin(feedforward=MixtureConfig(4, n_active=2, expert=HALF)),
    "experts": twin(feedforward=MixtureConfig(8, n_active=2, expert=HALF)),
    "experts-unbalanced": twin(feedforward=MixtureConfig(8, n_active=2, expert=HALF)),
    "wide": twin(feedforward=replace(DENSE, d_ff=512)),  # as many numbers as all of 8 experts
}

# What the balancing loss is multiplied by: 0.01 in Switch Transformers (2021), section 2.2; 0 elsewhere.
BALANCING = {"experts-4": 0.01, "experts": 0.01}

KEPT = {"experts": 1}  # Twins of which the weights of one seed are kept, since an experiment looks inside.


def training(twin: str) -> TrainingConfig:
    """How a twin is trained: as all are, but for the balancing of its experts where it has some.

    >>> training("base") == TRAINING, training("experts").balancing
    (True, 0.01)
    """
    return replace(TRAINING, balancing=BALANCING.get(twin, 0.0))


def fits(tokenizer: Tokenizer, text: str) -> bool:
    """Whether a text is a short one: it fits into the context, with the token that begins it."""
    return len(tokenizer.encode(text)) < CONTEXT_LENGTH


@cache
def world() -> World:
    """The world that all twins learn: made once, since that takes seconds."""
    return World()


class ShortDocuments:
    """The documents of each training step: fresh ones from the world, the short ones among them.

    They are statements of facts, lists of words, and the fables in which "it" stands for an animal: about
    three in ten of the world's documents. Short rows make a twin a matter of two minutes.

    >>> documents = ShortDocuments(seed=0)
    >>> documents(7, 2) == documents(7, 2), documents(7, 2) == documents(8, 2)
    (True, False)
    """

    def __init__(self, seed: int) -> None:
        self.world, self.seed = world(), seed
        _, self.tokenizer = load_tiny()

    def __call__(self, step: int, count: int) -> list[str]:
        return list(islice(self._short(self.seed * 1_000_000 + step), count))

    def _short(self, seed: int) -> Iterator[str]:
        endless = self.world.documents(sys.maxsize, seed)
        return (text for text in endless if fits(self.tokenizer, text))


def chosen(value: Any) -> Any:
    """A config as plain values, without the defaults: an option that comes later changes nothing.

    >>> chosen(FeedForwardConfig(d_ff=128))
    {'d_ff': 128}
    """
    if isinstance(value, tuple):
        return [chosen(entry) for entry in value]
    if not is_dataclass(value):
        return value
    kept = {}
    for entry in fields(value):
        default = entry.default if entry.default_factory is MISSING else entry.default_factory()
        if getattr(value, entry.name) != default:
            kept[entry.name] = chosen(getattr(value, entry.name))
    return kept


@cache
def recipe_hash(twin: str) -> str:
    """A digest of all that a twin's results depend on: itself, its training, the world, the tokenizer.

    Results that carry another digest were made by another recipe: `make twins` makes them again.
    """
    recipe = {
        "twin": chosen(TWINS[twin]),
        "training": chosen(training(twin)),
        "seeds": SEEDS,
        "measured": [HELD_OUT_DOCUMENTS, QUESTIONS],
        "documents": _first_documents(),
    }
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()


@cache
def _first_documents() -> list[list[list[int]]]:
    """The tokens of the first step of each seed, which change with the world and with the tokenizer."""
    _, tokenizer = load_tiny()
    first = [ShortDocuments(seed)(0, TRAINING.documents_per_step) for seed in SEEDS]
    return [[tokenizer.encode(text) for text in texts] for texts in first]
