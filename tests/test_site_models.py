"""Real models: dated config files, one normaliser for all families' names, one table in both languages."""

import json
import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

import jupytext
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import llmref
from llmref.config import AttentionConfig, MixtureConfig
from llmref.cost import cache_bytes_per_token, cost

ROOT = Path(__file__).parents[1]
SITE_SOURCES = ROOT / "docs" / "site"
sys.path.insert(0, str(SITE_SOURCES))

from machinery import SiteError, model_table, models, pages  # noqa: E402

FILES = sorted(models.MODELS.glob("*.json"))


def table(line: str, language: str = "en") -> list[list[str]]:
    """The cells of the table that a line of a page becomes, header first."""
    text = pages.replace_directives(line, "models", lambda directive: model_table.table(directive, language))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if not row.startswith("|--")]


def model(kind: str, **config: Any) -> models.RealModel:
    return models.RealModel(
        slug="made-up",
        name="Made up",
        source="https://example.org",
        retrieved="2026-11-24",
        released="2026-01",
        parameters=1,
        family=models.FAMILIES[kind],
        config={"model_type": kind, **config},
        file=Path("made-up.json"),
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_is_whole_and_every_column_has_a_value(file: Path) -> None:
    found = models.read(file)
    assert date.fromisoformat(found.retrieved) <= date.today()
    assert re.fullmatch(r"20\d\d-[01]\d", found.released)
    assert found.source.startswith("https://huggingface.co/")
    for name, column in model_table.COLUMNS.items():
        for words in model_table.WORDS.values():
            model_table.cell(name, column(found, words))


@pytest.mark.parametrize(
    "file", [file for file in FILES if not models.read(file).family.latent], ids=lambda file: file.stem
)
def test_the_cache_is_what_the_package_counts(file: Path) -> None:
    found = models.read(file)
    attention = AttentionConfig(
        found.value("heads"), found.value("kv_heads"), found.value("head_dim"), rope=None
    )
    assert found.cache_bytes == found.value("layers") * cache_bytes_per_token(attention)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_config_makes_the_model_it_says(file: Path) -> None:
    """The transformers library, given the file's own config, makes a model of that size and those heads."""
    found = models.read(file)
    config = {key: value for key, value in found.config.items() if key != "model_type"}
    peer_config = AutoConfig.for_model(found.config["model_type"], **config)
    with torch.device("meta"):
        peer = AutoModelForCausalLM.from_config(peer_config)
    assert sum(parameter.numel() for parameter in peer.parameters()) == found.parameters
    if found.has("experts"):
        # The shared expert is met by every token, and the names of the others hold "experts" alone.
        names = {name: weight.numel() for name, weight in peer.named_parameters() if ".experts." in name}
        idle, rest = divmod(
            sum(names.values()) * (found.value("experts") - found.value("experts_used")),
            found.value("experts"),
        )
        assert (found.parameters - idle, rest) == (found.active_parameters, 0)
    assert peer_config.tie_word_embeddings == found.value("tied")
    assert peer_config.num_hidden_layers == found.value("layers")
    assert peer_config.hidden_size == found.value("d_model")
    assert peer_config.num_attention_heads == found.value("heads")
    table = peer.get_input_embeddings().weight
    assert tuple(table.shape) == (found.value("vocab"), found.value("d_model"))
    if found.family.positions == "RoPE":
        base = (getattr(peer_config, "rope_parameters", None) or {}).get(
            "rope_theta", found.value("rope_base")
        )
        assert base == found.value("rope_base")
    if not found.family.latent:
        kept = found.value("kv_heads") * found.value("head_dim")
        queries = found.value("heads") * found.value("head_dim")
        shapes = {name: tuple(weight.shape) for name, weight in peer.named_parameters() if weight.ndim == 2}
        own_key = [shape[0] for name, shape in shapes.items() if name.endswith("k_proj.weight")]
        joint = [
            shape
            for name, shape in shapes.items()
            if re.search(r"qkv|query_key_value|c_attn", name, re.IGNORECASE)
        ]
        assert set(own_key) <= {kept}
        assert all(queries + 2 * kept in shape for shape in joint)
        assert own_key or joint


@pytest.mark.parametrize(
    "slug", ["gemma-2-9b", "gpt-oss-20b", "mistral-7b-v0.1", "phi-3-mini-4k", "qwen2.5-7b"]
)
def test_the_windows_are_those_of_the_peer(slug: str) -> None:
    found = models.models()[slug]
    config = {key: value for key, value in found.config.items() if key != "model_type"}
    peer = AutoConfig.for_model(found.config["model_type"], **config)
    kinds = getattr(peer, "layer_types", None) or ["sliding_attention"] * found.value("layers")
    assert found.windows == [peer.sliding_window if kind == "sliding_attention" else None for kind in kinds]


def test_names_differ_by_family_and_mean_the_same() -> None:
    old = model(
        "gpt2", n_layer=2, n_embd=8, n_head=2, n_positions=16, vocab_size=5, activation_function="gelu_new"
    )
    new = model(
        "llama",
        num_hidden_layers=2,
        hidden_size=8,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16,
        vocab_size=5,
        hidden_act="gelu",
        intermediate_size=32,
        tie_word_embeddings=True,
    )
    names = ("layers", "d_model", "heads", "kv_heads", "head_dim", "d_ff", "context", "vocab", "tied")
    assert [old.value(name) for name in names] == [new.value(name) for name in names]
    assert (
        old.cache_bytes == new.cache_bytes == 2 * 2 * 2 * 4 * 2
    )  # blocks, key and value, heads, size, bytes


def test_falcons_multi_query_wins_over_its_number_of_heads() -> None:
    assert model("falcon", multi_query=True, num_kv_heads=71, num_attention_heads=71).value("kv_heads") == 1
    assert model("falcon", multi_query=False, num_kv_heads=71, num_attention_heads=71).value("kv_heads") == 71


def test_a_latent_cache_holds_one_vector_for_all_heads() -> None:
    found = models.models()["deepseek-v3"]
    assert found.cache_bytes == 61 * (512 + 64) * 2
    assert table("!models kv_heads only=deepseek-v3", "en")[1][1] == "latent (MLA)"


def test_a_missing_value_says_which_file_which_key_and_what_to_do() -> None:
    with pytest.raises(SiteError) as error:
        model("llama", hidden_size=8).value("kv_heads")
    for part in (
        "docs/models/made-up.json",
        "num_key_value_heads",
        "add the published value",
        "FAMILIES['llama']",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "bad.json:1: not JSON"),
        ("{}", "bad.json: no name, source"),
        (
            json.dumps(dict.fromkeys(models.ENTRY, "x") | {"config": {"model_type": "new"}}),
            "model_type is 'new'; add",
        ),
    ],
)
def test_a_bad_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(SiteError, match=re.escape(message)):
        models.read(tmp_path / "bad.json")


@pytest.mark.parametrize(
    "line, message",
    [
        ("!models", "line 1: !models: no columns; there are released"),
        ("!models heds", "line 1: !models: no column 'heds'; there are released"),
        ("!models heads only=gpt5", "line 1: !models: only=gpt5, but there is no docs/models/gpt5.json"),
    ],
)
def test_a_bad_directive_is_named(line: str, message: str) -> None:
    with pytest.raises(SiteError, match=re.escape(message)):
        table(line)


def test_the_columns_stand_as_they_were_asked_for_and_the_models_by_age() -> None:
    rows = table("!models kv_heads released window only=llama-3.1-8b,gpt2")
    assert rows == [
        ["model", "key/value heads", "released", "window"],
        ["[GPT-2](https://huggingface.co/openai-community/gpt2)", "12", "2019-02", "–"],
        ["[Llama 3.1 8B](https://huggingface.co/meta-llama/Llama-3.1-8B)", "8", "2024-07", "–"],
    ]
    assert table("!models cache_bytes only=llama-3.1-8b")[1][1] == "128 KiB"


def test_both_languages_show_the_same_numbers() -> None:
    line = "!models " + " ".join(model_table.COLUMNS)
    english, korean = (table(line, language) for language in ("en", "ko"))
    assert len(english) == len(korean) == len(FILES) + 1
    for left, right in zip(english[1:], korean[1:], strict=True):
        for one, other in zip(left, right, strict=True):
            assert sorted(re.findall(r"[\d,.]*\d", one)) == sorted(re.findall(r"[\d,.]*\d", other))
    assert set(model_table.WORDS["ko"]) == set(model_table.WORDS["en"])


def test_the_caption_has_the_newest_date() -> None:
    for language, words in (("en", "As of November 24, 2026"), ("ko", "2026년 11월 24일 기준")):
        directive = pages.directive_of(pages.Line(1, "!models heads only=gpt2", False))
        text = model_table.table(directive, language)
        assert words in text


@pytest.mark.parametrize(
    "slug, cell, expression, published",
    [
        ("mqa-gqa", "real-shape", "llama(8)", "llama-3.1-8b"),
        ("full-model", "shape", "phi3", "phi-3-mini-4k"),
        ("mixture-of-experts", "real-shape", "mixtral()", "mixtral-8x7b"),
    ],
)
def test_the_shapes_that_experiments_type_are_the_published_ones(
    slug: str, cell: str, expression: str, published: str
) -> None:
    notebook = jupytext.read(models.DOCS / "experiments" / f"{slug}.py")
    (source,) = [part.source for part in notebook.cells if part.metadata.get("name") == cell]
    names: dict[str, Any] = {"llmref": llmref}
    exec(source, names)
    config, found = eval(expression, names), models.models()[published]
    block = config.blocks[0]
    assert cost(config).total.parameters == found.parameters
    assert config.context_length == found.value("context")
    assert config.vocab_size == found.value("vocab")
    assert len(config.blocks) == found.value("layers")
    assert (block.attention.n_heads, block.attention.n_kv_heads) == (
        found.value("heads"),
        found.value("kv_heads"),
    )
    feedforward = block.feedforward
    if isinstance(feedforward, MixtureConfig):
        assert (feedforward.n_experts, feedforward.n_active) == (
            found.value("experts"),
            found.value("experts_used"),
        )
        assert cost(config).total.active_parameters == found.active_parameters
        feedforward = feedforward.expert
    assert (block.attention.window, feedforward.d_ff) == (found.windows[0], found.value("d_ff"))


@pytest.mark.parametrize("name, published", [("LLAMA_2_7B", "llama-2-7b"), ("OLMO_2_7B", "olmo-2-7b")])
def test_the_configs_that_the_tour_of_families_types_are_the_published_ones(
    name: str, published: str
) -> None:
    notebook = jupytext.read(models.DOCS / "experiments" / "full-model.py")
    (source,) = [part.source for part in notebook.cells if part.metadata.get("name") == "diff"]
    names: dict[str, Any] = {"llmref": llmref}
    exec(source, names)
    assert not llmref.diff(names[name], models.models()[published].config).rows
