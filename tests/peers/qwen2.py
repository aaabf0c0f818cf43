"""The peer library's Qwen2, small and odd: what `llmref.families.qwen2` is held to."""

from peers.llama import SIZES
from transformers import Qwen2Config

YARN = {
    "rope_type": "yarn",
    "rope_theta": 1000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 12,
}
PEERS = {
    "no window": Qwen2Config(**SIZES, sliding_window=5),
    "window above the first layer, tied": Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=5, max_window_layers=1, tie_word_embeddings=True
    ),
    "window in layers that are named, every head its own keys": Qwen2Config(
        **{**SIZES, "num_key_value_heads": 4},
        use_sliding_window=True,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "YaRN": Qwen2Config(**SIZES, rope_parameters=YARN),
    "YaRN with a factor of its own, ramp over parts of pairs": Qwen2Config(
        **{**SIZES, "head_dim": 10},
        rope_parameters={
            **YARN,
            "attention_factor": 1.5,
            "truncate": False,
            "beta_fast": 4.0,
            "beta_slow": 0.5,
        },
    ),
}
