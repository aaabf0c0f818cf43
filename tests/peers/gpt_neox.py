"""The peer library's GPT-NeoX, small and odd: what `llmref.families.gpt_neox` is held to."""

from transformers import GPTNeoXConfig

SIZES = dict(
    vocab_size=61,
    hidden_size=24,
    intermediate_size=29,
    num_hidden_layers=3,
    num_attention_heads=3,
    max_position_embeddings=48,
    layer_norm_eps=1e-3,
    bos_token_id=1,
    eos_token_id=None,
)
PEERS = {
    "plain, a quarter rotates": GPTNeoXConfig(**SIZES, rotary_emb_base=100.0),
    "one layer after the other, three quarters rotate, tied": GPTNeoXConfig(
        **SIZES,
        use_parallel_residual=False,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.75},
    ),
    "no bias in attention, all of a head rotates, GELU by tanh": GPTNeoXConfig(
        **SIZES, attention_bias=False, rotary_pct=1.0, hidden_act="gelu_fast"
    ),
    "half rotates, scaled linearly": GPTNeoXConfig(
        **{**SIZES, "max_position_embeddings": 12},
        rope_parameters={
            "rope_type": "linear",
            "rope_theta": 100.0,
            "factor": 4.0,
            "partial_rotary_factor": 0.5,
        },
    ),
}
# What we would not carry out: the value's name, and a config.json that has it.
REFUSED = {
    "hidden_act": {"hidden_act": "tanh"},
    "rope type": {"rope_parameters": {"rope_type": "spiral", "rope_theta": 100.0}},
    "width must be a multiple of the number of heads": {"num_attention_heads": 7},
}
# As published files say it: the case that they describe.
OLDER = {
    "plain, a quarter rotates": {
        "vocab_size": 61,
        "hidden_size": 24,
        "intermediate_size": 29,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "max_position_embeddings": 48,
        "layer_norm_eps": 1e-3,
        "rotary_pct": 0.25,
        "rotary_emb_base": 100,
        "bos_token_id": 1,
    }
}
IGNORED = [
    "gpt_neox.layers.0.attention.bias",
    "gpt_neox.layers.43.attention.masked_bias",
    "gpt_neox.layers.0.attention.rotary_emb.inv_freq",
]
