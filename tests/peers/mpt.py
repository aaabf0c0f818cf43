"""The peer library's MPT, small and odd: what `llmref.families.mpt` is held to.

Its own model never adds a bias and has four times the width inside, whatever its config says.
"""

from transformers import MptConfig

SIZES = dict(
    vocab_size=61,
    d_model=20,
    n_layers=3,
    n_heads=4,
    max_seq_len=48,
    layer_norm_epsilon=1e-3,
    bos_token_id=1,
    eos_token_id=None,
)
PEERS = {
    "plain": MptConfig(**SIZES),
    "five heads, a scale of its own": MptConfig(
        **{**SIZES, "n_heads": 5}, attn_config={"softmax_scale": 0.7}
    ),
    "six heads, untied": MptConfig(**{**SIZES, "d_model": 18, "n_heads": 6}, tie_word_embeddings=False),
}
# What we would not carry out: the value's name, and a config.json that has it.
REFUSED = {
    "clip_qkv": {"attn_config": {"alibi": True, "clip_qkv": 6.0}},
    "qk_ln": {"attn_config": {"alibi": True, "qk_ln": True}},
    "prefix_lm": {"attn_config": {"alibi": True, "prefix_lm": True}},
    "attn_uses_sequence_id": {"attn_config": {"alibi": True, "attn_uses_sequence_id": True}},
    "attn_type": {"attn_config": {"alibi": True, "attn_type": "multiquery_attention"}},
    "alibi_bias_max": {"attn_config": {"alibi": True, "alibi_bias_max": 16}},
    "alibi must be True": {"attn_config": {"alibi": False}},
    "attn_config is missing": {"attn_config": None},
    "no_bias": {"no_bias": False},
    "expansion_ratio": {"expansion_ratio": 2},
    "logit_scale": {"logit_scale": "inv_sqrt_d_model"},
    "norm_type": {"norm_type": "rmsnorm"},
    "width must be a multiple of the number of heads": {"n_heads": 7},
}
