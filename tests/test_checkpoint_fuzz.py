"""Thousands of mutated files: each loads and runs, or is one error of ours that names the file."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fuzz
import pytest


@pytest.fixture(scope="module")
def summaries() -> list[dict[str, Any]]:
    """What came out of each file, in a process that can take little memory and checks no types of its own."""
    run = subprocess.run(
        [sys.executable, fuzz.__file__],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_mutated_file_loads_or_is_one_error(
    summaries: list[dict[str, Any]], count: Callable[[str, int], None]
) -> None:
    wrong = {each["name"]: each["wrong"] for each in summaries if each["wrong"]}
    assert not wrong, json.dumps(wrong, indent=1)
    count("mutated files read", sum(each["files"] for each in summaries))


def test_most_of_them_are_refused_and_some_are_not(summaries: list[dict[str, Any]]) -> None:
    assert len(summaries) > len(fuzz.TARGETS)
    assert sum(each["files"] for each in summaries) > 3000
    for each in summaries:
        assert each["files"] / 10 < each["refused"] < each["files"], each


def test_the_mutations_are_the_same_every_time(tmp_path: Path) -> None:
    fuzz.checkpoints(tmp_path)
    for target in fuzz.TARGETS:
        whole = (tmp_path / target.checkpoint / target.file).read_bytes()
        made = [[target.mutate(fuzz.Random(seed), whole) for seed in range(20)] for _ in range(2)]
        assert made[0] == made[1]
        assert sum(each != whole for each in made[0]) > 15


def test_what_once_went_wrong_does_not_any_more(tmp_path: Path) -> None:
    """The seeds: whole files, in folders that say which file of which checkpoint they stand for."""
    fuzz.checkpoints(tmp_path)
    seeds = sorted(fuzz.SEEDS.glob("*/*/*"))
    assert len(seeds) > 5
    for seed in seeds:
        checkpoint, name = seed.parts[-3:-1]
        place = tmp_path / checkpoint / f"{name}.json"
        whole = place.read_bytes()
        place.write_bytes(seed.read_bytes())
        assert fuzz.outcome(fuzz.reader(place), place.parent) == "refused", seed
        place.write_bytes(whole)
