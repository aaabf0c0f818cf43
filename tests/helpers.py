"""What the tests of the core share: small models, and twins to hold them against."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from torch import Tensor

from llmref.attention.masks import Mask
from llmref.cache import Cache, GrowingCache, RollingCache, StaticCache
from llmref.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    LatentAttentionConfig,
    MixtureConfig,
    ModelConfig,
    NormConfig,
    RopeConfig,
    RouterConfig,
)
from llmref.families import FAMILIES
from llmref.model import Transformer, sequential_positions
from llmref.tokenizer import Tokenizer

torch.set_num_threads(1)
# A busy machine must not turn a test red: no deadlines, and the same examples every time.
settings.register_profile(
    "core",
    deadline=None,
    derandomize=True,
    max_examples=30,
    phases=[Phase.explicit, Phase.generate],  # the examples are small; shrinking them takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("core")

VOCAB_SIZE = 61
CONTEXT_LENGTH = 48


def published_models() -> dict[str, dict[str, Any]]:
    """The dated config files of `docs/models/` whose family is known, by name."""
    files = sorted((Path(__file__).parent.parent / "docs" / "models").glob("*.json"))
    models = {file.stem: json.loads(file.read_text("utf-8")) for file in files}
    return {name: model for name, model in models.items() if model["config"]["model_type"] in FAMILIES}


def small_config(
    *,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    head_dim: int = 6,
    window: int | None = None,
    layout: str | None = "half",
    norm_position: str = "pre",
    residual: str = "serial",
    alibi: bool = False,
    norm: str = "rms",
    gated: bool = True,
    activation: str = "silu",
    bias: bool = False,
    n_blocks: int = 2,
    **rest: Any,
) -> ModelConfig:
    """A config of odd sizes, so that no two dimensions can be taken for each other."""
    rope = None if layout is None else RopeConfig(base=100.0, layout=layout)  # type: ignore[arg-type]
    block = BlockConfig(
        AttentionConfig(n_heads, n_kv_heads, head_dim, window, bias, rope, alibi, output_bias=bias),
        FeedForwardConfig(29, activation, gated, bias),  # type: ignore[arg-type]
        NormConfig(norm),  # type: ignore[arg-type]
        norm_position,  # type: ignore[arg-type]
        residual,  # type: ignore[arg-type]
    )
    fields: dict[str, Any] = dict(
        vocab_size=VOCAB_SIZE, d_model=20, context_length=CONTEXT_LENGTH, norm=block.norm
    )
    return ModelConfig(blocks=(block,) * n_blocks, **(fields | rest))


def latent_mixture_config(**rest: Any) -> ModelConfig:
    """A config of odd sizes whose blocks have latent attention and a mixture of experts."""
    block = BlockConfig(
        LatentAttentionConfig(
            n_heads=3,
            latent_dim=7,
            plain_dim=5,
            rotated_dim=4,
            value_dim=6,
            query_latent_dim=11,
            bias=True,
            rope=RopeConfig(base=100.0, layout="interleaved"),
        ),
        MixtureConfig(
            n_experts=6,
            n_active=2,
            expert=FeedForwardConfig(13),
            shared=FeedForwardConfig(9),
            router=RouterConfig("sigmoid", multiplier=2.5, choice_bias=True, n_groups=3, n_active_groups=2),
        ),
    )
    return replace(small_config(**rest), blocks=(block,) * 2)


@cache
def small_model(
    config: ModelConfig | None = None, seed: int = 0, dtype: torch.dtype | None = None
) -> Transformer:
    """A model with weights large enough that its logits differ; do not change it, it is shared."""
    return fresh_model(config, seed, dtype)


def fresh_model(
    config: ModelConfig | None = None, seed: int = 0, dtype: torch.dtype | None = None
) -> Transformer:
    """The same model, to be changed at will."""
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(config or small_config())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if name.endswith("norm.weight") else 0.3 * noise)
    return model.to(dtype).eval()


def random_ids(*shape: int, seed: int = 0, low: int = 0, high: int = VOCAB_SIZE) -> Tensor:
    """Token ids."""
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def logits_of(model: Transformer, ids: Tensor, mask: Mask | None = None) -> Tensor:
    """One whole pass without a cache."""
    with torch.no_grad():
        return model(ids, sequential_positions(ids), mask=mask)


def left_padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ragged rows as one batch, padded on the left: ids, and positions of -1 in the padding."""
    width = max(map(len, rows))
    ids = [[0] * (width - len(row)) + list(row) for row in rows]
    positions = [[-1] * (width - len(row)) + list(range(len(row))) for row in rows]
    return torch.tensor(ids), torch.tensor(positions)


def right_padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """The same, padded on the right."""
    width = max(map(len, rows))
    ids = [list(row) + [0] * (width - len(row)) for row in rows]
    positions = [list(range(len(row))) + [-1] * (width - len(row)) for row in rows]
    return torch.tensor(ids), torch.tensor(positions)


CACHES = ("growing", "static", "rolling")


def make_cache(kind: str, config: ModelConfig, batch: int = 1, dtype: torch.dtype = torch.float32) -> Cache:
    """A cache of each kind that keeps numbers as they are, with room for a whole context."""
    makers: dict[str, Callable[[], Cache]] = {
        "growing": GrowingCache,
        "static": lambda: StaticCache(config, config.context_length, batch, dtype=dtype),
        "rolling": lambda: RollingCache(config),
    }
    return makers[kind]()


def with_windows(config: ModelConfig, *windows: int | None) -> ModelConfig:
    """The config with so many blocks, each with its own window."""
    block = config.blocks[0]
    blocks = (replace(block, attention=replace(block.attention, window=window)) for window in windows)
    return replace(config, blocks=tuple(blocks))


def naive_allowed(query_position: int, key_position: int, window: int | None = None) -> bool:
    """Causal attention with a window, in words: the oracle of the mask algebra."""
    if key_position < 0 or key_position > query_position:
        return False
    return window is None or key_position in range(query_position - window + 1, query_position + 1)


@cache
def small_tokenizer() -> Tokenizer:
    """A tokenizer whose ids fit a model of 300 entries."""
    text = "the dog saw the cat and the cat saw the dog. 강아지가 고양이를 보았다."
    return Tokenizer.train([text], vocab_size=300)


def text_config(**changes: Any) -> ModelConfig:
    """A config that goes with `small_tokenizer`."""
    size = small_tokenizer().vocab_size
    return replace(small_config(vocab_size=size, bos_id=0, eos_id=0), **changes)


def chunks(total: int) -> st.SearchStrategy[list[int]]:
    """Sizes of at least one that sum to a total."""
    cuts = st.sets(st.integers(1, total - 1)) if total > 1 else st.just(set())
    return cuts.map(lambda cuts: _sizes(sorted(cuts), total))


def _sizes(cuts: list[int], total: int) -> list[int]:
    edges = [0, *cuts, total]
    return [end - start for start, end in zip(edges, edges[1:], strict=False)]
