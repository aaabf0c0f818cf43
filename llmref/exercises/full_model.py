"""The whole model: write the renaming that lets the package run a checkpoint of the Llama family."""

from torch import Tensor

THEIRS = (  # the names in a Llama checkpoint; those of block 0 stand for those of every block
    "model.embed_tokens.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.self_attn.k_proj.weight",
    "model.layers.0.self_attn.v_proj.weight",
    "model.layers.0.self_attn.o_proj.weight",
    "model.layers.0.post_attention_layernorm.weight",
    "model.layers.0.mlp.gate_proj.weight",
    "model.layers.0.mlp.up_proj.weight",
    "model.layers.0.mlp.down_proj.weight",
    "model.norm.weight",
    "lm_head.weight",
)


def rename(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a Llama checkpoint under the names of `Transformer.state_dict()`.

    `stored` has the names of THEIRS, for as many blocks as the model has. Where the LM head is tied there is
    no `lm_head.weight` in it: then the embedding's matrix is both. To see our names, print
    `llmref.load_tiny()[0].state_dict().keys()`.
    """
    raise NotImplementedError("write rename()")


# What is checked

from typing import Any

import torch

from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.model import Transformer, sequential_positions


def _model(tied: bool) -> Transformer:
    torch.manual_seed(0)
    block = BlockConfig(AttentionConfig(n_heads=4, n_kv_heads=4, head_dim=4), FeedForwardConfig(d_ff=16))
    model = Transformer(ModelConfig(30, 16, 8, (block,) * 11, tied_embeddings=tied))
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weight)
    return model.eval()


def _published(model: Transformer) -> dict[str, Tensor]:
    """The model as a Llama checkpoint has it."""
    ours = (
        "attention_norm",
        *(f"attention.{part}" for part in ("query", "key", "value", "output")),
        "feedforward_norm",
        *(f"feedforward.{part}" for part in ("gate", "up", "down")),
    )
    first, *inside, norm, head = THEIRS
    weights = model.state_dict()
    stored = {first: weights["embedding.weight"], norm: weights["final_norm.weight"]}
    for number in range(len(model.blocks)):
        for theirs, name in zip(inside, ours, strict=True):
            stored[theirs.replace(".0.", f".{number}.")] = weights[f"blocks.{number}.{name}.weight"]
    if not model.config.tied_embeddings:
        stored[head] = weights["lm_head.weight"]
    return {name: weight.clone() for name, weight in stored.items()}


def _logits(model: Transformer) -> Tensor:
    ids = torch.tensor([[1, 5, 3, 7, 2]])
    with torch.no_grad():
        return model(ids, sequential_positions(ids))


def check_names(answer: Any) -> None:
    """Every tensor of the model has its name, and no other name is there."""
    model = _model(tied=False)
    found, expected = set(answer.rename(_published(model))), set(model.state_dict())
    assert found == expected, (
        f"missing: {', '.join(sorted(expected - found)) or 'none'}; "
        f"unknown: {', '.join(sorted(found - expected)) or 'none'}"
    )


def check_logits(answer: Any) -> None:
    """The model with the renamed tensors gives the checkpoint's logits."""
    source = _model(tied=False)
    copy = Transformer(source.config).eval()
    copy.load_state_dict(answer.rename(_published(source)))
    difference = (_logits(copy) - _logits(source)).abs().max().item()
    assert difference < 1e-5, f"expected the same logits, found a difference of {difference:.2g}"


def check_tied(answer: Any) -> None:
    """A checkpoint without an LM head has the embedding's matrix there."""
    source = _model(tied=True)
    found = answer.rename(_published(source))
    assert "lm_head.weight" in found, "expected lm_head.weight also for a checkpoint that has none"
    same = torch.equal(found["lm_head.weight"], source.embedding.weight)
    assert same, "expected lm_head.weight to be the embedding's matrix"
