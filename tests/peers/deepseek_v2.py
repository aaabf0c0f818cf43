"""The peer library's DeepSeek-V2, small and odd: what `llmref.families.deepseek_v2` is held to."""

from peers.llama import SIZES
from transformers import DeepseekV2Config

# Even sizes: the peer library's rotation, on complex numbers, asks for strides of two.
LATENT_SIZES = {
    **{name: size for name, size in SIZES.items() if name != "head_dim"},
    "num_key_value_heads": 4,
    "kv_lora_rank": 14,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 5,
    "moe_intermediate_size": 13,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 100.0,
    "factor": 4.0,
    "beta_fast": 4.0,
    "beta_slow": 1.0,
    "original_max_position_embeddings": 12,
}
PEERS = {
    "queries at once, two shared experts, a dense layer below": DeepseekV2Config(
        **LATENT_SIZES,
        q_lora_rank=None,
        n_routed_experts=6,
        num_experts_per_tok=3,
        n_shared_experts=2,
        first_k_dense_replace=1,
    ),
    "queries from a latent, groups, biases, tied, YaRN with two sharpnesses": DeepseekV2Config(
        **LATENT_SIZES,
        q_lora_rank=11,
        n_routed_experts=6,
        num_experts_per_tok=2,
        n_shared_experts=1,
        topk_method="group_limited_greedy",
        n_group=3,
        topk_group=2,
        routed_scaling_factor=1.7,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        rope_parameters={**YARN, "mscale": 1.3, "mscale_all_dim": 0.707},
    ),
    "no shared expert, GELU, YaRN as sharp in all dimensions": DeepseekV2Config(
        **{**LATENT_SIZES, "v_head_dim": 9, "kv_lora_rank": 8},
        q_lora_rank=6,
        n_routed_experts=4,
        num_experts_per_tok=1,
        n_shared_experts=0,
        first_k_dense_replace=2,
        hidden_act="gelu_pytorch_tanh",
        rope_parameters={**YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
    ),
}
NEEDED = {"num_experts_per_tok": 6}
REFUSED = {
    "norm_topk_prob must be None or False, found True": {"norm_topk_prob": True},
    "num_key_value_heads must be None or 4, found 2": {"num_key_value_heads": 2},
    "moe_layer_freq must be None or 1, found 2": {"moe_layer_freq": 2},
    "scoring_func must be None or 'softmax', found 'sigmoid'": {"scoring_func": "sigmoid"},
    "topk_method must be None or 'greedy' or 'group_limited_greedy', found 'x'": {"topk_method": "x"},
}
