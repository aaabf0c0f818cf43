"""The peer library's Falcon, small and odd: what `llmref.families.falcon` is held to."""

from transformers import FalconConfig

SIZES = dict(
    vocab_size=61,
    hidden_size=24,
    ffn_hidden_size=29,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=48,
    layer_norm_epsilon=1e-3,
    bos_token_id=1,
    eos_token_id=None,
    rope_parameters={"rope_type": "default", "rope_theta": 100.0},
)
PEERS = {
    "as 7B: one head for the keys, one norm": FalconConfig(**SIZES),
    "as 40B: groups, two norms": FalconConfig(**SIZES, new_decoder_architecture=True, num_kv_heads=2),
    "as 11B: groups, one norm, untied": FalconConfig(
        **{**SIZES, "num_attention_heads": 6},
        new_decoder_architecture=True,
        num_kv_heads=3,
        num_ln_in_parallel_attn=1,
        tie_word_embeddings=False,
    ),
    "every head its own keys, biases": FalconConfig(
        **{**SIZES, "num_attention_heads": 3}, multi_query=False, bias=True
    ),
    "one layer after the other, the usual width inside": FalconConfig(
        **{**SIZES, "ffn_hidden_size": None}, multi_query=False, parallel_attn=False
    ),
}
# What we would not carry out: the value's name, and a config.json that has it.
REFUSED = {
    "alibi": {"alibi": True},
    "apply_residual_connection_post_layernorm": {"apply_residual_connection_post_layernorm": True},
    "parallel_attn": {"new_decoder_architecture": True, "parallel_attn": False},
    "num_ln_in_parallel_attn": {"num_ln_in_parallel_attn": 2},
    "num_kv_heads": {"multi_query": False, "num_kv_heads": 2},
    "activation": {"activation": "tanh"},
    "n_head and num_attention_heads must agree": {"n_head": 3},
    "width must be a multiple of the number of heads": {"num_attention_heads": 7},
}
# As published files say it: the case that they describe.
OLDER = {
    "as 40B: groups, two norms": {
        "vocab_size": 61,
        "hidden_size": 24,
        "ffn_hidden_size": 29,
        "n_layer": 3,
        "n_head": 4,
        "n_head_kv": 2,
        "max_position_embeddings": 48,
        "layer_norm_epsilon": 1e-3,
        "rope_theta": 100.0,
        "alibi": False,
        "bias": False,
        "parallel_attn": True,
        "new_decoder_architecture": True,
        "bos_token_id": 1,
    }
}
