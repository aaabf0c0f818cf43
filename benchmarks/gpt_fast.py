"""gpt-fast beside us, where its folder is given. Its code is not ours, and nothing of it is here.

It must be a copy of https://github.com/pytorch-labs/gpt-fast: its `model.py` is run as it is. Around it
stands what its `generate.py` does for one text: a cache of fixed size, one compiled step of one token with
CUDA graphs, attention left to the compiler. It gets the weights of the folder that we load, in its own
layout.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

NAMES = {
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}


def load(
    code: Path, folder: Path, device: str, dtype: torch.dtype, length: int, compiled: bool
) -> Callable[[list[int], int], list[int]]:
    """What writes so many greedy ids after a prompt of so many, by gpt-fast."""
    specification = importlib.util.spec_from_file_location("gpt_fast_model", code / "model.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where the compiler looks it up
    specification.loader.exec_module(module)
    values = json.loads((folder / "config.json").read_text("utf-8"))
    rope = values.get("rope_parameters") or values
    config = module.ModelArgs(
        block_size=length,
        vocab_size=values["vocab_size"],
        n_layer=values["num_hidden_layers"],
        n_head=values["num_attention_heads"],
        n_local_heads=values["num_key_value_heads"],
        dim=values["hidden_size"],
        intermediate_size=values["intermediate_size"],
        rope_base=rope["rope_theta"],
        norm_eps=values["rms_norm_eps"],
    )
    with torch.device("meta"):
        model = module.Transformer(config)
    model.load_state_dict(weights(folder, config), assign=True)
    model = model.to(device, dtype).eval()
    with torch.device(device):
        model.setup_caches(1, length)

    def step(tokens: Tensor, positions: Tensor) -> Tensor:
        return model(tokens, positions)[:, -1].argmax(dim=-1, keepdim=True)

    options: Any = {"coordinate_descent_tuning": True, "triton.cudagraphs": device == "cuda"}
    one = torch.compile(step, fullgraph=True, options=options) if compiled else step

    def write(ids: list[int], new: int) -> list[int]:
        positions, found = torch.arange(len(ids), device=device), list[Tensor]()
        with torch.inference_mode():
            tokens = step(torch.tensor([ids], device=device), positions)
            found.append(tokens.clone())
            place = positions[-1:] + 1
            for _ in range(new - 1):
                with sdpa_kernel(SDPBackend.MATH):
                    tokens = one(tokens, place).clone()
                found.append(tokens)
                place += 1
        return torch.cat(found, dim=1)[0].tolist()

    return write


def weights(folder: Path, config: Any) -> dict[str, Tensor]:
    """The folder's tensors under gpt-fast's names; it pairs the dimensions of RoPE as neighbours."""
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    ours = {
        "tok_embeddings.weight": found["model.embed_tokens.weight"],
        "norm.weight": found["model.norm.weight"],
        "output.weight": found["lm_head.weight"],
    }
    for layer in range(config.n_layer):
        theirs = f"model.layers.{layer}."
        for name, new in NAMES.items():
            ours[f"layers.{layer}.{new}.weight"] = found[f"{theirs}{name}.weight"]
        query, key, value = (found[f"{theirs}self_attn.{name}_proj.weight"] for name in "qkv")
        neighbours = [interleaved(query, config.n_head), interleaved(key, config.n_local_heads), value]
        ours[f"layers.{layer}.attention.wqkv.weight"] = torch.cat(neighbours)
    return ours


def interleaved(weight: Tensor, n_heads: int) -> Tensor:
    """Rows in the order of the layout that turns dimension 2i with 2i + 1, from that of halves.

    >>> interleaved(torch.arange(4.0)[:, None], 1)[:, 0].tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    return weight.unflatten(0, (n_heads, 2, -1)).transpose(1, 2).flatten(0, 2)
