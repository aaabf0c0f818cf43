"""Real models, from dated config files (`docs/models/*.json`), under the names that this site uses.

A file holds a model's published config, its keys and values unchanged. Families call the same thing by
different names, and leave out what their code takes for granted: `NAMES` and `FAMILIES` are the one place
that says so.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machinery import DOCS, SiteError
from machinery.data import entries

MODELS = DOCS / "models"
ENTRY = ("name", "source", "config_source", "retrieved", "released", "parameters", "config")

# What this site calls it, and what the families' configs call it.
NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "d_model": ("hidden_size", "n_embd", "n_embed", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "d_ff": ("moe_intermediate_size", "intermediate_size"),
    "activation": ("hidden_activation", "hidden_act", "activation_function"),
    "context": ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"),
    "vocab": ("vocab_size",),
    "tied": ("tie_word_embeddings",),
    "rope_base": ("rope_theta", "rotary_emb_base"),
    "experts": ("num_local_experts", "n_routed_experts", "num_experts"),
    "experts_used": ("num_experts_per_tok",),
}


@dataclass(frozen=True)
class Family:
    """What a family's code decides, so that its configs need not say it.

    Attributes:
        norm: `"LayerNorm"` or `"RMSNorm"`.
        norm_position: Where it stands: `"pre"`, `"sandwich"`, or `"output"`, on what a layer adds.
        gated: Whether the feedforward is gated.
        positions: `"learned"`, `"ALiBi"` or `"RoPE"`.
        parallel: Whether attention and feedforward read the same stream and add together.
        qk_norm: Whether queries and keys are normalized too.
        windows: Which layers have the config's window: `"none"`, `"all"`, `"even"` (the first, the third, …).
        latent: Whether the cache holds one compressed vector for each token (MLA).
        expert_bias: Whether the projections of an expert add a bias.
        defaults: Values that the family's code takes where its config has no such key.
    """

    norm: str = "RMSNorm"
    norm_position: str = "pre"
    gated: bool = True
    positions: str = "RoPE"
    parallel: bool = False
    qk_norm: bool = False
    windows: str = "none"
    latent: bool = False
    expert_bias: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)


def four_times(config: dict[str, Any], value: Callable[[str], Any]) -> int:
    return 4 * value("d_model")


def as_many_as_heads(config: dict[str, Any], value: Callable[[str], Any]) -> int:
    return value("heads")


def one_if_multi_query(config: dict[str, Any], value: Callable[[str], Any]) -> int:
    """Falcon's old architecture: `multi_query` decides, and `num_kv_heads` is not looked at."""
    return 1 if config["multi_query"] else value("heads")


def query_head_dim(config: dict[str, Any], value: Callable[[str], Any]) -> int:
    return config["qk_nope_head_dim"] + config["qk_rope_head_dim"]


FAMILIES = {
    "gpt2": Family(
        "LayerNorm",
        gated=False,
        positions="learned",
        defaults={"kv_heads": as_many_as_heads, "d_ff": four_times, "tied": True},
    ),
    "gpt_neox": Family("LayerNorm", gated=False, parallel=True, defaults={"kv_heads": as_many_as_heads}),
    "bloom": Family(
        "LayerNorm",
        gated=False,
        positions="ALiBi",
        defaults={"kv_heads": as_many_as_heads, "d_ff": four_times, "activation": "gelu", "tied": True},
    ),
    "mpt": Family(
        "LayerNorm",
        gated=False,
        positions="ALiBi",
        defaults={"kv_heads": as_many_as_heads, "d_ff": four_times, "activation": "gelu", "tied": True},
    ),
    "falcon": Family(
        "LayerNorm",
        gated=False,
        parallel=True,
        defaults={
            "kv_heads": one_if_multi_query,
            "d_ff": four_times,
            "activation": "gelu",
            "rope_base": 10_000,
            "context": 2048,
            "tied": True,
        },
    ),
    "llama": Family(defaults={"rope_base": 10_000}),
    "mistral": Family(windows="all"),
    "mixtral": Family(windows="all"),
    "phi3": Family(windows="all"),
    "gemma2": Family(norm_position="sandwich", windows="even", defaults={"tied": True}),
    "qwen2": Family(),
    "qwen3": Family(qk_norm=True),
    "qwen3_moe": Family(qk_norm=True),
    "olmo2": Family(norm_position="output", qk_norm=True),
    "smollm3": Family(),
    "deepseek_v3": Family(latent=True, defaults={"head_dim": query_head_dim}),
    "gpt_oss": Family(windows="even", expert_bias=True),
}


@dataclass(frozen=True)
class RealModel:
    """One model's published values."""

    slug: str
    name: str
    source: str
    retrieved: str
    released: str
    parameters: int
    family: Family
    config: dict[str, Any]
    file: Path

    def value(self, name: str) -> Any:
        """A value under this site's name.

        Raises:
            SiteError: If neither the config nor the family has it.
        """
        for key in NAMES[name]:
            if key in self.config:
                return self.config[key]
        if name in self.family.defaults:
            default = self.family.defaults[name]
            return default(self.config, self.value) if callable(default) else default
        if name == "head_dim":
            return self.value("d_model") // self.value("heads")
        raise SiteError(
            f"docs/models/{self.file.name}: no {' or '.join(NAMES[name])} in the config; add the published "
            f"value, or in docs/site/machinery/models.py give FAMILIES[{self.config['model_type']!r}] "
            f"a default for {name}"
        )

    def has(self, name: str) -> bool:
        """Whether the config says anything under this name."""
        return any(key in self.config for key in NAMES[name])

    @property
    def windows(self) -> list[int | None]:
        """Each layer's window, `None` for a layer that sees everything."""
        layers, window = self.value("layers"), self.config.get("sliding_window")
        if self.family.windows == "none" or not window or self.config.get("use_sliding_window") is False:
            return [None] * layers
        every = 2 if self.family.windows == "even" else 1
        return [window if layer % every == 0 else None for layer in range(layers)]

    @property
    def active_parameters(self) -> int:
        """The parameters that one token meets: all, but for the experts that it does not go to.

        All families with experts here gate them, so that an expert has three matrices.
        """
        if not self.has("experts"):
            return self.parameters
        d_model, d_ff = self.value("d_model"), self.value("d_ff")
        expert = 3 * d_model * d_ff + (2 * d_ff + d_model if self.family.expert_bias else 0)
        idle = self.value("experts") - self.value("experts_used")
        layers = self.value("layers") - self.config.get("first_k_dense_replace", 0)
        return self.parameters - layers * idle * expert

    @property
    def cache_bytes(self) -> int:
        """The bytes that one token leaves in the cache at 16 bits.

        It is what `llmref.cost.cache_bytes_per_token` counts, and a test holds the two equal; the package is not
        imported here, because that would cost each build of a language the time that PyTorch takes to load.
        """
        layers, numbers = self.value("layers"), 2
        if self.family.latent:  # one compressed vector for keys and values, and one rotated key for all heads
            return layers * (self.config["kv_lora_rank"] + self.config["qk_rope_head_dim"]) * numbers
        return layers * 2 * self.value("kv_heads") * self.value("head_dim") * numbers


def read(file: Path) -> RealModel:
    """One model's file.

    Raises:
        SiteError: If it is no JSON, lacks an entry, or is of a family that `FAMILIES` does not have.
    """
    where = f"docs/models/{file.name}"
    entry = entries(file, "docs/models", ENTRY, f"a file has {', '.join(ENTRY)}")
    kind = entry["config"].get("model_type")
    if kind not in FAMILIES:
        raise SiteError(
            f"{where}: model_type is {kind!r}; add that family to FAMILIES in docs/site/machinery/models.py "
            f"(there are {', '.join(FAMILIES)})"
        )
    return RealModel(
        slug=file.stem,
        family=FAMILIES[kind],
        file=file,
        **{key: entry[key] for key in ENTRY if key != "config_source"},
    )


def models() -> dict[str, RealModel]:
    """All models, oldest first."""
    found = [read(file) for file in MODELS.glob("*.json")]
    return {
        model.slug: model for model in sorted(found, key=lambda model: (model.released, model.parameters))
    }
