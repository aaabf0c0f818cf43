"""What the tests of the families ask the peer library."""

import json
from typing import Any

import torch
import transformers

BITS = 6  # of a token's id


def said_by_peer(model_type: str, **values: Any) -> dict[str, Any]:
    """The `config.json` that the peer library makes of these values; the ids of tokens are left out."""
    config = transformers.AutoConfig.for_model(model_type, **values)
    said = json.loads(config.to_json_string(use_diff=False))
    return {name: value for name, value in said.items() if not name.endswith("token_id")}


def settle_choices(peer: Any) -> None:
    """Let a token's id alone choose its experts, if a model has any: so that no rounding changes a choice.

    The first dimensions of the stream are the bits of the id, as signs. Nothing adds to them, the norm before
    the routers makes all of them longer or shorter alike, and the routers read nothing else.
    """
    routers = [name for name, _ in peer.named_parameters() if name.endswith(("gate.weight", "router.weight"))]
    if not routers:
        return
    d_model = peer.config.hidden_size
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            if name.endswith("embed_tokens.weight"):
                bits = torch.arange(len(parameter))[:, None] >> torch.arange(BITS) & 1
                parameter[:, :BITS] = 2.0 * bits - 1
            elif "o_proj" in name or "down_proj" in name:
                parameter.movedim(parameter.shape.index(d_model), 0)[:BITS] = 0
            elif name.endswith("post_attention_layernorm.weight"):
                parameter[:BITS] = 1
            elif name in routers:
                parameter[:, BITS:] = 0
                parameter.copy_(parameter.bfloat16())
