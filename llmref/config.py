"""What a transformer is made of, as values: one frozen dataclass for each part.

A `ModelConfig` holds a tuple of `BlockConfig`, and each block holds the configs of its own parts, so that two
blocks of one model may differ. Every value is checked when it is made: a config that exists is one that runs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

Part = TypeVar("Part")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(
            isinstance(value, int) and value > 0,
            f"{type(config).__name__}.{name} must be a positive integer, found {value!r}",
        )


def _require_bool(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(
            isinstance(value, bool), f"{type(config).__name__}.{name} must be true or false, found {value!r}"
        )


def _require_one_of(config: object, name: str, choices: tuple[str, ...]) -> None:
    value = getattr(config, name)
    _require(
        value in choices,
        f"{type(config).__name__}.{name} must be one of {', '.join(choices)}, found {value!r}",
    )


@dataclass(frozen=True)
class LinearScaling:
    """Positions squeezed: every angle is divided by `factor` (Chen et al., 2023, section 2.3)."""

    factor: float
    kind: Literal["linear"] = "linear"

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("linear",))
        _require_scaling_factor(self)


@dataclass(frozen=True)
class DynamicNtkScaling:
    """The base grows with the text once it is longer than the original context (bloc97, emozilla, 2023).

    Attributes:
        factor: How many times the original context length the model is to take.
        original_context_length: The context length of the training.
    """

    factor: float
    original_context_length: int
    kind: Literal["dynamic-ntk"] = "dynamic-ntk"

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("dynamic-ntk",))
        _require_scaling_factor(self)
        _require_positive(self, "original_context_length")


@dataclass(frozen=True)
class YarnScaling:
    """Fast pairs keep their angle, slow pairs are squeezed, a ramp between (Peng et al., 2023, section 3).

    Attributes:
        factor: How many times the original context length the model is to take.
        original_context_length: The context length of the training.
        beta_fast: A pair that makes more turns than this over the original context keeps its angle.
        beta_slow: A pair that makes fewer turns than this is squeezed by `factor`.
    """

    factor: float
    original_context_length: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    kind: Literal["yarn"] = "yarn"

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("yarn",))
        _require_scaling_factor(self)
        _require_positive(self, "original_context_length")
        _require(
            0 < self.beta_slow < self.beta_fast,
            "YarnScaling needs 0 < beta_slow < beta_fast, "
            f"found beta_slow {self.beta_slow!r} and beta_fast {self.beta_fast!r}",
        )


@dataclass(frozen=True)
class Llama3Scaling:
    """Short waves keep their angle, long waves are squeezed, a ramp between, as in Llama 3.1.

    Attributes:
        factor: By how much a long wave is squeezed.
        original_context_length: The context length of the training.
        low_frequency_factor: A wave longer than the original context divided by this is squeezed.
        high_frequency_factor: A wave shorter than the original context divided by this keeps its angle.
    """

    factor: float
    original_context_length: int
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    kind: Literal["llama3"] = "llama3"

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("llama3",))
        _require_scaling_factor(self)
        _require_positive(self, "original_context_length")
        _require(
            0 < self.low_frequency_factor < self.high_frequency_factor,
            "Llama3Scaling needs 0 < low_frequency_factor < high_frequency_factor, "
            f"found {self.low_frequency_factor!r} and {self.high_frequency_factor!r}",
        )


RopeScaling = LinearScaling | DynamicNtkScaling | YarnScaling | Llama3Scaling
SCALINGS: dict[str, type[RopeScaling]] = {
    "linear": LinearScaling,
    "dynamic-ntk": DynamicNtkScaling,
    "yarn": YarnScaling,
    "llama3": Llama3Scaling,
}


def _require_scaling_factor(config: Any) -> None:
    _require(
        config.factor >= 1, f"{type(config).__name__}.factor must be at least 1, found {config.factor!r}"
    )


@dataclass(frozen=True)
class RopeConfig:
    """Rotary positions: the base of the frequencies, which dimensions pair up, how a context is stretched.

    Attributes:
        base: The base of the geometric series of frequencies (10,000 in the paper).
        layout: `"half"` pairs dimension i with i + head_dim / 2, `"interleaved"` pairs 2i with 2i + 1.
        scaling: How the angles change for texts longer than those of the training; `None` leaves them.
    """

    base: float = 10_000.0
    layout: Literal["half", "interleaved"] = "half"
    scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        _require(self.base > 1, f"RopeConfig.base must be greater than 1, found {self.base!r}")
        _require_one_of(self, "layout", ("half", "interleaved"))
        _require(
            self.scaling is None or isinstance(self.scaling, RopeScaling),
            f"RopeConfig.scaling must be None or one of {', '.join(k.__name__ for k in SCALINGS.values())}, "
            f"found {self.scaling!r}",
        )


@dataclass(frozen=True)
class AttentionConfig:
    """Multi-head, grouped-query or multi-query attention, told apart by `n_kv_heads` alone.

    Attributes:
        n_heads: How many query heads.
        n_kv_heads: How many key/value heads. As many as `n_heads`: multi-head. One: multi-query. Between:
            grouped-query.
        head_dim: The size of one head's vectors.
        window: How many tokens a token may look at, itself included; `None` for all of them.
        bias: Whether the projections add a bias.
        rope: Rotary positions, or `None` for queries and keys that are not rotated.
        alibi: Whether each score is lowered in proportion to the distance, at a slope of its head's own.

    >>> AttentionConfig(n_heads=4, n_kv_heads=3, head_dim=8)
    Traceback (most recent call last):
    ...
    ValueError: AttentionConfig.n_heads must be a multiple of n_kv_heads, found 4 heads and 3 key/value heads
    """

    n_heads: int
    n_kv_heads: int
    head_dim: int
    window: int | None = None
    bias: bool = False
    rope: RopeConfig | None = field(default_factory=RopeConfig)
    alibi: bool = False

    def __post_init__(self) -> None:
        _require_positive(self, "n_heads", "n_kv_heads", "head_dim")
        _require_bool(self, "bias", "alibi")
        _require(
            self.n_heads % self.n_kv_heads == 0,
            "AttentionConfig.n_heads must be a multiple of n_kv_heads, "
            f"found {self.n_heads} heads and {self.n_kv_heads} key/value heads",
        )
        if self.window is not None:
            _require_positive(self, "window")
        if self.rope is not None:
            _require(
                self.head_dim % 2 == 0,
                f"AttentionConfig.head_dim must be even to rotate its pairs, found {self.head_dim}",
            )


@dataclass(frozen=True)
class FeedForwardConfig:
    """The feedforward network of a block.

    Attributes:
        d_ff: The size of its hidden layer.
        activation: The nonlinearity.
        gated: Whether a second projection multiplies the activated one (with `"silu"` this is SwiGLU).
        bias: Whether the projections add a bias.
    """

    d_ff: int
    activation: Literal["silu", "gelu", "relu"] = "silu"
    gated: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        _require_positive(self, "d_ff")
        _require_bool(self, "gated", "bias")
        _require_one_of(self, "activation", ("silu", "gelu", "relu"))


@dataclass(frozen=True)
class NormConfig:
    """Normalization: RMSNorm or LayerNorm, and the epsilon that keeps it from dividing by zero."""

    kind: Literal["rms", "layer"] = "rms"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("rms", "layer"))
        _require(self.eps > 0, f"NormConfig.eps must be positive, found {self.eps!r}")


@dataclass(frozen=True)
class BlockConfig:
    """One transformer block: attention, then feedforward, each around the residual stream.

    Attributes:
        attention: The attention layer.
        feedforward: The feedforward layer.
        norm: The normalization of both.
        norm_position: `"pre"` normalizes what a layer reads, `"post"` normalizes the stream after it adds,
            `"sandwich"` normalizes what a layer reads and what it adds, `"none"` normalizes nothing.
        residual: `"serial"`: each layer adds to what it read, feedforward after attention. `"parallel"`: both
            read the same stream and add together. `"none"`: a layer's output takes its input's place.

    >>> attention, feedforward = AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8), FeedForwardConfig(64)
    >>> BlockConfig(attention, feedforward, norm_position="post", residual="parallel")
    Traceback (most recent call last):
    ...
    ValueError: BlockConfig.residual "parallel" needs norm_position none, pre or sandwich, found 'post'
    """

    attention: AttentionConfig
    feedforward: FeedForwardConfig
    norm: NormConfig = field(default_factory=NormConfig)
    norm_position: Literal["none", "pre", "post", "sandwich"] = "pre"
    residual: Literal["none", "serial", "parallel"] = "serial"

    def __post_init__(self) -> None:
        _require_one_of(self, "norm_position", ("none", "pre", "post", "sandwich"))
        _require_one_of(self, "residual", ("none", "serial", "parallel"))
        _require(
            not (self.residual == "parallel" and self.norm_position == "post"),
            'BlockConfig.residual "parallel" needs norm_position none, pre or sandwich, '
            f"found {self.norm_position!r}",
        )


@dataclass(frozen=True)
class ModelConfig:
    """A whole transformer LLM: the vocabulary, the width of the residual stream, and the stack of blocks.

    Attributes:
        vocab_size: How many entries the vocabulary has.
        d_model: The width of the residual stream.
        context_length: How many tokens the model can take at most; positions run from 0 to one less.
        blocks: The stack, first block first.
        norm: The normalization before the LM head.
        tied_embeddings: Whether the LM head uses the token embedding's matrix.
        bos_id: The token that begins every text, or `None`.
        eos_id: The token that ends a text, or `None`.
        positional_embedding: A vector for each position, added to the token's: `"sinusoidal"`, fixed by a
            formula, or `"learned"`, a row of a table. `None` where attention alone knows positions.

    >>> block = BlockConfig(AttentionConfig(n_heads=4, n_kv_heads=2, head_dim=8), FeedForwardConfig(d_ff=64))
    >>> config = ModelConfig(vocab_size=100, d_model=32, context_length=64, blocks=(block,) * 2)
    >>> ModelConfig.from_dict(config.to_dict()) == config
    True
    """

    vocab_size: int
    d_model: int
    context_length: int
    blocks: tuple[BlockConfig, ...]
    norm: NormConfig = field(default_factory=NormConfig)
    tied_embeddings: bool = True
    bos_id: int | None = None
    eos_id: int | None = None
    positional_embedding: Literal["sinusoidal", "learned"] | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "vocab_size", "d_model", "context_length")
        _require(
            isinstance(self.blocks, tuple) and all(isinstance(block, BlockConfig) for block in self.blocks),
            f"ModelConfig.blocks must be a tuple of BlockConfig, found {self.blocks!r}",
        )
        _require(len(self.blocks) > 0, "ModelConfig.blocks must hold at least one block, found none")
        _require_bool(self, "tied_embeddings")
        if self.positional_embedding is not None:
            _require_one_of(self, "positional_embedding", ("sinusoidal", "learned"))
        _require(
            self.positional_embedding != "sinusoidal" or self.d_model % 2 == 0,
            f"ModelConfig.d_model must be even for sinusoidal positions, found {self.d_model}",
        )
        for name in ("bos_id", "eos_id"):
            token_id = getattr(self, name)
            _require(
                token_id is None or 0 <= token_id < self.vocab_size,
                f"ModelConfig.{name} must be None or from 0 to {self.vocab_size - 1}, found {token_id!r}",
            )

    def to_dict(self) -> dict[str, Any]:
        """The config as plain dictionaries, lists and numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """The config from what `to_dict` gave.

        Raises:
            ValueError: If a name is missing or unknown, or a value does not fit; the message names it.
        """
        values = dict(values)
        if "blocks" in values:
            _require(
                isinstance(values["blocks"], list | tuple),
                f"ModelConfig.blocks must be a list of blocks, found {values['blocks']!r}",
            )
            values["blocks"] = tuple(_block_from_dict(block) for block in values["blocks"])
        if "norm" in values:
            values["norm"] = _part(NormConfig, values["norm"])
        return _part(ModelConfig, values)


def _block_from_dict(values: Any) -> BlockConfig:
    values = _mapping(BlockConfig, values)
    if "attention" in values:
        attention = _mapping(AttentionConfig, values["attention"])
        if attention.get("rope") is not None:
            attention["rope"] = _rope_from_dict(attention["rope"])
        values["attention"] = _part(AttentionConfig, attention)
    if "feedforward" in values:
        values["feedforward"] = _part(FeedForwardConfig, values["feedforward"])
    if "norm" in values:
        values["norm"] = _part(NormConfig, values["norm"])
    return _part(BlockConfig, values)


def _rope_from_dict(values: Any) -> RopeConfig:
    values = _mapping(RopeConfig, values)
    if values.get("scaling") is not None:
        scaling = _mapping(RopeConfig, values["scaling"])
        kind = str(scaling.get("kind"))
        _require(
            kind in SCALINGS,
            f"RopeConfig.scaling's kind must be one of {', '.join(SCALINGS)}, found {kind!r}",
        )
        values["scaling"] = _part(SCALINGS[kind], scaling)
    return _part(RopeConfig, values)


def _mapping(kind: type, values: Any) -> dict[str, Any]:
    _require(
        isinstance(values, Mapping), f"{kind.__name__} must be a mapping of names to values, found {values!r}"
    )
    return dict(values)


def _part(kind: type[Part], values: Any) -> Part:
    values = _mapping(kind, values)
    known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    _require(not unknown, f"{kind.__name__} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {str(error).partition('() ')[2] or error}") from None
