"""DeepNorm: the paper's formula with PyTorch's own LayerNorm, and what it is for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch
from helpers import random_ids, small_config
from torch import Tensor, nn

from llmref.block import TransformerBlock
from llmref.config import ModelConfig, NormConfig
from llmref.deep_norm import deep_norm, initialize_deep_norm
from llmref.model import Transformer, sequential_positions

D_MODEL, TOKENS = 20, 7


@pytest.mark.parametrize("n_blocks", [1, 8, 1000])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize(("kind", "norm"), [("layer", nn.LayerNorm), ("rms", nn.RMSNorm)])
def test_a_block_is_the_papers_formula(
    kind: Literal["layer", "rms"], norm: Callable[..., nn.Module], eps: float, n_blocks: int
) -> None:
    torch.manual_seed(0)
    config = replace(small_config().blocks[0], norm=NormConfig(kind, eps))
    block = TransformerBlock(deep_norm(config, n_blocks), D_MODEL).double()
    norms = [norm(D_MODEL, eps).double() for _ in range(2)]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.3)
        for own, theirs in zip((block.attention_norm, block.feedforward_norm), norms, strict=True):
            theirs.load_state_dict(own.state_dict())
    x = torch.randn(2, TOKENS, D_MODEL, dtype=torch.float64)
    positions = torch.arange(TOKENS).expand(2, -1)
    allowed = torch.ones(2, TOKENS, TOKENS, dtype=torch.bool).tril()

    alpha = {1: 2**0.25, 8: 2.0, 1000: 2000**0.25}[n_blocks]  # (2 M)^(1/4)
    middle = norms[0](alpha * x + block.attention(x, positions, allowed))
    expected = norms[1](alpha * middle + block.feedforward(middle))
    torch.testing.assert_close(block(x, positions, allowed), expected, rtol=1e-12, atol=1e-12)


def deep_model(n_blocks: int, deep: bool) -> Transformer:
    """A stack with post-norm, or with DeepNorm."""
    block = small_config(norm="layer", norm_position="post", gated=False, activation="relu").blocks[0]
    config = ModelConfig(61, D_MODEL, 48, ((deep_norm(block, n_blocks) if deep else block),) * n_blocks)
    torch.manual_seed(0)
    model = Transformer(config)
    if deep:
        initialize_deep_norm(model.blocks)
    return model


@pytest.mark.parametrize("n_blocks", [2, 32])
def test_weights_start_as_the_paper_says(n_blocks: int) -> None:
    model = deep_model(n_blocks, deep=True)
    beta = {2: 0.5, 32: 0.25}[n_blocks]  # (8 M)^(-1/4)
    gains = {
        "attention.query": 1.0, "attention.key": 1.0, "attention.value": beta, "attention.output": beta,
        "feedforward.up": beta, "feedforward.down": beta,
    }  # fmt: skip
    for name, gain in gains.items():
        weights = torch.cat([block.get_submodule(name).weight.flatten() for block in model.blocks])
        outputs, inputs = model.blocks[0].get_submodule(name).weight.shape
        expected = gain * (2 / (inputs + outputs)) ** 0.5
        assert weights.std().item() == pytest.approx(expected, rel=0.08)
        assert abs(weights.mean().item()) < 0.1 * expected


def moved_by_a_step(model: Transformer) -> float:
    """How far the output moves, against its size, when the matrices of the blocks take a step downhill."""
    ids = random_ids(2, 16)

    def output() -> Tensor:
        return model.hidden_states(ids, sequential_positions(ids))

    before = output()
    loss = nn.functional.cross_entropy(model.logits(before)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            if parameter.ndim == 2:
                parameter -= 0.01 * parameter.grad
        return ((output() - before).norm() / before.norm()).item()


def test_a_step_moves_a_deep_stack_no_further_than_a_shallow_one() -> None:
    shallow, deep = (moved_by_a_step(deep_model(n_blocks, deep=True)) for n_blocks in (4, 64))
    assert deep < 2 * shallow
    # Without it the steps of the blocks add up.
    shallow, plain = (moved_by_a_step(deep_model(n_blocks, deep=False)) for n_blocks in (4, 64))
    assert plain > 5 * shallow and plain > 50 * deep


def test_it_needs_a_block() -> None:
    with pytest.raises(ValueError, match="at least 1 block, found 0"):
        deep_norm(small_config().blocks[0], 0)
