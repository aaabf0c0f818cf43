"""The peer library's OLMo 2, small and odd: what `llmref.families.olmo2` is held to."""

from peers.llama import SIZES
from transformers import Olmo2Config

PEERS = {
    "plain": Olmo2Config(**SIZES),
    "biases, tied, every head its own keys": Olmo2Config(
        **{**SIZES, "num_key_value_heads": 4}, attention_bias=True, tie_word_embeddings=True
    ),
    "one head for the keys, YaRN": Olmo2Config(
        **{**SIZES, "num_key_value_heads": 1},
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 100.0,
            "factor": 4.0,
            "original_max_position_embeddings": 12,
        },
    ),
}
