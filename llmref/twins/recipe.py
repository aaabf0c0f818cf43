"""What the twins are: one small base model, and others alike but for one difference."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from functools import cache
from itertools import islice
from typing import Any

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
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
}


def twin(attention: AttentionConfig, **rest: str) -> ModelConfig:
    """A twin from its attention layer, the same in every block; its tokenizer is the tiny model's.

    >>> twin(BASE).d_model
    64
    """
    block = BlockConfig(attention, FeedForwardConfig(d_ff=128))
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
    "base": twin(BASE),
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
}


def fits(tokenizer: Tokenizer, text: str) -> bool:
    """Whether a text is a short one: it fits into the context, with the token that begins it."""
    return len(tokenizer.encode(text)) < CONTEXT_LENGTH


class ShortDocuments:
    """The documents of each training step: fresh ones from the world, the short ones among them.

    They are statements of facts, lists of words, and the fables in which "it" stands for an animal: about
    three in ten of the world's documents. Short rows make a twin a matter of two minutes.

    >>> documents = ShortDocuments(seed=0)
    >>> documents(7, 2) == documents(7, 2), documents(7, 2) == documents(8, 2)
    (True, False)
    """

    def __init__(self, seed: int) -> None:
        self.world, self.seed = World(), seed
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
def recipe_hash() -> str:
    """A digest of all that the results depend on: the twins, their training, the world, the tokenizer.

    Results that carry another digest were made by another recipe: `make twins` makes them again.
    """
    _, tokenizer = load_tiny()
    first = [ShortDocuments(seed)(0, TRAINING.documents_per_step) for seed in SEEDS]
    recipe = {
        "twins": {name: chosen(config) for name, config in TWINS.items()},
        "training": asdict(TRAINING),
        "seeds": SEEDS,
        "measured": [HELD_OUT_DOCUMENTS, QUESTIONS],
        "documents": [[tokenizer.encode(text) for text in texts] for texts in first],
    }
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
