"""The peer library's Mistral, small and odd: what `llmref.families.mistral` is held to."""

from peers.llama import SIZES
from transformers import MistralConfig

PEERS = {
    "window": MistralConfig(**SIZES, sliding_window=5),
    "no window, tied, every head its own keys, another base": MistralConfig(
        **{**SIZES, "num_key_value_heads": 4},
        sliding_window=None,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    ),
    "one head for the keys, window, dynamic": MistralConfig(
        **{**SIZES, "num_key_value_heads": 1, "max_position_embeddings": 12},
        sliding_window=9,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0},
    ),
}
