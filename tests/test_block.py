"""The block: pre-norm and post-norm against PyTorch's own encoder layer."""

import pytest
import torch
from helpers import small_config
from torch import nn

from llmref.block import TransformerBlock
from llmref.config import BlockConfig


def make(norm_position: str, norm: str = "layer") -> tuple[BlockConfig, TransformerBlock]:
    torch.manual_seed(0)
    config = small_config(
        n_heads=4,
        n_kv_heads=4,
        head_dim=5,
        layout=None,
        norm=norm,
        norm_position=norm_position,
        gated=False,
        activation="gelu",
        bias=True,
    ).blocks[0]
    block = TransformerBlock(config, d_model=20).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.3)
    return config, block


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_a_block_is_pytorchs_layer(norm_position: str) -> None:
    config, block = make(norm_position)
    twin = nn.TransformerEncoderLayer(
        20, 4, config.feedforward.d_ff, 0.0, "gelu", batch_first=True, norm_first=norm_position == "pre"
    ).double()
    ours = block.state_dict()
    heads = ("query", "key", "value")
    names = {
        "self_attn.in_proj_{}": [f"attention.{name}.{{}}" for name in heads],
        "self_attn.out_proj.{}": ["attention.output.{}"],
        "linear1.{}": ["feedforward.up.{}"],
        "linear2.{}": ["feedforward.down.{}"],
        "norm1.{}": ["attention_norm.{}"],
        "norm2.{}": ["feedforward_norm.{}"],
    }
    twin.load_state_dict(
        {
            theirs.format(kind): torch.cat([ours[name.format(kind)] for name in parts])
            for theirs, parts in names.items()
            for kind in ("weight", "bias")
        }
    )
    x, allowed = torch.randn(2, 7, 20, dtype=torch.float64), torch.ones(7, 7, dtype=torch.bool).tril()
    positions = torch.arange(7).expand(2, 7)
    found = block(x, positions, allowed.expand(2, 7, 7))
    torch.testing.assert_close(found, twin(x, src_mask=~allowed), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_the_order_of_norm_and_addition(norm: str) -> None:
    x, positions = torch.randn(1, 4, 20, dtype=torch.float64), torch.arange(4)[None]
    allowed = torch.ones(1, 4, 4, dtype=torch.bool).tril()
    _, pre = make("pre", norm)
    middle = x + pre.attention(pre.attention_norm(x), positions, allowed)
    expected = middle + pre.feedforward(pre.feedforward_norm(middle))
    torch.testing.assert_close(pre(x, positions, allowed), expected)
    _, post = make("post", norm)
    middle = post.attention_norm(x + post.attention(x, positions, allowed))
    expected = post.feedforward_norm(middle + post.feedforward(middle))
    torch.testing.assert_close(post(x, positions, allowed), expected)
