"""Traces: every named tensor, the arithmetic of the residual stream, and cuts."""

from typing import Any

import pytest
import torch
from helpers import (
    fresh_model,
    left_padded,
    logits_of,
    random_ids,
    small_config,
    small_model,
    small_tokenizer,
    text_config,
)
from torch import Tensor, nn

from llmref.attention.masks import causal, window
from llmref.generation import generate
from llmref.model import Transformer
from llmref.trace import Cut, cutting, trace

IDS = random_ids(2, 7)
SHAPES = {
    "embedding": (2, 7, 20),
    "blocks.0.input": (2, 7, 20),
    "blocks.0.attention.query": (2, 4, 7, 6),
    "blocks.0.attention.key": (2, 2, 7, 6),
    "blocks.0.attention.value": (2, 2, 7, 6),
    "blocks.0.attention.scores": (2, 4, 7, 7),
    "blocks.0.attention.weights": (2, 4, 7, 7),
    "blocks.0.attention.head_outputs": (2, 4, 7, 6),
    "blocks.0.attention.output": (2, 7, 20),
    "blocks.0.middle": (2, 7, 20),
    "blocks.0.feedforward.hidden": (2, 7, 29),
    "blocks.0.feedforward.output": (2, 7, 20),
    "blocks.0.output": (2, 7, 20),
    "final_norm": (2, 7, 20),
    "logits": (2, 7, 61),
}


def test_every_tensor_is_there_by_name_and_shape_in_order() -> None:
    seen = trace(small_model(small_config(n_blocks=1)), IDS)
    assert [(name, tuple(tensor.shape)) for name, tensor in seen.items()] == list(SHAPES.items())
    assert len(trace(small_model(small_config(n_blocks=3)), IDS)) == 3 + 3 * 12


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_the_residual_stream_adds_up(norm_position: str) -> None:
    model = small_model(small_config(norm_position=norm_position))
    seen = trace(model, IDS)
    assert torch.equal(seen["blocks.0.input"], seen["embedding"])
    assert torch.equal(seen["blocks.1.input"], seen["blocks.0.output"])
    for index, block in enumerate(model.blocks):
        name = f"blocks.{index}"
        middle = seen[f"{name}.input"] + seen[f"{name}.attention.output"]
        output = seen[f"{name}.middle"] + seen[f"{name}.feedforward.output"]
        if norm_position == "post":
            middle, output = block.attention_norm(middle), block.feedforward_norm(output)
        torch.testing.assert_close(middle, seen[f"{name}.middle"])
        torch.testing.assert_close(output, seen[f"{name}.output"])


def test_attention_adds_up() -> None:
    seen = trace(small_model(), IDS)
    weights, value = seen["blocks.1.attention.weights"], seen["blocks.1.attention.value"]
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4, 7))
    assert weights.triu(1).abs().max() == 0
    for head in range(4):
        torch.testing.assert_close(
            weights[:, head] @ value[:, head // 2], seen["blocks.1.attention.head_outputs"][:, head]
        )
    scores = seen["blocks.1.attention.query"][:, 3] @ seen["blocks.1.attention.key"][:, 1].mT / 6**0.5
    torch.testing.assert_close(seen["blocks.1.attention.scores"][:, 3], scores)


def test_the_logits_are_those_of_an_ordinary_pass() -> None:
    torch.testing.assert_close(trace(small_model(), IDS)["logits"], logits_of(small_model(), IDS))
    seen = trace(small_model(), IDS[0].tolist())
    torch.testing.assert_close(seen["logits"], logits_of(small_model(), IDS[:1]))


def test_positions_and_a_mask_may_be_given() -> None:
    ids, positions = left_padded([[1, 2, 3, 4], [5, 6]])
    padded = trace(small_model(), ids, positions=positions)
    torch.testing.assert_close(padded["logits"][1:, 2:], logits_of(small_model(), torch.tensor([[5, 6]])))
    assert padded["blocks.0.attention.weights"][1, :, :, :2].abs().max() == 0
    narrow = trace(small_model(), IDS, mask=causal() & window(2))
    assert narrow["blocks.0.attention.weights"].tril(-2).abs().max() == 0


def test_a_traced_tensor_goes_through_the_model_again() -> None:
    model = fresh_model()
    seen = trace(model, IDS)
    early = model.lm_head(
        model.final_norm(seen["blocks.0.output"])
    )  # what the model would say after one block
    early.sum().backward()
    seen["logits"][0, 0] = 0


def test_a_name_that_is_not_there_is_an_error_that_lists_them() -> None:
    seen = trace(small_model(), IDS)
    with pytest.raises(
        KeyError, match="no tensor is named 'blocks.9.input'; there are embedding, blocks.0.input"
    ):
        seen["blocks.9.input"]
    assert "blocks.9.input" not in seen


def test_a_trace_prints_names_shapes_and_bytes() -> None:
    lines = str(trace(small_model(), IDS)).splitlines()
    assert len(lines) == 3 + 2 * 12
    assert lines[0].split() == ["embedding", "2", "x", "7", "x", "20", "1,120", "bytes"]


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_the_model_is_as_before_also_after_an_error() -> None:
    model = fresh_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace(model, IDS, cuts=[Cut("blocks.0.attention", head=1), Cut("blocks.1.feedforward")])
    with pytest.raises(ValueError, match="token ids"):
        trace(model, [61])
    with pytest.raises(ValueError, match="heads 0 to 3"):
        trace(model, IDS, cuts=[Cut("blocks.0.attention"), Cut("blocks.0.attention", head=4)])
    assert hooks(model) == 0
    assert all(block.attention.backend == "auto" for block in model.blocks)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


# Cuts


def edited(model: Transformer, *changes: tuple[str, slice]) -> Transformer:
    """The same model with columns of a matrix set to zero."""
    with torch.no_grad():
        for name, columns in changes:
            model.get_parameter(name)[:, columns] = 0
    return model


EVERYTHING = slice(None)


@pytest.mark.parametrize(
    ("cuts", "changes"),
    [
        ([Cut("blocks.1.attention", head=2)], [("blocks.1.attention.output.weight", slice(12, 18))]),
        (
            [Cut("blocks.0.attention", head=0), Cut("blocks.0.attention", head=3)],
            [
                ("blocks.0.attention.output.weight", slice(0, 6)),
                ("blocks.0.attention.output.weight", slice(18, 24)),
            ],
        ),
        ([Cut("blocks.0.attention")], [("blocks.0.attention.output.weight", EVERYTHING)]),
        ([Cut("blocks.1.feedforward")], [("blocks.1.feedforward.down.weight", EVERYTHING)]),
    ],
)
def test_a_cut_by_zero_is_an_edit_of_the_weights(cuts: list[Cut], changes: list[tuple[str, slice]]) -> None:
    expected = logits_of(edited(fresh_model(), *changes), IDS)
    torch.testing.assert_close(trace(small_model(), IDS, cuts=cuts)["logits"], expected)
    with cutting(small_model(), cuts):
        torch.testing.assert_close(logits_of(small_model(), IDS), expected)
    assert not torch.allclose(logits_of(small_model(), IDS), expected, atol=1e-2)


def all_tokens(tensor: Tensor) -> Tensor:
    return tensor.mean(dim=(0, 1), keepdim=True).expand_as(tensor)


@pytest.mark.parametrize("layer", ["blocks.0.attention", "blocks.1.feedforward"])
def test_a_layer_cut_by_its_mean_gives_the_mean_over_all_tokens(layer: str) -> None:
    whole = trace(small_model(), IDS)
    cut = trace(small_model(), IDS, cuts=[Cut(layer, by="mean")])
    torch.testing.assert_close(cut[f"{layer}.output"], all_tokens(whole[f"{layer}.output"]))
    block, kind = layer.rsplit(".", 1)
    entered, left = ("input", "middle") if kind == "attention" else ("middle", "output")
    torch.testing.assert_close(cut[f"{block}.{left}"] - cut[f"{block}.{entered}"], cut[f"{layer}.output"])


def test_a_head_cut_by_its_mean_leaves_the_other_heads() -> None:
    name = "blocks.1.attention.head_outputs"
    whole = trace(small_model(), IDS)
    cut = trace(small_model(), IDS, cuts=[Cut("blocks.1.attention", head=2, by="mean")])
    torch.testing.assert_close(cut[name][:, 2], all_tokens(whole[name][:, 2]))
    for head in (0, 1, 3):
        assert torch.equal(cut[name][:, head], whole[name][:, head])
    expected = cut[name].transpose(1, 2).flatten(2) @ small_model().blocks[1].attention.output.weight.T
    torch.testing.assert_close(cut["blocks.1.attention.output"], expected)


def test_a_cut_holds_while_text_is_generated() -> None:
    tokenizer, config = small_tokenizer(), text_config(eos_id=None)
    settings: dict[str, Any] = {"max_new_tokens": 12, "temperature": 0}
    expected = generate(
        edited(fresh_model(config), ("blocks.0.attention.output.weight", EVERYTHING)),
        tokenizer,
        "dog",
        **settings,
    )
    whole = generate(small_model(config), tokenizer, "dog", **settings)
    with cutting(small_model(config), [Cut("blocks.0.attention")]):
        assert generate(small_model(config), tokenizer, "dog", **settings) == expected
    assert generate(small_model(config), tokenizer, "dog", **settings) == whole != expected


@pytest.mark.parametrize(
    ("layer", "head", "message"),
    [
        (
            "blocks.2.attention",
            None,
            "names blocks.0.attention … blocks.1.feedforward, found 'blocks.2.attention'",
        ),
        ("blocks.0", None, "found 'blocks.0'"),
        ("attention", None, "found 'attention'"),
        ("", None, "found ''"),
        ("blocks.0.attention.query", None, "found 'blocks.0.attention.query'"),
        ("blocks.0.attention", 4, "blocks.0.attention has heads 0 to 3, found 4"),
        ("blocks.0.attention", -1, "blocks.0.attention has heads 0 to 3, found -1"),
        ("blocks.0.feedforward", 0, "only attention has heads"),
    ],
)
def test_a_cut_that_names_no_part_is_an_error(layer: str, head: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace(small_model(), IDS, cuts=[Cut(layer, head)])


def test_a_cut_is_replaced_by_zero_or_mean() -> None:
    with pytest.raises((ValueError, TypeError), match="by"):
        Cut("blocks.0.attention", by="noise")  # type: ignore[arg-type]
