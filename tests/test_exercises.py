"""The exercises: every concept has one, its solution passes, its stub does not; and `llmref exercise`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from test_house import concepts

from llmref import cli, exercises

SOLUTIONS = Path(__file__).parent / "solutions"
ALL = exercises.slugs()


def test_the_chapter_is_the_one_of_the_navigation() -> None:
    order = [slug for slug in exercises.CHAPTER if slug in concepts()]
    assert order == concepts(), "llmref/exercises/__init__.py: CHAPTER is not the nav of mkdocs.yml"


def test_every_concept_has_its_exercise_and_its_solution() -> None:
    names = {exercises.file_name(slug) for slug in concepts()}
    for folder in (exercises.FOLDER, SOLUTIONS):
        found = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
        assert not names - found, f"{folder} lacks {sorted(names - found)}"
        assert not found - names, f"{folder} has {sorted(found - names)}, which no page of the nav is about"


@pytest.mark.parametrize("slug", ALL)
def test_the_solution_passes_every_check(slug: str) -> None:
    outcomes = list(exercises.run(slug, SOLUTIONS / exercises.file_name(slug)))
    assert 2 <= len(outcomes) <= 4, f"{len(outcomes)} checks; an exercise has two to four"
    assert all(outcome.state == "passed" for outcome in outcomes), outcomes
    assert all(outcome.check[-1] == "." for outcome in outcomes), "a check's docstring is what it checks"


@pytest.mark.parametrize("slug", ALL)
def test_the_stub_passes_none(slug: str, tmp_path: Path) -> None:
    path = tmp_path / exercises.file_name(slug)
    path.write_text(exercises.stub(slug), "utf-8")
    outcomes = list(exercises.run(slug, path))
    assert {outcome.state for outcome in outcomes} == {"not written yet"}, outcomes
    assert len(exercises.title(slug)) > 20


# The command, with a small exercise of its own

EXERCISE = '''
"""Adding: write a sum of two numbers."""


def add(left: int, right: int) -> int:
    """The sum."""
    raise NotImplementedError("write add()")


# What is checked


def check_small(answer):
    """Two and three are five."""
    found = answer.add(2, 3)
    assert found == 5, f"expected 5, found {found}"


def check_order(answer):
    """The order does not matter."""
    assert answer.add(1, 2).bit_length() == 2, "expected a number of two bits"
'''.lstrip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's empty folder, where `llmref exercise` knows one exercise, kv-cache."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "kv_cache.py").write_text(EXERCISE, "utf-8")
    monkeypatch.setattr(exercises, "FOLDER", package)
    monkeypatch.setattr(exercises, "__path__", [str(package)])
    monkeypatch.delitem(sys.modules, "llmref.exercises.kv_cache", raising=False)
    reader = tmp_path / "reader"
    reader.mkdir()
    monkeypatch.chdir(reader)
    yield reader
    sys.modules.pop("llmref.exercises.kv_cache", None)


def exercise(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, ["exercise", *arguments])


def check(folder: Path, text: str) -> tuple[int, list[str]]:
    """The exit code and the lines for a reader's file with this text."""
    (folder / "kv_cache.py").write_text(text, "utf-8")
    result = exercise("kv-cache")
    if isinstance(result.exception, ValueError):
        return 2, [str(result.exception)]
    return result.exit_code, result.stdout.splitlines()


def test_without_a_concept_it_lists_them(folder: Path) -> None:
    result = exercise()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["kv-cache           Adding: write a sum of two numbers."]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["kv-cache", "kv_cache", "kv_cache.py"])
def test_first_it_writes_the_stub_and_says_what_to_do(folder: Path, name: str) -> None:
    result = exercise(name)
    assert result.exit_code == 0
    assert "kv_cache.py is written" in result.stdout
    assert "llmref exercise kv-cache" in result.stdout
    text = (folder / "kv_cache.py").read_text("utf-8")
    assert text == EXERCISE.partition("\n\n\n# What is checked")[0] + "\n"


def test_then_it_checks_and_leaves_the_file_alone(folder: Path) -> None:
    exercise("kv-cache")
    before = (folder / "kv_cache.py").read_bytes()
    result = exercise("kv-cache")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "not written yet: Two and three are five: write add()",
        "not written yet: The order does not matter: write add()",
    ]
    assert result.stderr == "0 of 2 passed\n"
    assert (folder / "kv_cache.py").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["kv_cache.py"]


def test_what_is_right_passes(folder: Path) -> None:
    code, lines = check(folder, "def add(left, right):\n    return left + right\n")
    assert code == 0
    assert lines == ["passed: Two and three are five", "passed: The order does not matter"]


def test_what_is_wrong_says_what_was_expected_and_found(folder: Path) -> None:
    code, lines = check(folder, "def add(left, right):\n    return left * right\n")
    assert code == 1
    assert lines[0] == "failed: Two and three are five: expected 5, found 6"
    assert lines[1].startswith("passed: ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\n    return left + {}[right]", "kv_cache.py:3: KeyError: 3"),
        ("\n    assert right < 2", "kv_cache.py:3: AssertionError"),
        ("\n    return int('x')\n", "kv_cache.py:3: ValueError: invalid literal for int()"),
        (" raise SystemExit(3)", "kv_cache.py:2: SystemExit: 3"),
        ("\n    import torch\n    return torch.ones(2) @ torch.ones(3)", "kv_cache.py:4: RuntimeError: "),
        (" return None", "what your code gave could not be used: AttributeError: 'NoneType' object has no"),
    ],
)
def test_an_error_has_the_line_of_the_readers_file(folder: Path, body: str, message: str) -> None:
    code, lines = check(folder, f"\ndef add(left, right):{body}\n")
    assert code == 1
    assert len(lines) == 2
    assert any(message in line and line.startswith("failed: ") for line in lines), lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def add(left, right)\n    return 1\n", "kv_cache.py:1: expected ':'"),
        ("import nothing_of_this_name\n", "kv_cache.py:1: ModuleNotFoundError: No module named"),
        ("x = 1\ny = x / 0\n", "kv_cache.py:2: ZeroDivisionError: division by zero"),
        ("def plus(left, right):\n    return left + right\n", "kv_cache.py does not define 'add'"),
        ("", "kv_cache.py does not define 'add'"),
    ],
)
def test_a_file_that_cannot_be_run_is_one_error(folder: Path, text: str, message: str) -> None:
    code, lines = check(folder, text)
    assert code == 2
    assert message in lines[0]
    assert "\n" not in lines[0]


def test_a_file_that_is_not_text_is_an_error(folder: Path) -> None:
    (folder / "kv_cache.py").write_bytes(b"\xff\xfe\x00")
    assert "kv_cache.py is not UTF-8 text" in str(exercise("kv-cache").exception)


def test_an_unknown_concept_lists_those_that_there_are(folder: Path) -> None:
    error = exercise("kv-cash").exception
    assert str(error) == "there is no exercise 'kv-cash'; there are: kv-cache"
    assert list(folder.iterdir()) == []


def test_an_exercise_without_the_mark_is_an_error(folder: Path) -> None:
    (exercises.FOLDER / "kv_cache.py").write_text(EXERCISE.replace("# What is checked", "# Checks"), "utf-8")
    assert re.search("kv_cache.py has no line '# What is checked'", str(exercise("kv-cache").exception))


def test_the_readers_file_may_hold_a_dataclass(folder: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Pair:\n    left: int\n\n"
        "def add(left, right):\n    return Pair(left).left + right\n"
    )
    assert check(folder, text)[0] == 0
