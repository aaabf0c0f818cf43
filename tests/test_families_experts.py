"""The families with experts: what their files may say, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from helpers import latent_mixture_config, published_models, random_ids
from hypothesis import given
from hypothesis import strategies as st
from peers import deepseek_v2, deepseek_v3, gpt_oss
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmref.checkpoint import load_model, save
from llmref.config import LatentAttentionConfig, MixtureConfig, ModelConfig, NormConfig, YarnScaling
from llmref.families import FAMILIES, family_of
from llmref.families.gpt_oss import Stacked
from llmref.model import sequential_positions


def saved(config: Any, folder: Path) -> Path:
    """A model of the peer library's, as it saves one."""
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def change(folder: Path, values: dict[str, Any] | None = None, tensors: Any = None) -> None:
    """Change a checkpoint's config.json, and its tensors."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **(values or {})}))
    if tensors is not None:
        save_file(tensors(load_file(folder / "model.safetensors")), folder / "model.safetensors")


def mixture_of(config: ModelConfig) -> MixtureConfig:
    mixture = config.blocks[-1].feedforward
    assert isinstance(mixture, MixtureConfig)
    return mixture


# What the published files say


def test_the_scale_of_deepseek_v3_is_that_of_its_authors() -> None:
    values = published_models()["deepseek-v3"]["config"]
    config = family_of(values).read(values)
    attention = config.blocks[0].attention
    assert isinstance(attention, LatentAttentionConfig)
    # 1 / sqrt(192), times the square of 0.1 ln(40) + 1; rotated vectors are as long as before.
    assert attention.scale == pytest.approx(0.1352337788608801)
    assert attention.rope.scaling == YarnScaling(40, 4096, attention_factor=1.0)
    scaling = family_of(values).to_json(config)["rope_scaling"]
    assert scaling["mscale"] == scaling["mscale_all_dim"] == 1.0
    assert [isinstance(block.feedforward, MixtureConfig) for block in config.blocks].index(True) == 3
    router = mixture_of(config).router
    assert (router.n_groups, router.n_active_groups, router.group_score) == (8, 4, "best_two")


@given(
    factor=st.floats(1, 64),
    above=st.sampled_from([None, 0.5, 0.707, 1.0, 1.3]) | st.floats(0.1, 2),
    below=st.sampled_from([0.5, 0.707, 1.0, 1.3]) | st.floats(0.1, 2),
)
def test_every_pair_of_sharpnesses_is_written_as_it_was_read(
    factor: float, above: float | None, below: float
) -> None:
    said = {**deepseek_v2.YARN, "factor": factor, "mscale_all_dim": below}
    if above is not None:
        said["mscale"] = above
    values = transformers.DeepseekV2Config(**deepseek_v2.LATENT_SIZES, num_experts_per_tok=2).to_dict()
    family = FAMILIES["deepseek_v2"]
    config = family.read({**values, "rope_parameters": said})
    assert family.read(family.to_json(config)) == config


# Checkpoints


def test_packed_weights_are_refused_by_their_name(tmp_path: Path) -> None:
    folder = saved(gpt_oss.PEERS["no scaling"], tmp_path)
    change(folder, {"quantization_config": {"quant_method": "mxfp4"}})
    with pytest.raises(ValueError, match="config.json: quantization_config must not be there.*mxfp4"):
        load_model(folder)


def test_packed_weights_that_the_config_is_silent_about_are_refused_too(tmp_path: Path) -> None:
    folder = saved(gpt_oss.PEERS["no scaling"], tmp_path)

    def pack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        name = "model.layers.0.mlp.experts.down_proj"
        whole = tensors.pop(name)
        blocks = torch.zeros(len(whole), 20, 1, 16, dtype=torch.uint8)
        return {**tensors, f"{name}_blocks": blocks, f"{name}_scales": blocks[..., 0].clone()}

    change(folder, tensors=pack)
    with pytest.raises(ValueError, match="model.layers.0.mlp.experts.down_proj"):
        load_model(folder)


def test_the_layer_that_predicts_more_tokens_is_passed_over(tmp_path: Path) -> None:
    folder = saved(deepseek_v3.PEERS["groups, a dense layer below, one shared expert"], tmp_path)
    before = load_model(folder)

    def one_more(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        own = {"eh_proj.weight": torch.ones(20, 40), "shared_head.norm.weight": torch.ones(20)}
        last = {
            name.replace("layers.2.", "layers.3."): tensor.clone()
            for name, tensor in tensors.items()
            if "layers.2." in name
        }
        return {**tensors, **last, **{f"model.layers.3.{name}": tensor for name, tensor in own.items()}}

    change(folder, {"num_nextn_predict_layers": 1}, one_more)
    ids = random_ids(1, 5)
    with torch.no_grad():
        logits = [model(ids, sequential_positions(ids)) for model in (before, load_model(folder))]
    assert torch.equal(*logits)
    change(folder, tensors=lambda tensors: {**tensors, "model.layers.4.eh_proj.weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"model\.layers\.4\.eh_proj\.weight"):
        load_model(folder)


def test_a_choice_bias_is_read_in_full_whatever_the_dtype(tmp_path: Path) -> None:
    folder = saved(deepseek_v3.PEERS["groups, a dense layer below, one shared expert"], tmp_path)
    exact = torch.linspace(5, 5.01, 8)  # as the published ones: large and nearly equal
    name = "model.layers.1.mlp.gate.e_score_correction_bias"
    change(folder, tensors=lambda tensors: {**tensors, name: exact})
    model = load_model(folder, dtype=torch.bfloat16)
    assert model.lm_head.weight.dtype == torch.bfloat16
    router = model.blocks[1].feedforward.router
    assert torch.equal(router.choice_bias, exact)
    save(model, None, tmp_path / "again", family="deepseek_v3")
    assert torch.equal(load_file(tmp_path / "again" / "model.safetensors")[name], exact)


def test_experts_are_stacked_and_their_rows_take_turns() -> None:
    gates, ups = ([torch.randn(3, 2) for _ in range(4)] for _ in range(2))
    stored = Stacked(2).pack([*gates, *ups])
    assert stored.shape == (4, 2, 6)
    for number, (gate, up) in enumerate(zip(gates, ups, strict=True)):
        assert torch.equal(stored[number, :, 0::2], gate.T)
        assert torch.equal(stored[number, :, 1::2], up.T)
    again = Stacked(2).unpack(stored, [*gates, *ups])
    assert all(torch.equal(one, other) for one, other in zip(again, [*gates, *ups], strict=True))
    assert all(part.is_contiguous() for part in again)


# What a family cannot say


def test_a_config_that_a_family_cannot_say_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    config = latent_mixture_config(tied_embeddings=False)
    for family in ("llama", "mixtral", "qwen3_moe", "gpt_oss"):
        with pytest.raises(ValueError, match=f"{family} cannot say this config: .*attention"):
            FAMILIES[family].to_json(config)
    with pytest.raises(
        ValueError, match=r"deepseek_v3 cannot .*attention.norm.eps is 1e-05, .*read as 1e-06"
    ):
        FAMILIES["deepseek_v3"].to_json(config)
    block = config.blocks[0]
    assert isinstance(block.attention, LatentAttentionConfig)
    attention = replace(block.attention, norm=NormConfig("rms", 1e-6), scale=0.5)
    scaled = replace(config, blocks=(replace(block, attention=attention),) * 2)
    with pytest.raises(ValueError, match=r"attention.scale is 0.5, and would be read as None"):
        FAMILIES["deepseek_v3"].to_json(scaled)
