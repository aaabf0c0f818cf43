"""The peer library's Gemma 3, small and odd: what `llmref.families.gemma3` is held to."""

from peers.llama import SIZES
from transformers import Gemma3TextConfig

PEERS = {
    "two bases, every third layer sees all": Gemma3TextConfig(
        **{**SIZES, "num_hidden_layers": 4},
        sliding_window=5,
        sliding_window_pattern=3,
        query_pre_attn_scalar=6,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            "full_attention": {"rope_type": "default", "rope_theta": 1000.0},
        },
    ),
    "distant layers scaled linearly, scale of its own, biases, not tied, logits capped": Gemma3TextConfig(
        **SIZES,
        sliding_window=7,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        query_pre_attn_scalar=11,
        attention_bias=True,
        tie_word_embeddings=False,
        final_logit_softcapping=3.0,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0},
        },
    ),
    "only windows, one head for the keys": Gemma3TextConfig(
        **{**SIZES, "num_key_value_heads": 1}, sliding_window=5, query_pre_attn_scalar=6
    ),
}
