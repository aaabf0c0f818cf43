"""The peer library's Cohere, small and odd: what `llmref.families.cohere` is held to."""

from peers.llama import SIZES
from transformers import CohereConfig

SIZES = {name: value for name, value in SIZES.items() if name != "rms_norm_eps"} | {"layer_norm_eps": 1e-3}
PEERS = {
    "plain": CohereConfig(**SIZES, logit_scale=0.3),
    "queries and keys normalized": CohereConfig(
        **SIZES,
        use_qk_norm=True,
        logit_scale=2.5,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    ),
    "queries and keys normalized, biases, not tied, one head for the keys": CohereConfig(
        **{**SIZES, "num_key_value_heads": 1},
        use_qk_norm=True,
        attention_bias=True,
        tie_word_embeddings=False,
        logit_scale=0.3,
        rope_parameters={"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0},
    ),
}
