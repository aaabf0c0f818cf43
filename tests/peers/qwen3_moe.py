"""The peer library's Qwen3-MoE, small and odd: what `llmref.families.qwen3_moe` is held to."""

from peers.llama import SIZES
from peers.qwen2 import YARN
from transformers import Qwen3MoeConfig

PEERS = {
    "a mixture in each layer, weights as they are": Qwen3MoeConfig(
        **SIZES, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=13, norm_topk_prob=False
    ),
    "every second layer, weights that sum to 1, biases, tied": Qwen3MoeConfig(
        **SIZES,
        num_experts=6,
        num_experts_per_tok=3,
        moe_intermediate_size=11,
        norm_topk_prob=True,
        decoder_sparse_step=2,
        attention_bias=True,
        tie_word_embeddings=True,
    ),
    "a dense layer in the middle, window, YaRN": Qwen3MoeConfig(
        **{**SIZES, "num_key_value_heads": 1, "head_dim": 10},
        num_experts=4,
        num_experts_per_tok=1,
        moe_intermediate_size=7,
        norm_topk_prob=True,
        mlp_only_layers=[1],
        use_sliding_window=True,
        sliding_window=7,
        rope_parameters=YARN,
    ),
}
REFUSED = {"decoder_sparse_step must be at least 1, found 0": {"decoder_sparse_step": 0}}
OLDER = {
    "every second layer, weights that sum to 1, biases, tied": {
        **SIZES,
        "num_experts": 6,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 11,
        "norm_topk_prob": True,
        "mlp_only_layers": [0, 2],
        "attention_bias": True,
        "tie_word_embeddings": True,
    }
}
