"""The peer library's StarCoder2, small and odd: what `llmref.families.starcoder2` is held to."""

from peers import llama
from transformers import Starcoder2Config

SIZES = {
    **{name: size for name, size in llama.SIZES.items() if name not in ("rms_norm_eps", "pad_token_id")},
    "norm_epsilon": 1e-3,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
}
PEERS = {
    "plain": Starcoder2Config(**SIZES),
    "a window": Starcoder2Config(**SIZES, sliding_window=7),
    "no biases, untied, one head for the keys": Starcoder2Config(
        **{**SIZES, "num_key_value_heads": 1}, use_bias=False, tie_word_embeddings=False
    ),
    "a window, scaled by YaRN": Starcoder2Config(
        **{
            **SIZES,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 100.0,
                "factor": 4.0,
                "original_max_position_embeddings": 12,
            },
        },
        sliding_window=9,
    ),
}
# What we would not carry out: the value's name, and a config.json that has it.
REFUSED = {
    "norm_type": {"norm_type": "rms_norm"},
    "mlp_type": {"mlp_type": "gated"},
    "hidden_act": {"hidden_act": "tanh"},
    "width must be a multiple of the number of heads": {"head_dim": None, "num_attention_heads": 6},
}
