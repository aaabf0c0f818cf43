"""The peer library's gpt-oss, small and odd: what `llmref.families.gpt_oss` is held to."""

from peers.llama import SIZES
from transformers import GptOssConfig

YARN = {
    "rope_type": "yarn",
    "rope_theta": 100.0,
    "factor": 4.0,
    "beta_fast": 4.0,
    "beta_slow": 1.0,
    "original_max_position_embeddings": 12,
    "truncate": False,
}
PEERS = {
    "windows in turn, gates cut off, YaRN on parts of pairs": GptOssConfig(
        **SIZES,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=5,
        swiglu_limit=0.75,
        rope_parameters=YARN,
    ),
    "windows above, no biases in attention, tied": GptOssConfig(
        **{**SIZES, "num_key_value_heads": 1, "head_dim": 10},
        num_local_experts=3,
        num_experts_per_tok=1,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        sliding_window=9,
        attention_bias=False,
        tie_word_embeddings=True,
        rope_parameters={**YARN, "truncate": True},
    ),
    "no scaling": GptOssConfig(
        **{**SIZES, "num_key_value_heads": 4},
        num_local_experts=5,
        num_experts_per_tok=4,
        sliding_window=3,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    ),
}
REFUSED = {
    "swiglu_alpha must be None or 1.702, found 1.0": {"swiglu_alpha": 1.0},
    "hidden_act must be None or 'silu', found 'gelu'": {"hidden_act": "gelu"},
}
