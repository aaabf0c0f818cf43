"""The list of deliberate faults stays one that can be run: each fault's text stands once in its file."""

from pathlib import Path

import pytest
from mutants import MUTANTS, ROOT, Mutant, mutate


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_a_fault_can_be_made(mutant: Mutant, tmp_path: Path) -> None:
    mutate(mutant, tmp_path)
    changed = (tmp_path / "llmref" / mutant.file).read_text(encoding="utf-8")
    compile(changed, mutant.file, "exec")
    assert changed != (ROOT / "llmref" / mutant.file).read_text(encoding="utf-8")
    assert all((ROOT / "tests" / name).exists() for name in mutant.tests)


def test_every_fault_is_told_apart() -> None:
    assert len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS)
