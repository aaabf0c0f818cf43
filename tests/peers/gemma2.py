"""The peer library's Gemma 2, small and odd: what `llmref.families.gemma2` is held to."""

from peers.llama import SIZES
from transformers import Gemma2Config

# Caps so low that they bend most of the numbers.
PEERS = {
    "plain": Gemma2Config(
        **SIZES,
        sliding_window=5,
        query_pre_attn_scalar=6,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "scale of its own, biases, window in layers that are named": Gemma2Config(
        **SIZES,
        sliding_window=7,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        query_pre_attn_scalar=11,
        attention_bias=True,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "no caps, not tied, one head for the keys": Gemma2Config(
        **{**SIZES, "num_key_value_heads": 1},
        sliding_window=5,
        query_pre_attn_scalar=3,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        tie_word_embeddings=False,
    ),
}
