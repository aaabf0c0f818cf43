"""The block: its arrangements against PyTorch's and the peer library's own layers, and written out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import small_config
from torch import Tensor, nn
from transformers import Gemma2Config, GPTNeoXConfig, GraniteConfig
from transformers.models.gemma2.modeling_gemma2 import Gemma2DecoderLayer
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXLayer
from transformers.models.granite.modeling_granite import GraniteDecoderLayer

from llmref.block import TransformerBlock
from llmref.config import BlockConfig

D_MODEL, N_HEADS, HEAD_DIM, TOKENS = 20, 4, 6, 7
LAYER_NAMES = {  # ours, and those that most decoder layers of the peer library have
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "feedforward.gate": "mlp.gate_proj",
    "feedforward.up": "mlp.up_proj",
    "feedforward.down": "mlp.down_proj",
    "attention_norm": "input_layernorm",
}


def make(
    norm_position: str, norm: str = "layer", residual: str = "serial", **rest: Any
) -> tuple[BlockConfig, TransformerBlock]:
    torch.manual_seed(0)
    fields: dict[str, Any] = dict(
        n_heads=N_HEADS, n_kv_heads=N_HEADS, head_dim=HEAD_DIM, layout=None,
        gated=False, activation="gelu", bias=True,
    )  # fmt: skip
    config = small_config(
        norm=norm, norm_position=norm_position, residual=residual, **(fields | rest)
    ).blocks[0]
    block = TransformerBlock(config, d_model=D_MODEL).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.3)
    return config, block


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    x = torch.randn(2, TOKENS, D_MODEL, dtype=torch.float64)
    allowed = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril().expand(2, TOKENS, TOKENS)
    return x, torch.arange(TOKENS).expand(2, TOKENS), allowed


def additive(allowed: Tensor) -> Tensor:
    """The mask as the peer library takes it: 0 where a key may be seen, very low where not."""
    return torch.zeros(allowed.shape, dtype=torch.float64).masked_fill(~allowed, -1e300)[:, None]


def no_rotation(width: int) -> tuple[Tensor, Tensor]:
    """The peer library's cos and sin of angles that are all 0."""
    ones = torch.ones(2, TOKENS, width, dtype=torch.float64)
    return ones, torch.zeros_like(ones)


# Against others' layers


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_a_block_is_pytorchs_layer(norm_position: str) -> None:
    config, block = make(norm_position, head_dim=5)
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
    x, positions, allowed = inputs()
    found = block(x, positions, allowed)
    torch.testing.assert_close(found, twin(x, src_mask=~allowed[0]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("residual", ["parallel", "serial"])
def test_a_parallel_block_is_that_of_gpt_neox(residual: str) -> None:
    ours, _ = make("pre", "layer", residual)
    config = GPTNeoXConfig(
        hidden_size=N_HEADS * HEAD_DIM,
        num_attention_heads=N_HEADS,
        intermediate_size=29,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        use_parallel_residual=residual == "parallel",
        attn_implementation="eager",
    )
    block = TransformerBlock(ours, d_model=config.hidden_size).double()
    torch.manual_seed(0)
    twin = GPTNeoXLayer(config, layer_idx=0).double().eval()
    names = {
        "attention.output": "attention.dense",
        "feedforward.up": "mlp.dense_h_to_4h",
        "feedforward.down": "mlp.dense_4h_to_h",
        "attention_norm": "input_layernorm",
        "feedforward_norm": "post_attention_layernorm",
    }
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.normal_(std=0.3)
        for name, theirs in names.items():
            block.get_submodule(name).load_state_dict(twin.get_submodule(theirs).state_dict())
        for kind in ("weight", "bias"):  # theirs holds query, key and value of each head together
            fused = getattr(twin.attention.query_key_value, kind).unflatten(0, (N_HEADS, 3, HEAD_DIM))
            for number, name in enumerate(("query", "key", "value")):
                getattr(getattr(block.attention, name), kind).copy_(fused[:, number].flatten(0, 1))
    torch.manual_seed(1)
    x = torch.randn(2, TOKENS, config.hidden_size, dtype=torch.float64)
    _, positions, allowed = inputs()
    expected = twin(
        x,
        attention_mask=additive(allowed),
        position_embeddings=no_rotation(twin.attention.rotary_ndims),
    )
    torch.testing.assert_close(block(x, positions, allowed), expected, rtol=1e-6, atol=1e-6)


def test_a_sandwich_is_the_block_of_gemma_2() -> None:
    settings: dict[str, Any] = dict(n_kv_heads=2, gated=True, activation="silu", bias=False)
    _, block = make("sandwich", "rms", **settings)
    config = Gemma2Config(
        hidden_size=D_MODEL,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        head_dim=HEAD_DIM,
        intermediate_size=29,
        hidden_activation="silu",
        rms_norm_eps=1e-5,
        query_pre_attn_scalar=HEAD_DIM,
        attn_logit_softcapping=None,
        sliding_window=None,
        attn_implementation="eager",
    )
    twin = Gemma2DecoderLayer(config, layer_idx=1).double().eval()
    names = {
        **LAYER_NAMES,
        "attention_output_norm": "post_attention_layernorm",
        "feedforward_norm": "pre_feedforward_layernorm",
        "feedforward_output_norm": "post_feedforward_layernorm",
    }
    with torch.no_grad():
        for name, theirs in names.items():
            weight = block.get_submodule(name).weight
            # Theirs scales by 1 + weight.
            twin.get_submodule(theirs).weight.copy_(weight - 1 if name.endswith("norm") else weight)
    x, positions, allowed = inputs()
    expected = twin(x, attention_mask=additive(allowed), position_embeddings=no_rotation(HEAD_DIM))
    # Theirs normalizes in float32.
    torch.testing.assert_close(block(x, positions, allowed), expected, rtol=1e-5, atol=1e-5)


def test_residual_multipliers_are_those_of_granite() -> None:
    settings: dict[str, Any] = dict(n_kv_heads=2, gated=True, activation="silu", bias=False)
    plain, weights = make("pre", "rms", **settings)
    attention = replace(plain.attention, scale=0.31)
    block = TransformerBlock(replace(plain, attention=attention, residual_multiplier=0.22), D_MODEL).double()
    block.load_state_dict(weights.state_dict())
    config = GraniteConfig(
        hidden_size=D_MODEL,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        head_dim=HEAD_DIM,
        intermediate_size=29,
        rms_norm_eps=1e-5,
        residual_multiplier=0.22,
        attention_multiplier=0.31,
        attn_implementation="eager",
    )
    twin = GraniteDecoderLayer(config, layer_idx=0).double().eval()
    names = {
        **LAYER_NAMES,
        "feedforward_norm": "post_attention_layernorm",
    }
    with torch.no_grad():
        for name, theirs in names.items():
            twin.get_submodule(theirs).load_state_dict(block.get_submodule(name).state_dict())
    x, positions, allowed = inputs()
    expected = twin(x, attention_mask=additive(allowed), position_embeddings=no_rotation(HEAD_DIM))
    # Theirs normalizes in float32.
    torch.testing.assert_close(block(x, positions, allowed), expected, rtol=1e-5, atol=1e-5)


# Written out

Layer = Callable[[Tensor], Tensor]


def written_out(
    norm_position: str, residual: str, x: Tensor, attention: Layer, feedforward: Layer, *norms: Layer
) -> Tensor:
    """Every arrangement on its own. Norms: attention's, that of its output, then feedforward's two."""
    n1, n2, n3, n4 = norms
    middle: Tensor
    match residual, norm_position:
        case "serial", "none":
            middle = x + attention(x)
            return middle + feedforward(middle)
        case "serial", "pre":
            middle = x + attention(n1(x))
            return middle + feedforward(n3(middle))
        case "serial", "post":
            middle = n1(x + attention(x))
            return n3(middle + feedforward(middle))
        case "serial", "sandwich":
            middle = x + n2(attention(n1(x)))
            return middle + n4(feedforward(n3(middle)))
        case "parallel", "none":
            return x + attention(x) + feedforward(x)
        case "parallel", "pre":
            return x + attention(n1(x)) + feedforward(n3(x))
        case "parallel", "sandwich":
            return x + n2(attention(n1(x))) + n4(feedforward(n3(x)))
        case "none", "none":
            return feedforward(attention(x))
        case "none", "pre":
            return feedforward(n3(attention(n1(x))))
        case "none", "post":
            return n3(feedforward(n1(attention(x))))
        case "none", "sandwich":
            return n4(feedforward(n3(n2(attention(n1(x))))))
    raise AssertionError((residual, norm_position))


ARRANGEMENTS = [
    (norm_position, residual)
    for norm_position in ("none", "pre", "post", "sandwich")
    for residual in ("none", "serial", "parallel")
    if (norm_position, residual) != ("post", "parallel")
]


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize(("norm_position", "residual"), ARRANGEMENTS)
def test_the_order_of_norm_and_addition(norm_position: str, residual: str, norm: str) -> None:
    _, block = make(norm_position, norm, residual)
    x, positions, allowed = inputs()
    expected = written_out(
        norm_position,
        residual,
        x,
        lambda read: block.attention(read, positions, allowed),
        block.feedforward,
        block.attention_norm,
        block.attention_output_norm,
        block.feedforward_norm,
        block.feedforward_output_norm,
    )
    torch.testing.assert_close(block(x, positions, allowed), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("norm_position", "count"), [("none", 0), ("pre", 2), ("post", 2), ("sandwich", 4)])
def test_a_block_has_the_norms_it_uses_and_no_others(norm_position: str, count: int) -> None:
    _, block = make(norm_position, "rms")
    norms = [name for name, _ in block.named_parameters() if "norm" in name]
    assert len(norms) == count
    x, positions, allowed = inputs()
    block(x, positions, allowed).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_no_two_arrangements_are_the_same() -> None:
    x, positions, allowed = inputs()
    found = {}
    for norm_position, residual in ARRANGEMENTS:
        _, block = make(norm_position, "rms", residual)
        with torch.no_grad():
            for name, parameter in block.named_parameters():
                parameter.copy_(torch.ones_like(parameter) if "norm" in name else 0.1 * parameter.sin())
        found[norm_position, residual] = block(x, positions, allowed)
    outputs = list(found.values())
    for number, one in enumerate(outputs):
        assert not any(torch.allclose(one, other) for other in outputs[:number])
