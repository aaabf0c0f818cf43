"""Values of a `config.json`, read and written: one clear error where one does not fit."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from typing import Any

from llmref.config import (
    AttentionConfig,
    BlockConfig,
    DynamicNtkScaling,
    FeedForwardConfig,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    ModelConfig,
    RopeConfig,
    RopeScaling,
    YarnScaling,
)

MISSING = object()
FULL, SLIDING = "full_attention", "sliding_attention"


def get(values: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any = MISSING) -> Any:
    """The value of that name, which must be of that kind; the default where it is not there or null.

    Raises:
        ValueError: If it is of another kind, or neither there nor has a default.

    >>> get({"hidden_size": 64}, "hidden_size", int), get({}, "head_dim", int, None)
    (64, None)
    >>> get({"hidden_size": "64"}, "hidden_size", int)
    Traceback (most recent call last):
    ...
    ValueError: hidden_size must be a number (int), found '64'
    """
    value = values.get(name)
    if value is None:
        if default is MISSING:
            raise ValueError(f"{name} is missing")
        return default
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        words = {
            int: "a number (int)",
            float: "a number",
            str: "text",
            bool: "true or false",
            dict: "an object",
        }
        expected = " or ".join(words.get(each, each.__name__) for each in kinds)
        raise ValueError(f"{name} must be {expected}, found {value!r}")
    return value


def only(values: Mapping[str, Any], name: str, *allowed: Any) -> None:
    """Refuse a value that this package would not carry out; `None` among the allowed: it need not be there.

    >>> only({"hidden_act": "tanh"}, "hidden_act", "silu")
    Traceback (most recent call last):
    ...
    ValueError: hidden_act must be 'silu', found 'tanh'
    """
    value = values.get(name)
    if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in allowed):
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, found {value!r}")


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A `config.json` whose older names have become the newer ones.

    Args:
        values: The `config.json`.
        names: The newer name of each older one.

    Raises:
        ValueError: If the two names of a value are both there and do not agree.

    >>> renamed({"n_embed": 64, "n_layer": 2}, {"n_embed": "hidden_size"})
    {'n_layer': 2, 'hidden_size': 64}
    """
    made = {name: value for name, value in values.items() if name not in names}
    for older, newer in names.items():
        value, other = values.get(older), made.get(newer)
        if value is not None and other is not None and value != other:
            raise ValueError(f"{older} and {newer} must agree, found {value!r} and {other!r}")
        if value is not None:
            made[newer] = value
    return made


def even_share(d_model: int, n_heads: int) -> int:
    """The size of a head, where the heads share the width of the stream.

    >>> even_share(d_model=20, n_heads=3)
    Traceback (most recent call last):
    ...
    ValueError: the width must be a multiple of the number of heads, found 20 for 3 heads
    """
    if n_heads < 1 or d_model % n_heads:
        raise ValueError(
            f"the width must be a multiple of the number of heads, found {d_model} for {n_heads} heads"
        )
    return d_model // n_heads


# The names of a nonlinearity; where several mean the same one, the first is the one that is written.
_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "gelu_sigmoid",
    "relu": "relu",
    "relu2": "relu_squared",
}


def read_activation(values: Mapping[str, Any], name: str, default: str) -> Any:
    """The nonlinearity of that name, as a `FeedForwardConfig` calls it.

    >>> read_activation({"activation_function": "gelu_new"}, "activation_function", "gelu")
    'gelu_tanh'
    """
    found = get(values, name, str, default)
    if found not in _ACTIVATIONS:
        raise ValueError(f"{name} must be one of {', '.join(_ACTIVATIONS)}, found {found!r}")
    return _ACTIVATIONS[found]


def write_activation(activation: str) -> str:
    """What `read_activation` reads back.

    >>> write_activation("gelu_tanh")
    'gelu_pytorch_tanh'
    """
    return next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == activation)


def positive(values: Mapping[str, Any], name: str) -> int:
    """A whole number of at least 1: how many there are of something.

    >>> positive({"num_hidden_layers": 0}, "num_hidden_layers")
    Traceback (most recent call last):
    ...
    ValueError: num_hidden_layers must be at least 1, found 0
    """
    value = int(get(values, name, int))
    if value < 1:
        raise ValueError(f"{name} must be at least 1, found {value}")
    return value


def read_windows(values: Mapping[str, Any], slides: Callable[[int], bool]) -> list[int | None]:
    """Each layer's window: `layer_types` names the layers that have one, or else the family's rule does.

    Args:
        values: The `config.json`. Where it says that no window is used, its number counts for nothing.
        slides: Whether the layer of that number has a window, where `layer_types` is not there.

    Raises:
        ValueError: If a kind is not known, or there are not as many as layers, or no window is given.

    >>> read_windows({"num_hidden_layers": 3, "sliding_window": 64}, lambda layer: layer > 0)
    [None, 64, 64]
    """
    n_layers, window = positive(values, "num_hidden_layers"), get(values, "sliding_window", int, None)
    if not get(values, "use_sliding_window", bool, True):
        window = None
    kinds = get(values, "layer_types", list, None)
    if kinds is None:
        kinds = [FULL if window is None or not slides(layer) else SLIDING for layer in range(n_layers)]
    if len(kinds) != n_layers:
        raise ValueError(f"layer_types must name {n_layers} layers' kinds, found {len(kinds)}")
    for kind in kinds:
        if kind not in (FULL, SLIDING):
            raise ValueError(f"a layer's type must be {FULL!r} or {SLIDING!r}, found {kind!r}")
        if kind == SLIDING and window is None:
            raise ValueError(f"a layer of type {SLIDING!r} needs a sliding_window in use, found none")
    return [window if kind == SLIDING else None for kind in kinds]


def write_windows(config: ModelConfig) -> dict[str, Any]:
    """What `read_windows` reads back.

    The layers that have a window have the same one, or the family cannot say it.
    """
    windows = [block.attention.window for block in config.blocks]
    return {
        "sliding_window": next((window for window in windows if window is not None), None),
        "layer_types": [FULL if window is None else SLIDING for window in windows],
    }


def dense_parts(config: ModelConfig) -> tuple[AttentionConfig, FeedForwardConfig]:
    """Attention and feedforward of the first block, for a family whose blocks have these kinds.

    Raises:
        ValueError: If one is of another kind; the message names it.
    """
    attention, feedforward = config.blocks[0].attention, config.blocks[0].feedforward
    for name, part, kind in (
        ("attention", attention, AttentionConfig),
        ("feedforward", feedforward, FeedForwardConfig),
    ):
        if not isinstance(part, kind):
            raise ValueError(f"blocks[0].{name} must be a {kind.__name__}, found {part!r}")
    return attention, feedforward  # type: ignore[return-value]


def plain_parts(config: ModelConfig) -> tuple[AttentionConfig, FeedForwardConfig, RopeConfig]:
    """Attention, feedforward and rotation, for a family whose blocks have these kinds.

    The parts are the first block's; the rotation is that of the first block that rotates.

    Raises:
        ValueError: If one is of another kind; the message names it.
    """
    attention, feedforward = dense_parts(config)
    rope = first_rotation(config.blocks)
    if rope is None:
        raise ValueError("blocks[0].attention.rope must be a RopeConfig, found None")
    return attention, feedforward, rope


def first_rotation(blocks: Sequence[BlockConfig]) -> RopeConfig | None:
    """The rotation of the first block that rotates, or `None` if none does."""
    return next((block.attention.rope for block in blocks if block.attention.rope is not None), None)


def token_ids(config: ModelConfig) -> dict[str, Any]:
    """The ids of the tokens that begin and end a text, as `config.json` has them."""
    ends = [*([] if config.eos_id is None else [config.eos_id]), *config.stop_ids]
    return {
        "bos_token_id": config.bos_id,
        "eos_token_id": ends if len(ends) > 1 else config.eos_id,
        "pad_token_id": None,  # padding is a position here, not a token; else some readers take a default
    }


def read_token_ids(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `ModelConfig` that `token_ids` wrote."""
    ends = get(values, "eos_token_id", (int, list), None)
    ends = ends if isinstance(ends, list) else [ends]
    return {
        "bos_id": get(values, "bos_token_id", int, None),
        "eos_id": ends[0] if ends else None,
        "stop_ids": tuple(ends[1:]),
    }


# What the fields of a scaling are called in a config.json, and here.
_ROPE_NAMES = {
    "factor": "factor",
    "original_max_position_embeddings": "original_context_length",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "attention_factor": "attention_factor",
    "truncate": "whole_pairs",
    "low_freq_factor": "low_frequency_factor",
    "high_freq_factor": "high_frequency_factor",
    "short_factor": "short_factors",
    "long_factor": "long_factors",
}
_ROPE_TYPES: dict[str, type[RopeScaling]] = {
    "linear": LinearScaling,
    "dynamic": DynamicNtkScaling,
    "yarn": YarnScaling,
    "llama3": Llama3Scaling,
    "longrope": LongRopeScaling,
}


def read_rope(
    values: Mapping[str, Any],
    head_dim: int,
    *,
    base: float = 10_000.0,
    layout: str = "half",
    layers: str | None = None,
) -> RopeConfig:
    """Rotary positions, as `rope_parameters` gives them, or the older `rope_theta` and `rope_scaling`.

    Args:
        values: The `config.json`.
        head_dim: The size of the part of a head that rotation is about.
        base: The base where none is given.
        layout: Which dimensions pair up; no config.json says it.
        layers: The kind of layers, where each kind has parameters of its own (`"full_attention"`).

    Raises:
        ValueError: If a value is missing or of another kind, or the type is not known.

    >>> read_rope({"rope_theta": 500000.0, "rope_scaling": {"type": "linear", "factor": 4.0}}, head_dim=64)
    RopeConfig(base=500000.0, layout='half', scaling=LinearScaling(factor=4.0, kind='linear'), dims=None)
    """
    said = get(values, "rope_parameters", dict, {})
    kinds = [name for name, value in said.items() if isinstance(value, dict)]
    if kinds and layers is None:
        raise ValueError(f"rope_parameters must be one for all layers, found one for {kinds[0]!r}")
    if layers is not None:
        if len(kinds) < len(said):
            raise ValueError(f"rope_parameters must have an object for each kind of layers, found {said!r}")
        said = get(said, layers, dict, {})
    scaling = {**(get(values, "rope_scaling", dict, None) or {}), **said}
    share = get(scaling, "partial_rotary_factor", float, get(values, "partial_rotary_factor", float, 1.0))
    if not 0 < share <= 1:
        raise ValueError(f"partial_rotary_factor must be above 0 and at most 1, found {share}")
    return RopeConfig(
        base=get(scaling, "rope_theta", float, get(values, "rope_theta", float, base)),
        layout=layout,  # type: ignore[arg-type]
        scaling=_read_scaling(scaling, values),
        dims=None if share == 1.0 else int(head_dim * share),
    )


def _read_scaling(said: Mapping[str, Any], values: Mapping[str, Any]) -> RopeScaling | None:
    kind = get(said, "rope_type", str, get(said, "type", str, "default"))
    kind = {"su": "longrope"}.get(kind, kind)
    if kind == "default":
        return None
    if not isinstance(kind, str) or kind not in _ROPE_TYPES:
        raise ValueError(f"rope type must be one of default, {', '.join(_ROPE_TYPES)}, found {kind!r}")
    kinds = {"short_factor": list, "long_factor": list, "truncate": bool}
    fields: dict[str, Any] = {
        ours: tuple(value) if isinstance(value, list) else value
        for theirs, ours in _ROPE_NAMES.items()
        if (value := get(said, theirs, kinds.get(theirs, float), None)) is not None
    }
    if kind != "linear":
        fields["original_context_length"] = original = _original_context_length(said, values, kind)
    if kind in ("yarn", "longrope"):
        stretched = get(values, "max_position_embeddings", int, original) / original
        factor = fields.setdefault("factor", stretched)
    if kind == "yarn":
        fields["attention_factor"] = _yarn_attention_factor(said, factor)
    if kind == "longrope":
        sharpened = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
        fields.setdefault("attention_factor", sharpened)
    known = {entry.name for entry in dataclass_fields(_ROPE_TYPES[kind])}
    try:
        return _ROPE_TYPES[kind](**{name: value for name, value in fields.items() if name in known})
    except TypeError as error:
        raise ValueError(f"rope type {kind}: {error}") from None


def _original_context_length(said: Mapping[str, Any], values: Mapping[str, Any], kind: str) -> int:
    """The context length of the training: in the scaling, beside it, or what the model takes."""
    name = "original_max_position_embeddings"
    context = get(values, "max_position_embeddings", int, None)
    original = get(said, name, int, get(values, name, int, context))
    if original is None:
        raise ValueError(f"{name} is missing")
    if original < 2 or (kind == "dynamic" and original != context):
        expected = f"max_position_embeddings ({context})" if kind == "dynamic" else "at least 2"
        raise ValueError(f"{name} must be {expected}, found {original}")
    return int(original)


def _yarn_attention_factor(said: Mapping[str, Any], factor: float) -> float | None:
    """The factor of YaRN where a config names one, or makes one of two scales, as DeepSeek's do."""
    if said.get("attention_factor") is not None or not (said.get("mscale") and said.get("mscale_all_dim")):
        return get(said, "attention_factor", float, None)
    above, below = get(said, "mscale", float), get(said, "mscale_all_dim", float)
    wider = math.log(max(factor, 1))
    return (0.1 * above * wider + 1) / (0.1 * below * wider + 1)


def write_rope(rope: RopeConfig, head_dim: int, context_length: int) -> dict[str, Any]:
    """What `read_rope` and `read_context_length` read back, in the older names, which every reader knows.

    >>> write_rope(RopeConfig(), head_dim=64, context_length=2048)
    {'max_position_embeddings': 2048, 'rope_theta': 10000.0}
    """
    values: dict[str, Any] = {"max_position_embeddings": context_length, "rope_theta": rope.base}
    if rope.dims is not None:
        share = rope.dims / head_dim
        if int(head_dim * share) < rope.dims:  # readers cut off what follows the point
            share = math.nextafter(share, 1)
        values["partial_rotary_factor"] = share
    if rope.scaling is None:
        return values
    if isinstance(rope.scaling, LinearScaling):
        values["max_position_embeddings"] = int(context_length / rope.scaling.factor)
    elif isinstance(rope.scaling, DynamicNtkScaling):  # its length is the original one, by custom
        values["max_position_embeddings"] = rope.scaling.original_context_length
    kind = next(name for name, made in _ROPE_TYPES.items() if isinstance(rope.scaling, made))
    scaling: dict[str, Any] = {"rope_type": kind}
    for theirs, ours in _ROPE_NAMES.items():
        value = getattr(rope.scaling, ours, None)
        if value is not None:
            scaling[theirs] = list(value) if isinstance(value, tuple) else value
    return {**values, "rope_scaling": scaling}


def read_context_length(values: Mapping[str, Any], rope: RopeConfig | None) -> int:
    """How many tokens a model takes: what `config.json` says, or what the scaling stretches it to, if more.

    >>> read_context_length({"max_position_embeddings": 4096}, RopeConfig(scaling=LinearScaling(factor=4.0)))
    16384
    """
    length = int(get(values, "max_position_embeddings", int))
    match rope and rope.scaling:
        case LinearScaling(factor=factor):
            return int(length * factor)
        case DynamicNtkScaling() | YarnScaling() as scaling:
            return max(length, int(scaling.original_context_length * scaling.factor))
        case _:
            return length
