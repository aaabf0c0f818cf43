"""What the tiny model is made of, and how it is trained: every number in one place."""

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.corpus import World
from llmref.tokenizer import Tokenizer
from llmref.training import TrainingConfig

VOCAB_SIZE = 2048
TOKENIZER_DOCUMENTS = 20_000
SEED = 1

TRAINING = TrainingConfig(
    steps=3200,
    documents_per_step=64,
    learning_rate=4e-3,
    warmup_steps=100,
    weight_decay=0.1,
    clip_norm=1.0,
    precision="float32",
    checkpoint_every=200,
)


def model_config(tokenizer: Tokenizer) -> ModelConfig:
    """A plain modern model of a million parameters: RoPE, RMSNorm, gated feedforward, grouped queries."""
    block = BlockConfig(
        attention=AttentionConfig(n_heads=4, n_kv_heads=2, head_dim=32),
        feedforward=FeedForwardConfig(d_ff=320),
    )
    end = tokenizer.special_tokens["<|endoftext|>"]
    return ModelConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=128,
        context_length=256,
        blocks=(block,) * 5,
        bos_id=end,
        eos_id=end,
    )


class WorldDocuments:
    """The documents of each training step: fresh ones from the world, a function of the seed and the step.

    >>> documents = WorldDocuments(seed=0)
    >>> documents(7, 2) == documents(7, 2), documents(7, 2) == documents(8, 2)
    (True, False)
    """

    def __init__(self, seed: int) -> None:
        self.world, self.seed = World(), seed

    def __call__(self, step: int, count: int) -> list[str]:
        return list(self.world.documents(count, seed=self.seed * 1_000_000 + step))
