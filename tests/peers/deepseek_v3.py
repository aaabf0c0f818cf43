"""The peer library's DeepSeek-V3, small and odd: what `llmref.families.deepseek_v3` is held to."""

from peers import deepseek_v2
from peers.deepseek_v2 import YARN
from transformers import DeepseekV3Config

LATENT_SIZES = {**deepseek_v2.LATENT_SIZES, "kv_lora_rank": 7, "qk_nope_head_dim": 5, "v_head_dim": 6}

PEERS = {
    "groups, a dense layer below, one shared expert": DeepseekV3Config(
        **LATENT_SIZES,
        q_lora_rank=11,
        n_routed_experts=8,
        num_experts_per_tok=3,
        n_shared_experts=1,
        first_k_dense_replace=1,
        n_group=4,
        topk_group=2,
    ),
    "queries at once, no groups, weights as they are, biases, halves, tied": DeepseekV3Config(
        **LATENT_SIZES,
        q_lora_rank=None,
        n_routed_experts=5,
        num_experts_per_tok=2,
        n_shared_experts=2,
        first_k_dense_replace=0,
        n_group=1,
        topk_group=1,
        norm_topk_prob=False,
        routed_scaling_factor=1.0,
        attention_bias=True,
        rope_interleave=False,
        tie_word_embeddings=True,
    ),
    "no shared expert, YaRN with one sharpness": DeepseekV3Config(
        **{**LATENT_SIZES, "v_head_dim": 9},
        q_lora_rank=6,
        n_routed_experts=6,
        num_experts_per_tok=4,
        n_shared_experts=0,
        first_k_dense_replace=1,
        n_group=3,
        topk_group=2,
        rope_parameters={**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
    ),
}
IGNORED = ("model.layers.3.eh_proj.weight", "model.layers.3.mlp.experts.0.up_proj.weight")
REFUSED = {
    "scoring_func must be None or 'sigmoid', found 'softmax'": {"scoring_func": "softmax"},
    "topk_method must be None or 'noaux_tc', found 'greedy'": {"topk_method": "greedy"},
    "must be a multiple of the router's n_groups, found 8 experts and 3": {"n_group": 3},
    '"best_two" needs groups of two experts at least, found 1': {"n_group": 8, "topk_group": 4},
}
