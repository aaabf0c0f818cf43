"""The peer library's Bloom, small and odd: what `llmref.families.bloom` is held to."""

from transformers import BloomConfig

SIZES = dict(
    vocab_size=61,
    hidden_size=20,
    n_layer=3,
    n_head=4,
    layer_norm_epsilon=1e-3,
    bos_token_id=1,
    eos_token_id=None,
)
PEERS = {
    "plain": BloomConfig(**SIZES),
    "five heads, untied": BloomConfig(**{**SIZES, "n_head": 5}, tie_word_embeddings=False),
    "seven heads, a context of 48": BloomConfig(**{**SIZES, "hidden_size": 21, "n_head": 7}, seq_length=48),
}
# What we would not carry out: the value's name, and a config.json that has it.
REFUSED = {
    "apply_residual_connection_post_layernorm": {"apply_residual_connection_post_layernorm": True},
    "slow_but_exact": {"slow_but_exact": True},
    "n_inner": {"n_inner": 29},
    "n_embed and hidden_size must agree": {"n_embed": 40},
    "width must be a multiple of the number of heads": {"n_head": 7},
}
# As published files say it: the case that they describe.
OLDER = {
    "seven heads, a context of 48": {
        "vocab_size": 61,
        "n_embed": 21,
        "n_inner": None,
        "num_hidden_layers": 3,
        "num_attention_heads": 7,
        "layer_norm_epsilon": 1e-3,
        "seq_length": 48,
        "offset_alibi": 100,
        "bos_token_id": 1,
    }
}
