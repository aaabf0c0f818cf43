"""A `config.json` may say one thing in several ways, and what it says is carried out or refused."""

from dataclasses import replace
from typing import Any

import pytest
from peer_library import said_by_peer
from peers.llama import SIZES

from llmref.config import ModelConfig
from llmref.families import FAMILIES

FULL, SLIDING = "full_attention", "sliding_attention"
FACTORS = {"short_factor": [1.0, 1.1, 1.3], "long_factor": [1.5, 3.0, 7.0]}
LONG_ROPE = {"rope_theta": 100.0, "original_max_position_embeddings": 12, **FACTORS}
SHARED = {name: value for name, value in SIZES.items() if name != "head_dim"} | {"hidden_size": 24}


def read(name: str, **values: Any) -> ModelConfig:
    return FAMILIES[name].read({"model_type": name, **SIZES, **values})


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "mistral",
            {"rope_theta": 50.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0}},
        ),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
            {"use_sliding_window": True, "sliding_window": 5, "layer_types": [FULL, SLIDING, SLIDING]},
        ),
        (
            "qwen3",
            {"sliding_window": 5, "max_window_layers": 0},
            {"sliding_window": None, "layer_types": [FULL] * 3},
        ),
        (
            "gemma2",
            {"hidden_act": "gelu_pytorch_tanh", "sliding_window": 5},
            {
                "hidden_activation": "gelu_pytorch_tanh",
                "sliding_window": 5,
                "layer_types": [SLIDING, FULL, SLIDING],
            },
        ),
        (
            "gemma3_text",
            {
                "sliding_window": 5,
                "sliding_window_pattern": 2,
                "rope_theta": 1000.0,
                "rope_local_base_freq": 50.0,
                "rope_scaling": {"rope_type": "linear", "factor": 4.0},
            },
            {
                "sliding_window": 5,
                "layer_types": [SLIDING, FULL, SLIDING],
                "rope_parameters": {
                    FULL: {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0},
                    SLIDING: {"rope_type": "default", "rope_theta": 50.0},
                },
            },
        ),
        *(
            (
                "phi3",
                {
                    **SHARED,
                    "head_dim": None,
                    "original_max_position_embeddings": 12,
                    "rope_theta": 100.0,
                    "rope_scaling": {"type": old_name, "original_max_position_embeddings": 12, **FACTORS},
                },
                {
                    **SHARED,
                    "head_dim": None,
                    "original_max_position_embeddings": 12,
                    "rope_parameters": {"rope_type": "longrope", **LONG_ROPE},
                },
            )
            for old_name in ("su", "yarn", "longrope")
        ),
        ("smollm3", {"no_rope_layer_interval": 2}, {"no_rope_layers": [1, 0, 1]}),
    ],
)
def test_old_and_new_spellings_are_read_alike(name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert read(name, **old) == read(name, **new)
    values = {key: value for key, value in {**SIZES, **old}.items() if value is not None}
    assert FAMILIES[name].read(said_by_peer(name, **values)) == replace(read(name, **old), bos_id=None)


def test_null_is_not_the_default() -> None:
    assert read("mistral").blocks[0].attention.window == 4096
    assert read("mistral", sliding_window=None).blocks[0].attention.window is None
    assert read("gemma2").logit_soft_cap == 30.0
    assert read("gemma2", final_logit_softcapping=None).logit_soft_cap is None


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("llama", {"hidden_act": "tanh"}, "hidden_act must be one of .*, found 'tanh'"),
        (
            "llama",
            {"head_dim": None, "num_attention_heads": 0},
            "the width must be a multiple .*, found 20 for 0",
        ),
        ("llama", {"num_hidden_layers": 0}, "num_hidden_layers must be at least 1, found 0"),
        ("llama", {"partial_rotary_factor": float("inf")}, "partial_rotary_factor must be .*, found inf"),
        ("llama", {"partial_rotary_factor": 0.5}, "all 6 dimensions of a head must be rotated, found 3"),
        (
            "llama",
            {"rope_parameters": {FULL: {"rope_type": "default"}}},
            "rope_parameters must be one for all layers, found one for 'full_attention'",
        ),
        (
            "llama",
            {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 7}},
            r"original_max_position_embeddings must be max_position_embeddings \(48\), found 7",
        ),
        ("llama", {"rope_scaling": {"rope_type": ["linear"]}}, "rope_type must be text, found"),
        ("llama", {"rope_scaling": {"rope_type": "linear", "factor": "2"}}, "factor must be a number"),
        ("mistral", {"attention_bias": True}, "attention_bias must be None or False, found True"),
        ("mistral", {"layer_types": [FULL] * 3}, "layer_types must be None"),
        ("qwen2", {"mlp_bias": True}, "mlp_bias must be None or False, found True"),
        ("qwen2", {"layer_types": [FULL]}, "layer_types must name 3 layers' kinds, found 1"),
        ("qwen2", {"layer_types": ["chunked"] * 3}, "a layer's type must be .*, found 'chunked'"),
        (
            "qwen3",
            {"layer_types": [SLIDING] * 3, "sliding_window": 5},
            "a layer of type 'sliding_attention' needs a sliding_window in use, found none",
        ),
        ("phi3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "type must be .*, found 'linear'"),
        (
            "phi3",
            {"rope_scaling": {"type": "su", **LONG_ROPE}, "original_max_position_embeddings": 24},
            "original_max_position_embeddings must be None or 24, found 12",
        ),
        ("phi3", {"lm_head_bias": True}, "lm_head_bias must be None or False, found True"),
        ("gemma2", {"hidden_act": "gelu"}, "hidden_act must be None or 'gelu_pytorch_tanh', found 'gelu'"),
        ("gemma2", {"hidden_activation": "tanh"}, "hidden_activation must be one of .*, found 'tanh'"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention must be"),
        ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar must be a number above 0, found 0"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping must be None, found 50.0"),
        (
            "gemma3_text",
            {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
            "rope_parameters must have an object for each kind of layers, found",
        ),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers must be a 0 or 1 for each of 3 layers"),
        ("smollm3", {"no_rope_layers": [1, 2, 1]}, "no_rope_layers must be a 0 or 1 for each of 3 layers"),
    ],
)
def test_what_a_family_does_not_do_is_refused(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(name, **values)


def test_a_value_that_the_family_refuses_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="a config.json of mistral cannot say this config: attention_bias"):
        FAMILIES["mistral"].to_json(read("llama", attention_bias=True))
