"""Configs: what is made runs, what cannot run is refused, and JSON gives the same config back."""

import json
from typing import Any

import pytest
from helpers import small_config
from hypothesis import given
from hypothesis import strategies as st

from llmref.config import (
    AttentionConfig,
    BlockConfig,
    DynamicNtkScaling,
    FeedForwardConfig,
    LinearScaling,
    Llama3Scaling,
    ModelConfig,
    NormConfig,
    RopeConfig,
    YarnScaling,
)

ATTENTION = AttentionConfig(n_heads=2, n_kv_heads=1, head_dim=4)
FEEDFORWARD = FeedForwardConfig(d_ff=8)

factors, lengths = st.floats(1.0, 64.0), st.integers(1, 9999)
scalings = st.one_of(
    st.builds(LinearScaling, factors),
    st.builds(DynamicNtkScaling, factors, lengths),
    st.builds(YarnScaling, factors, lengths, st.floats(8.5, 64.0), st.floats(0.5, 8.0)),
    st.builds(Llama3Scaling, factors, lengths, st.floats(0.5, 2.0), st.floats(2.5, 8.0)),
)
ropes = st.builds(
    RopeConfig, st.floats(1.5, 1e6), st.sampled_from(["half", "interleaved"]), st.none() | scalings
)
attentions = st.builds(
    lambda kv, group, half, *rest: AttentionConfig(kv * group, kv, 2 * half, *rest),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 8),
    st.none() | st.integers(1, 9),
    st.booleans(),
    st.none() | ropes,
    st.booleans(),
)
feedforwards = st.builds(
    FeedForwardConfig,
    st.integers(1, 99),
    st.sampled_from(["silu", "gelu", "relu"]),
    st.booleans(),
    st.booleans(),
)
norms = st.builds(NormConfig, st.sampled_from(["rms", "layer"]), st.floats(1e-9, 1.0))
arrangements = st.sampled_from(
    [
        (norm_position, residual)
        for norm_position in ("none", "pre", "post", "sandwich")
        for residual in ("none", "serial", "parallel")
        if (norm_position, residual) != ("post", "parallel")
    ]
)
blocks = st.builds(
    lambda attention, feedforward, norm, arrangement: BlockConfig(attention, feedforward, norm, *arrangement),
    attentions,
    feedforwards,
    norms,
    arrangements,
)
models = st.builds(
    ModelConfig,
    st.integers(10, 999),
    st.integers(1, 49).map(lambda half: 2 * half),
    st.integers(1, 99),
    st.lists(blocks, min_size=1, max_size=3).map(tuple),
    norms,
    st.booleans(),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 9),
    st.sampled_from(["sinusoidal", "learned", None]),
)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the shape checker does
@given(models)
def test_json_gives_the_same_config_back(config: ModelConfig) -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_config_is_a_value() -> None:
    assert small_config() == small_config()
    assert hash(small_config()) == hash(small_config())
    with pytest.raises(AttributeError):
        small_config().d_model = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentionConfig(0, 1, 4), "AttentionConfig.n_heads must be a positive integer, found 0"),
        (lambda: AttentionConfig(4, 3, 4), "multiple of n_kv_heads, found 4 heads and 3 key/value heads"),
        (lambda: AttentionConfig(2, 4, 4), "multiple of n_kv_heads, found 2 heads and 4 key/value heads"),
        (lambda: AttentionConfig(2, 2, 5), "head_dim must be even to rotate its pairs, found 5"),
        (lambda: AttentionConfig(2, 2, 4, window=0), "window must be a positive integer, found 0"),
        (lambda: FeedForwardConfig(-1), "FeedForwardConfig.d_ff must be a positive integer, found -1"),
        (lambda: NormConfig(eps=0.0), "NormConfig.eps must be positive, found 0.0"),
        (lambda: RopeConfig(base=1.0), "RopeConfig.base must be greater than 1, found 1.0"),
        (lambda: ModelConfig(9, 9, 9, ()), "at least one block, found none"),
        (lambda: small_config(vocab_size=0), "vocab_size must be a positive integer, found 0"),
        (lambda: small_config(bos_id=61), "bos_id must be None or from 0 to 60, found 61"),
        (lambda: small_config(eos_id=-1), "eos_id must be None or from 0 to 60, found -1"),
    ],
)
def test_what_cannot_run_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_odd_heads_are_fine_without_rotation() -> None:
    assert AttentionConfig(2, 2, 5, rope=None).head_dim == 5


def changed(path: str, value: Any) -> dict[str, Any]:
    values = json.loads(json.dumps(small_config().to_dict()))
    *parents, name = [int(part) if part.isdecimal() else part for part in path.split("/")]
    place = values
    for parent in parents:
        place = place[parent]
    place[name] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("d_modle", 3, "ModelConfig has no d_modle; it has .*d_model"),
        ("blocks/0/attention/heads", 3, "AttentionConfig has no heads"),
        ("blocks/0/attention/rope/scale", 3, "RopeConfig has no scale; it has base, dims, layout, scaling"),
        ("blocks/0/attention/rope", 3, "RopeConfig must be a mapping of names to values, found 3"),
        ("blocks/0/attention/rope/layout", "quarter", "layout"),
        ("blocks/0/feedforward/activation", "tanh", "activation"),
        ("blocks/0/norm_position", "both", "norm_position"),
        ("blocks/0/residual", "double", "residual"),
        ("blocks/0/attention/alibi", 1, "alibi"),
        ("blocks/0/attention/rope/scaling", 2, "RopeConfig must be a mapping of names to values, found 2"),
        ("blocks/0/attention/rope/scaling", {"kind": "cubic"}, "kind must be one of linear, .*found 'cubic'"),
        ("blocks/0/attention/rope/scaling", {"kind": "linear"}, "missing.*'factor'"),
        ("blocks/0/attention/rope/scaling", {"kind": "linear", "factor": 0.5}, "factor must be at least 1"),
        ("positional_embedding", "rotary", "positional_embedding"),
        ("blocks/0/norm/kind", "batch", "kind"),
        ("blocks/0/feedforward", None, "FeedForwardConfig must be a mapping of names to values, found None"),
        ("blocks/1", "plain", "BlockConfig must be a mapping of names to values, found 'plain'"),
        ("blocks", "plain", "blocks"),
        ("blocks", {"0": {}}, "blocks"),
        ("blocks", [], "at least one block"),
        ("norm", None, "NormConfig must be a mapping"),
        ("d_model", 2.5, "d_model"),
        ("d_model", "64", "d_model"),
        ("bos_id", "0", "bos_id"),
        ("tied_embeddings", "false", "tied_embeddings"),
    ],
)
def test_a_wrong_value_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(changed(path, value))


@pytest.mark.parametrize("name", ["vocab_size", "d_model", "context_length", "blocks"])
def test_a_missing_value_is_named(name: str) -> None:
    values = small_config().to_dict()
    del values[name]
    with pytest.raises(ValueError, match=f"missing.*'{name}'"):
        ModelConfig.from_dict(values)
