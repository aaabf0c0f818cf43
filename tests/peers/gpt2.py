"""The peer library's GPT-2, small and odd: what `llmref.families.gpt2` is held to."""

from transformers import GPT2Config

SIZES = dict(
    vocab_size=61,
    n_positions=48,
    n_embd=20,
    n_layer=3,
    n_head=4,
    n_inner=29,
    layer_norm_epsilon=1e-3,
    bos_token_id=1,
    eos_token_id=None,
)
PEERS = {
    "plain": GPT2Config(**SIZES),
    "untied, the usual width inside": GPT2Config(**{**SIZES, "n_inner": None}, tie_word_embeddings=False),
    "five heads, scores not scaled, exact GELU": GPT2Config(
        **{**SIZES, "n_head": 5}, scale_attn_weights=False, activation_function="gelu"
    ),
}
# What we would not carry out: the value's name, and a config.json that has it.
REFUSED = {
    "scale_attn_by_inverse_layer_idx": {"scale_attn_by_inverse_layer_idx": True},
    "add_cross_attention": {"add_cross_attention": True},
    "activation_function": {"activation_function": "tanh"},
    "width must be a multiple of the number of heads": {"n_head": 7},
}
IGNORED = ["h.0.attn.bias", "transformer.h.11.attn.masked_bias"]
