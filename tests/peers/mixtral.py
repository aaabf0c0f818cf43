"""The peer library's Mixtral, small and odd: what `llmref.families.mixtral` is held to."""

from peers.llama import SIZES
from transformers import MixtralConfig

PEERS = {
    "two of three experts": MixtralConfig(**SIZES, num_local_experts=3, num_experts_per_tok=2),
    "one of four, window, tied, another base": MixtralConfig(
        **{**SIZES, "num_key_value_heads": 1},
        num_local_experts=4,
        num_experts_per_tok=1,
        sliding_window=5,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    ),
    "all experts, GELU": MixtralConfig(
        **{**SIZES, "num_key_value_heads": 4, "num_hidden_layers": 2},
        num_local_experts=3,
        num_experts_per_tok=3,
        hidden_act="gelu",
    ),
}
REFUSED = {
    "MixtureConfig.n_experts must be a positive integer, found 0": {"num_local_experts": 0},
    "MixtureConfig.n_active must be at most n_experts, found 4 of 3": {"num_experts_per_tok": 4},
}
