"""What a transformer is made of, as values: one frozen dataclass for each part.

A `ModelConfig` holds a tuple of `BlockConfig`, and each block holds the configs of its own parts, so that two
blocks of one model may differ. Every value is checked when it is made: a config that exists is one that runs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

Part = TypeVar("Part")
MOST = 2**53  # of anything that is counted; positions are counted in 64 bits
LARGEST = 1e30  # of the numbers that take part in a calculation; float32 ends at 3e38


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(
            isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST,
            f"{type(config).__name__}.{name} must be a positive integer, found {value!r}",
        )


def _require_bool(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(
            isinstance(value, bool), f"{type(config).__name__}.{name} must be true or false, found {value!r}"
        )


def _require_above_zero(config: Any, *names: str) -> None:
    """Numbers that float32 holds; `None` only where that is what the value is when nothing is said."""
    for name in names:
        value = getattr(config, name)
        if value is None and config.__dataclass_fields__[name].default is None:
            continue
        _require_number(config, name)
        _require(
            0 < value <= LARGEST,
            f"{type(config).__name__}.{name} must be a number above 0 and at most {LARGEST}, found {value!r}",
        )


def _require_number(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(
            isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST,
            f"{type(config).__name__}.{name} must be a number of at most {LARGEST}, found {value!r}",
        )


def _require_part(config: object, **kinds: type) -> None:
    for name, kind in kinds.items():
        value = getattr(config, name)
        _require(
            isinstance(value, kind),
            f"{type(config).__name__}.{name} must be a {kind.__name__}, found {value!r}",
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
        attention_factor: What rotated queries and keys are multiplied by; the paper's `0.1 ln(factor) + 1` if
            `None`.
        whole_pairs: Whether the ramp starts and ends at whole pairs, as the authors' code rounds it.
    """

    factor: float
    original_context_length: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    whole_pairs: bool = True
    kind: Literal["yarn"] = "yarn"

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("yarn",))
        _require_scaling_factor(self)
        _require_bool(self, "whole_pairs")
        _require_positive(self, "original_context_length")
        _require_above_zero(self, "attention_factor")
        _require_number(self, "beta_fast", "beta_slow")
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
        _require_number(self, "low_frequency_factor", "high_frequency_factor")
        _require(
            0 < self.low_frequency_factor < self.high_frequency_factor,
            "Llama3Scaling needs 0 < low_frequency_factor < high_frequency_factor, "
            f"found {self.low_frequency_factor!r} and {self.high_frequency_factor!r}",
        )


@dataclass(frozen=True)
class LongRopeScaling:
    """A divisor for each pair, found by a search, and another list for long texts (Ding et al., 2024).

    Attributes:
        short_factors: Each pair's divisor while the text fits the original context.
        long_factors: Each pair's divisor once it is longer.
        original_context_length: The context length of the training.
        attention_factor: What rotated queries and keys are multiplied by.
    """

    short_factors: tuple[float, ...]
    long_factors: tuple[float, ...]
    original_context_length: int
    attention_factor: float = 1.0
    kind: Literal["long-rope"] = "long-rope"

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("long-rope",))
        _require_positive(self, "original_context_length")
        _require_above_zero(self, "attention_factor")
        for name in ("short_factors", "long_factors"):
            values = getattr(self, name)
            object.__setattr__(self, name, tuple(values) if isinstance(values, list) else values)
            values = getattr(self, name)
            _require(
                isinstance(values, tuple) and all(isinstance(x, int | float) and x > 0 for x in values),
                f"LongRopeScaling.{name} must be positive numbers, one for each pair, found {values!r}",
            )
        _require(
            len(self.short_factors) == len(self.long_factors) > 0,
            "LongRopeScaling needs as many short as long factors, "
            f"found {len(self.short_factors)} and {len(self.long_factors)}",
        )


RopeScaling = LinearScaling | DynamicNtkScaling | YarnScaling | Llama3Scaling | LongRopeScaling
SCALINGS: dict[str, type[RopeScaling]] = {
    "linear": LinearScaling,
    "dynamic-ntk": DynamicNtkScaling,
    "yarn": YarnScaling,
    "llama3": Llama3Scaling,
    "long-rope": LongRopeScaling,
}


def _require_scaling_factor(config: Any) -> None:
    _require_number(config, "factor")
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
        dims: How many of a head's dimensions turn, the first ones; `None` for all.
    """

    base: float = 10_000.0
    layout: Literal["half", "interleaved"] = "half"
    scaling: RopeScaling | None = None
    dims: int | None = None

    def __post_init__(self) -> None:
        _require_number(self, "base")
        _require(self.base > 1, f"RopeConfig.base must be greater than 1, found {self.base!r}")
        _require_one_of(self, "layout", ("half", "interleaved"))
        _require(
            self.scaling is None or isinstance(self.scaling, RopeScaling),
            f"RopeConfig.scaling must be None or one of {', '.join(k.__name__ for k in SCALINGS.values())}, "
            f"found {self.scaling!r}",
        )
        if self.dims is not None:
            _require_positive(self, "dims")

    def turned(self, head_dim: int) -> int:
        """How many dimensions of a head of that size turn."""
        return head_dim if self.dims is None else self.dims


def _require_rotation(config: Any, head_dim: int) -> None:
    """The dimensions that turn must make pairs, fit the head, and have as many factors as there are pairs."""
    turned = config.rope.turned(head_dim)
    _require(
        turned % 2 == 0 and turned <= head_dim,
        f"{type(config).__name__}.head_dim must be even to rotate its pairs, found {head_dim}"
        if config.rope.dims is None
        else f"RopeConfig.dims must be even and at most the head's {head_dim}, found {turned}",
    )
    scaling = config.rope.scaling
    _require(
        not isinstance(scaling, LongRopeScaling) or len(scaling.short_factors) == turned // 2,
        f"LongRopeScaling needs a factor for each of the {turned // 2} pairs, "
        f"found {len(getattr(scaling, 'short_factors', ()))}",
    )


@dataclass(frozen=True)
class NormConfig:
    """Normalization: RMSNorm or LayerNorm, and the epsilon that keeps it from dividing by zero.

    Attributes:
        kind: `"rms"` or `"layer"`.
        eps: What is added to the mean square.
        bias: Whether LayerNorm adds a learned shift; RMSNorm has none.
        unit_offset: Whether the learned weight is stored as its distance from 1.
    """

    kind: Literal["rms", "layer"] = "rms"
    eps: float = 1e-5
    bias: bool = True
    unit_offset: bool = False

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("rms", "layer"))
        _require_bool(self, "bias", "unit_offset")
        _require_number(self, "eps")
        _require(self.eps > 0, f"NormConfig.eps must be positive, found {self.eps!r}")


@dataclass(frozen=True)
class QueryKeyNormConfig:
    """Queries and keys normalized before they are rotated, so that no score grows without bound.

    Attributes:
        norm: The normalization.
        over: `"head"`: each head's vector, with one weight for all heads. `"each_head"`: each head's vector,
            with a weight of its own for each head. `"all_heads"`: the vectors of a token's heads as one.
    """

    norm: NormConfig = field(default_factory=NormConfig)
    over: Literal["head", "each_head", "all_heads"] = "head"

    def __post_init__(self) -> None:
        _require_part(self, norm=NormConfig)
        _require_one_of(self, "over", ("head", "each_head", "all_heads"))
        _require(
            not (self.over == "each_head" and self.norm.kind == "layer" and self.norm.bias),
            'QueryKeyNormConfig.over "each_head" needs a norm without bias',
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
        bias: Whether the projections to queries, keys and values add a bias.
        rope: Rotary positions, or `None` for queries and keys that are not rotated.
        alibi: Whether each score is lowered in proportion to the distance, at a slope of its head's own.
        output_bias: Whether the output projection adds a bias.
        query_key_norm: The normalization of queries and keys, or `None`.
        scale: What a dot product is multiplied by to make a score; 1 / sqrt(head_dim) if `None`.
        soft_cap: Scores are bent so that they stay between minus this and this; `None` leaves them.
        sinks: Whether each head has a learned score that takes its share of the weights and gives nothing.

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
    output_bias: bool = False
    query_key_norm: QueryKeyNormConfig | None = None
    scale: float | None = None
    soft_cap: float | None = None
    sinks: bool = False

    def __post_init__(self) -> None:
        _require_positive(self, "n_heads", "n_kv_heads", "head_dim")
        _require_bool(self, "bias", "alibi", "output_bias", "sinks")
        _require_above_zero(self, "scale", "soft_cap")
        _require(
            self.n_heads % self.n_kv_heads == 0,
            "AttentionConfig.n_heads must be a multiple of n_kv_heads, "
            f"found {self.n_heads} heads and {self.n_kv_heads} key/value heads",
        )
        if self.window is not None:
            _require_positive(self, "window")
        if self.rope is not None:
            _require_rotation(self, self.head_dim)

    @property
    def cached(self) -> tuple[int, int, int]:
        """What a cache keeps of a token: so many heads, the size of a key and of a value."""
        return self.n_kv_heads, self.head_dim, self.head_dim


@dataclass(frozen=True)
class LatentAttentionConfig:
    """Multi-head latent attention (MLA): all heads' keys and values come from one short vector, the latent.

    A head's query and key have two parts: one that is compared as it is, and one that is rotated. The rotated
    key is one for all heads.

    Attributes:
        n_heads: How many heads.
        latent_dim: The size of the latent, from which every head's keys and values are made.
        plain_dim: The size of the part of a query or key that is not rotated.
        rotated_dim: The size of the part that is.
        value_dim: The size of a head's value.
        query_latent_dim: The size of a latent that the queries are made from; `None` makes them at once.
        norm: The normalization of the latents.
        bias: Whether the projections down to the latents, and the output projection, add a bias.
        rope: Rotary positions of the rotated part.
        scale: What a dot product is multiplied by; 1 / sqrt(plain_dim + rotated_dim) if `None`.

    >>> LatentAttentionConfig(n_heads=2, latent_dim=8, plain_dim=4, rotated_dim=3, value_dim=4)
    Traceback (most recent call last):
    ...
    ValueError: LatentAttentionConfig.head_dim must be even to rotate its pairs, found 3
    """

    n_heads: int
    latent_dim: int
    plain_dim: int
    rotated_dim: int
    value_dim: int
    query_latent_dim: int | None = None
    norm: NormConfig = field(default_factory=NormConfig)
    bias: bool = False
    rope: RopeConfig = field(default_factory=RopeConfig)
    scale: float | None = None
    window: None = None
    kind: Literal["latent"] = "latent"

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("latent",))
        _require_part(self, norm=NormConfig, rope=RopeConfig)
        _require_positive(self, "n_heads", "latent_dim", "plain_dim", "rotated_dim", "value_dim")
        if self.query_latent_dim is not None:
            _require_positive(self, "query_latent_dim")
        _require_bool(self, "bias")
        _require_above_zero(self, "scale")
        _require(self.window is None, f"LatentAttentionConfig.window must be None, found {self.window!r}")
        _require_rotation(self, self.rotated_dim)

    @property
    def cached(self) -> tuple[int, int, int]:
        """What a cache keeps of a token: the latent, and the rotated key that all heads share."""
        return 1, self.latent_dim, self.rotated_dim


Activation = Literal["silu", "gelu", "gelu_tanh", "gelu_sigmoid", "relu", "relu_squared"]


@dataclass(frozen=True)
class FeedForwardConfig:
    """The feedforward network of a block.

    Attributes:
        d_ff: The size of its hidden layer.
        activation: The nonlinearity.
        gated: Whether a second projection multiplies the activated one (with `"silu"` this is SwiGLU).
        bias: Whether the projections add a bias.
        limit: The gate is cut off above this, the other projection at this on both sides; `None` for neither.
        up_offset: What is added to the projection that multiplies the gate.
    """

    d_ff: int
    activation: Activation = "silu"
    gated: bool = True
    bias: bool = False
    limit: float | None = None
    up_offset: float = 0.0

    def __post_init__(self) -> None:
        _require_positive(self, "d_ff")
        _require_bool(self, "gated", "bias")
        _require_one_of(self, "activation", get_args(Activation))
        _require_above_zero(self, "limit")
        _require_number(self, "up_offset")
        _require(
            self.gated or (self.limit is None and self.up_offset == 0.0),
            "FeedForwardConfig.limit and up_offset need gated true, found false",
        )


@dataclass(frozen=True)
class RouterConfig:
    """How a mixture of experts chooses, for each token, the experts that it goes to, and their weights.

    Attributes:
        score: What makes a score of a logit: `"softmax"` over all experts, or `"sigmoid"`, each by itself.
        normalize: Whether the weights of the chosen experts are made to sum to 1.
        multiplier: What the weights are multiplied by in the end.
        bias: Whether the projection to the logits adds a bias.
        choice_bias: Whether each expert has a number that is added to its score for the choice alone, and not
            for its weight; it balances the experts without a loss.
        n_groups: The experts are in so many groups of equal size.
        n_active_groups: Only the experts of so many best groups can be chosen.
        group_score: A group is as good as its best expert (`"best"`), or as its two best together
            (`"best_two"`).
    """

    score: Literal["softmax", "sigmoid"] = "softmax"
    normalize: bool = True
    multiplier: float = 1.0
    bias: bool = False
    choice_bias: bool = False
    n_groups: int = 1
    n_active_groups: int = 1
    group_score: Literal["best", "best_two"] = "best"

    def __post_init__(self) -> None:
        _require_one_of(self, "score", ("softmax", "sigmoid"))
        _require_one_of(self, "group_score", ("best", "best_two"))
        _require_bool(self, "normalize", "bias", "choice_bias")
        _require_above_zero(self, "multiplier")
        _require_positive(self, "n_groups", "n_active_groups")
        _require(
            self.n_active_groups <= self.n_groups,
            f"RouterConfig.n_active_groups must be at most n_groups, "
            f"found {self.n_active_groups} of {self.n_groups}",
        )


@dataclass(frozen=True)
class MixtureConfig:
    """A mixture of experts in the place of one feedforward network: each token goes to a few of many.

    Attributes:
        n_experts: How many experts.
        n_active: How many of them a token goes to.
        expert: One expert.
        shared: An expert that every token goes to, beside the chosen ones; `None` for none.
        router: How the experts are chosen.

    >>> MixtureConfig(n_experts=4, n_active=5, expert=FeedForwardConfig(d_ff=8))
    Traceback (most recent call last):
    ...
    ValueError: MixtureConfig.n_active must be at most n_experts, found 5 of 4
    """

    n_experts: int
    n_active: int
    expert: FeedForwardConfig
    shared: FeedForwardConfig | None = None
    router: RouterConfig = field(default_factory=RouterConfig)
    kind: Literal["mixture"] = "mixture"

    def __post_init__(self) -> None:
        _require_one_of(self, "kind", ("mixture",))
        _require_part(self, expert=FeedForwardConfig, router=RouterConfig)
        _require_positive(self, "n_experts", "n_active")
        _require(
            self.n_active <= self.n_experts,
            f"MixtureConfig.n_active must be at most n_experts, found {self.n_active} of {self.n_experts}",
        )
        size, rest = divmod(self.n_experts, self.router.n_groups)
        _require(
            rest == 0,
            "MixtureConfig.n_experts must be a multiple of the router's n_groups, "
            f"found {self.n_experts} experts and {self.router.n_groups} groups",
        )
        _require(
            self.n_active <= size * self.router.n_active_groups,
            f"MixtureConfig.n_active must be at most the {size * self.router.n_active_groups} experts of "
            f"{self.router.n_active_groups} groups, found {self.n_active}",
        )
        _require(
            self.router.group_score == "best" or size >= 2,
            f'RouterConfig.group_score "best_two" needs groups of two experts at least, found {size}',
        )


@dataclass(frozen=True)
class BlockConfig:
    """One transformer block: attention, then feedforward, each around the residual stream.

    Attributes:
        attention: The attention layer.
        feedforward: The feedforward layer.
        norm: The normalization of both.
        norm_position: `"pre"` normalizes what a layer reads, `"post"` normalizes the stream after it adds,
            `"output"` normalizes what a layer adds, `"sandwich"` what it reads and what it adds, `"none"`
            normalizes nothing.
        residual: `"serial"`: each layer adds to what it read, feedforward after attention. `"parallel"`: both
            read the same stream and add together. `"none"`: a layer's output takes its input's place.
        shared_norm: Whether both layers of a parallel block read the stream through one and the same norm.
        residual_multiplier: What a layer adds is multiplied by this first.

    >>> attention, feedforward = AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=8), FeedForwardConfig(64)
    >>> BlockConfig(attention, feedforward, norm_position="post", residual="parallel")
    Traceback (most recent call last):
    ...
    ValueError: BlockConfig.residual "parallel" cannot have norm_position "post"
    """

    attention: AttentionConfig | LatentAttentionConfig
    feedforward: FeedForwardConfig | MixtureConfig
    norm: NormConfig = field(default_factory=NormConfig)
    norm_position: Literal["none", "pre", "post", "output", "sandwich"] = "pre"
    residual: Literal["none", "serial", "parallel"] = "serial"
    shared_norm: bool = False
    residual_multiplier: float = 1.0

    def __post_init__(self) -> None:
        _require_part(self, norm=NormConfig)
        _require_one_of(self, "norm_position", ("none", "pre", "post", "output", "sandwich"))
        _require_one_of(self, "residual", ("none", "serial", "parallel"))
        _require(
            not (self.residual == "parallel" and self.norm_position == "post"),
            'BlockConfig.residual "parallel" cannot have norm_position "post"',
        )
        _require_bool(self, "shared_norm")
        _require(
            not self.shared_norm or (self.residual == "parallel" and self.norm_position == "pre"),
            'BlockConfig.shared_norm needs residual "parallel" and norm_position "pre", '
            f"found {self.residual!r} and {self.norm_position!r}",
        )
        _require_above_zero(self, "residual_multiplier")


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
        stop_ids: More tokens that end one, beside `eos_id`: a chat model ends its turn with another.
        positional_embedding: A vector for each position, added to the token's: `"sinusoidal"`, fixed by a
            formula, or `"learned"`, a row of a table. `None` where attention alone knows positions.
        embedding_multiplier: What a token's vector is multiplied by before it enters the stream.
        embedding_norm: Whether it is normalized before it enters the stream.
        logit_multiplier: What the logits are multiplied by.
        logit_soft_cap: Logits are bent so that they stay between minus this and this; `None` leaves them.

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
    embedding_multiplier: float = 1.0
    embedding_norm: bool = False
    logit_multiplier: float = 1.0
    logit_soft_cap: float | None = None
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_positive(self, "vocab_size", "d_model", "context_length")
        _require_part(self, norm=NormConfig)
        _require_bool(self, "embedding_norm")
        _require_above_zero(self, "embedding_multiplier", "logit_multiplier", "logit_soft_cap")
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
        object.__setattr__(self, "stop_ids", tuple(self.stop_ids))
        named = [("bos_id", self.bos_id), ("eos_id", self.eos_id), *(("stop_ids", i) for i in self.stop_ids)]
        for name, token_id in named:
            _require(
                token_id is None or (isinstance(token_id, int) and 0 <= token_id < self.vocab_size),
                f"ModelConfig.{name} must be None or from 0 to {self.vocab_size - 1}, found {token_id!r}",
            )

    @property
    def end_ids(self) -> frozenset[int]:
        """All tokens that end a text."""
        return frozenset(self.stop_ids) | (frozenset() if self.eos_id is None else {self.eos_id})

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
        if attention.get("query_key_norm") is not None:
            norm = _mapping(QueryKeyNormConfig, attention["query_key_norm"])
            _nest(norm, norm=NormConfig)
            attention["query_key_norm"] = _part(QueryKeyNormConfig, norm)
        _nest(attention, norm=NormConfig)
        latent = attention.get("kind") == "latent"
        values["attention"] = _part(LatentAttentionConfig if latent else AttentionConfig, attention)
    if "feedforward" in values:
        feedforward = _mapping(FeedForwardConfig, values["feedforward"])
        _nest(feedforward, expert=FeedForwardConfig, shared=FeedForwardConfig, router=RouterConfig)
        mixture = feedforward.get("kind") == "mixture"
        values["feedforward"] = _part(MixtureConfig if mixture else FeedForwardConfig, feedforward)
    _nest(values, norm=NormConfig)
    return _part(BlockConfig, values)


def _nest(values: dict[str, Any], **kinds: type) -> None:
    """Make configs of the values that are parts, where they are there."""
    for name, kind in kinds.items():
        if values.get(name) is not None:
            values[name] = _part(kind, values[name])


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
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {str(error).partition('() ')[2] or error}") from None
