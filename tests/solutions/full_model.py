"""The whole model: each published name has one of ours."""

from torch import Tensor

OURS = {
    "model.embed_tokens": "embedding",
    "model.layers": "blocks",
    "input_layernorm": "attention_norm",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.output",
    "post_attention_layernorm": "feedforward_norm",
    "mlp.gate_proj": "feedforward.gate",
    "mlp.up_proj": "feedforward.up",
    "mlp.down_proj": "feedforward.down",
    "model.norm": "final_norm",
}


def rename(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in stored.items():
        for theirs, ours in OURS.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    renamed.setdefault("lm_head.weight", renamed["embedding.weight"])
    return renamed
