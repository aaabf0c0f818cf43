"""`diff` tells how two models differ: what it lists is all there is, and it lists nothing twice."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from helpers import published_models, small_config
from hypothesis import given

import llmref
from llmref.config import LatentAttentionConfig, LinearScaling, LongRopeScaling, RopeConfig
from llmref.families import family_of
from llmref.families.difference import Difference, differences, ranges, shown


def published(name: str) -> dict[str, Any]:
    return published_models()[name]["config"]


def test_the_same_model_has_no_difference() -> None:
    assert str(llmref.diff(small_config(), small_config())) == "no difference"
    assert llmref.diff(small_config(), small_config()).rows == ()


def test_real_models_in_a_table() -> None:
    lines = str(llmref.diff(published("llama-3.1-8b"), published("mistral-7b-v0.1"))).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "vocab_size 128256 | 32000",
        "context_length 131072 | 32768",
        "blocks[0-31].attention.window none | 4096",
        "blocks[0-31].attention.rope.base 500000.0 | 10000.0",
        "blocks[0-31].attention.rope.scaling Llama3Scaling(factor=8.0, original_context_length=8192) | none",
    ]
    assert len({line.index("|") for line in lines}) == 1


def test_blocks_that_differ_alike_are_one_row() -> None:
    plain = small_config(n_blocks=7)
    blocks = list(plain.blocks)
    for index, window in ((1, 5), (3, 5), (5, 5), (0, 8), (4, 9)):
        attention = replace(blocks[index].attention, window=window)
        blocks[index] = replace(blocks[index], attention=attention)
    assert differences(plain, replace(plain, blocks=tuple(blocks))) == [
        Difference("blocks[0].attention.window", None, 8),
        Difference("blocks[1-5 by 2].attention.window", None, 5),
        Difference("blocks[4].attention.window", None, 9),
    ]


def test_of_stacks_of_two_sizes_the_blocks_that_both_have_are_compared() -> None:
    short, long = small_config(n_blocks=2), small_config(n_blocks=3, window=5)
    assert differences(short, long) == [
        Difference("len(blocks)", 2, 3),
        Difference("blocks[0-1].attention.window", None, 5),
    ]


def test_parts_of_two_kinds_are_told_value_by_value() -> None:
    plain = small_config(n_blocks=1)
    latent = LatentAttentionConfig(n_heads=4, latent_dim=8, plain_dim=4, rotated_dim=4, value_dim=4)
    other = replace(plain, blocks=(replace(plain.blocks[0], attention=latent),))
    rows = {row.place.removeprefix("blocks[0]."): row[1:] for row in differences(plain, other)}
    assert rows["attention"] == ("AttentionConfig", "LatentAttentionConfig")
    assert rows["attention.n_kv_heads"] == (2, "-")
    assert rows["attention.latent_dim"] == ("-", 8)
    assert "attention.n_heads" not in rows


def test_it_reads_files_and_folders(tmp_path: Path) -> None:
    values = published("qwen3-8b")
    file = tmp_path / "config.json"
    file.write_text(json.dumps(values), "utf-8")
    config = family_of(values).read(values)
    for source in (config, values, file, str(file), tmp_path):
        assert llmref.diff(source, published("qwen2.5-7b")) == llmref.diff(values, published("qwen2.5-7b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json is not JSON"),
        ("[]", r"config.json must hold an object, found \[\]"),
        ('{"model_type": "toaster"}', "config.json: model_type must be one of .*, found 'toaster'"),
        ('{"model_type": "llama"}', "config.json: hidden_size is missing"),
    ],
)
def test_a_file_that_is_no_config_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        llmref.diff(file, small_config())


@given(st.sets(st.integers(0, 30), min_size=1))
def test_ranges_name_these_numbers_and_no_others(numbers: set[int]) -> None:
    def named(text: str) -> set[int]:
        every, _, others = text.partition(" but ")
        if others:
            return named(every) - named(others)
        found: set[int] = set()
        for run in text.split(", "):
            ends, _, step = run.partition(" by ")
            first, _, last = ends.partition("-")
            found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
        return found

    assert named(ranges(sorted(numbers))) == numbers


def test_ranges() -> None:
    assert [ranges(numbers) for numbers in ([4], [4, 5], [4, 6], [0, 2, 4], [0, 1, 2, 5])] == [
        "4",
        "4-5",
        "4, 6",
        "0-4 by 2",
        "0-2, 5",
    ]


def test_values_are_shown_in_short() -> None:
    assert [shown(value) for value in (7, 0.5, 59.86651818838306, "rms", False)] == [
        "7",
        "0.5",
        "59.8665",
        "rms",
        "no",
    ]
    assert shown(RopeConfig(scaling=LinearScaling(4.0))) == "RopeConfig(scaling=LinearScaling(factor=4.0))"
    long_rope = LongRopeScaling((1.0,) * 48, (2.0,) * 48, original_context_length=4096)
    assert "short_factors=(1.0, 1.0, 1.0, … 48 in all)" in shown(long_rope)
