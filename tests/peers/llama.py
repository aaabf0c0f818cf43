"""The peer library's Llama, small and odd: what `llmref.families.llama` is held to."""

from transformers import LlamaConfig

SIZES = dict(
    vocab_size=61,
    hidden_size=20,
    intermediate_size=29,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=6,
    max_position_embeddings=48,
    rms_norm_eps=1e-3,
    bos_token_id=1,
    eos_token_id=None,
    pad_token_id=None,
)
PEERS = {
    "plain": LlamaConfig(**SIZES, rope_parameters={"rope_type": "default", "rope_theta": 100.0}),
    "biases, tied, every head its own keys": LlamaConfig(
        **{**SIZES, "num_key_value_heads": 4}, attention_bias=True, mlp_bias=True, tie_word_embeddings=True
    ),
    "scaled as Llama 3": LlamaConfig(
        **SIZES,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 12,
        },
    ),
    "scaled linearly": LlamaConfig(
        **{**SIZES, "max_position_embeddings": 12},
        rope_parameters={"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
    ),
    "one head for the keys, YaRN": LlamaConfig(
        **{**SIZES, "num_key_value_heads": 1},
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 100.0,
            "factor": 4.0,
            "original_max_position_embeddings": 12,
        },
    ),
}
