"""The peer library's Phi-3, small and odd: what `llmref.families.phi3` is held to."""

from peers.llama import SIZES
from transformers import Phi3Config

# Without a head_dim of its own: the peer counts the factors by the width of the stream.
SHARED = {name: value for name, value in SIZES.items() if name != "head_dim"} | {"hidden_size": 24}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0, 1.1, 1.3],
    "long_factor": [1.5, 3.0, 7.0],
}
PEERS = {
    "window": Phi3Config(**SIZES, sliding_window=5),
    "every head its own keys, tied, a part of each head turns": Phi3Config(
        **{**SHARED, "num_key_value_heads": 4},
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.7},
    ),
    # Greedy texts of the tests have 17 and 25 tokens: they stay within one original context, and are longer
    # than the other from the first step on.
    "long-rope, most texts in the original context": Phi3Config(
        **SHARED, original_max_position_embeddings=28, rope_parameters=LONG_ROPE
    ),
    "long-rope, most texts beyond, a part of each head turns, window": Phi3Config(
        **SHARED,
        sliding_window=9,
        original_max_position_embeddings=4,
        rope_parameters={
            **LONG_ROPE,
            "partial_rotary_factor": 0.7,
            "short_factor": [1.0, 1.2],
            "long_factor": [2.0, 5.0],
            "attention_factor": 1.4,
        },
    ),
}
