"""The peer library's SmolLM3, small and odd: what `llmref.families.smollm3` is held to."""

from peers.llama import SIZES
from transformers import SmolLM3Config

PEERS = {
    "every second layer does not rotate": SmolLM3Config(
        **SIZES,
        no_rope_layer_interval=2,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    ),
    "window where nothing rotates, biases, not tied": SmolLM3Config(
        **SIZES,
        no_rope_layers=[0, 1, 0],
        use_sliding_window=True,
        sliding_window=5,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=False,
    ),
    "window in layers that are named, one head for the keys, YaRN": SmolLM3Config(
        **{**SIZES, "num_key_value_heads": 1},
        no_rope_layers=[1, 0, 1],
        use_sliding_window=True,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 100.0,
            "factor": 4.0,
            "original_max_position_embeddings": 12,
        },
    ),
}
