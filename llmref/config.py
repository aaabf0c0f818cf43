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
class RopeConfig:
    """Rotary positions: the base of the frequencies, and which dimensions make a pair.

    Attributes:
        base: The base of the geometric series of frequencies (10,000 in the paper).
        layout: `"half"` pairs dimension i with i + head_dim / 2, `"interleaved"` pairs 2i with 2i + 1.
    """

    base: float = 10_000.0
    layout: Literal["half", "interleaved"] = "half"

    def __post_init__(self) -> None:
        _require(self.base > 1, f"RopeConfig.base must be greater than 1, found {self.base!r}")
        _require_one_of(self, "layout", ("half", "interleaved"))


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
        rope: Rotary positions, or `None` for attention that cannot tell positions apart.

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

    def __post_init__(self) -> None:
        _require_positive(self, "n_heads", "n_kv_heads", "head_dim")
        _require_bool(self, "bias")
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
        norm_position: `"pre"` normalizes what a layer reads, `"post"` normalizes the stream after it adds.
    """

    attention: AttentionConfig
    feedforward: FeedForwardConfig
    norm: NormConfig = field(default_factory=NormConfig)
    norm_position: Literal["pre", "post"] = "pre"

    def __post_init__(self) -> None:
        _require_one_of(self, "norm_position", ("pre", "post"))


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

    def __post_init__(self) -> None:
        _require_positive(self, "vocab_size", "d_model", "context_length")
        _require(
            isinstance(self.blocks, tuple) and all(isinstance(block, BlockConfig) for block in self.blocks),
            f"ModelConfig.blocks must be a tuple of BlockConfig, found {self.blocks!r}",
        )
        _require(len(self.blocks) > 0, "ModelConfig.blocks must hold at least one block, found none")
        _require_bool(self, "tied_embeddings")
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
            attention["rope"] = _part(RopeConfig, attention["rope"])
        values["attention"] = _part(AttentionConfig, attention)
    if "feedforward" in values:
        values["feedforward"] = _part(FeedForwardConfig, values["feedforward"])
    if "norm" in values:
        values["norm"] = _part(NormConfig, values["norm"])
    return _part(BlockConfig, values)


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
