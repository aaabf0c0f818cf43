"""The peer library's Granite, small and odd: what `llmref.families.granite` is held to."""

from transformers import GraniteConfig

SIZES = dict(
    vocab_size=61,
    hidden_size=24,
    intermediate_size=29,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=48,
    rms_norm_eps=1e-3,
    bos_token_id=1,
    eos_token_id=None,
    pad_token_id=None,
    rope_parameters={"rope_type": "default", "rope_theta": 100.0},
)
MULTIPLIERS = dict(
    embedding_multiplier=3.7, residual_multiplier=0.22, attention_multiplier=0.31, logits_scaling=3.0
)
PEERS = {
    "four multipliers": GraniteConfig(**SIZES | {"hidden_size": 20, "head_dim": 6}, **MULTIPLIERS),
    "biases, tied, no multipliers": GraniteConfig(
        **SIZES, attention_bias=True, mlp_bias=True, tie_word_embeddings=True
    ),
}
