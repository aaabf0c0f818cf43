"""Runs everything that must hold, in order, and counts it: what `make test` and CI run.

A step that fails does not hide the ones after it, unless they need what it makes. The last line is
"N passed, N failed": every test of pytest counts as one, and so does every other step.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "tests"


@dataclass(frozen=True)
class Step:
    """One target of the Makefile; `counts` where pytest counts its tests, `needs` what must have passed."""

    target: str
    counts: bool = False
    needs: tuple[str, ...] = ()


STEPS = (
    Step("lint"),
    Step("types"),
    Step("doctests", counts=True),
    Step("unit", counts=True),
    Step("reader"),
    Step("site"),
    Step("browser"),
    Step("pdf", needs=("site", "browser")),
    Step("pages", counts=True, needs=("reader", "pdf")),
)


def counted(report: Path) -> tuple[int, int]:
    """Passed and failed tests of a JUnit report; a skipped test has not passed."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, bad = (
        sum(int(suite.get(name, "0")) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors", "skipped"))
    )
    return total - bad, bad


def run(step: Step) -> tuple[int, int]:
    """Runs one step with its output shown, and gives its counts."""
    report = REPORTS / f"{step.target}.xml"
    report.unlink(missing_ok=True)
    command = [os.environ.get("MAKE", "make"), "--no-print-directory", step.target]
    if step.counts:
        command.append(f"PYTEST=--junitxml={report}")
    failed = subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    if step.counts and report.exists():
        passed, bad = counted(report)
        return passed, max(bad, int(failed))
    return (0, 1) if failed else (1, 0)


def main() -> int:
    """Runs all steps and prints a line for each, then the sum."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    results: dict[str, tuple[int, int, float]] = {}
    for step in STEPS:
        missing = [name for name in step.needs if results[name][1]]
        begin = time.monotonic()
        passed, failed = (0, 1) if missing else run(step)
        if missing:
            print(f"\n==> {step.target}: not run, because it needs {', '.join(missing)}", flush=True)
        results[step.target] = passed, failed, time.monotonic() - begin

    print(f"\n{'step':12}{'passed':>8}{'failed':>8}{'seconds':>9}")
    for target, (passed, failed, seconds) in results.items():
        print(f"{target:12}{passed:8}{failed:8}{seconds:9.0f}")
    passed, failed = (sum(result[i] for result in results.values()) for i in (0, 1))
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
