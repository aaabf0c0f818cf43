"""The peer library's Qwen3, small and odd: what `llmref.families.qwen3` is held to."""

from peers.llama import SIZES
from peers.qwen2 import YARN
from transformers import Qwen3Config

PEERS = {
    "plain": Qwen3Config(**SIZES),
    "biases, tied, window above the first layer": Qwen3Config(
        **SIZES,
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=5,
        max_window_layers=1,
        tie_word_embeddings=True,
    ),
    "one head for the keys, YaRN": Qwen3Config(
        **{**SIZES, "num_key_value_heads": 1, "head_dim": 10}, rope_parameters=YARN
    ),
}
