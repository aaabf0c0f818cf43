"""What every test shares: shapes are checked while the tests run, and what was counted is said at the end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from jaxtyping import install_import_hook

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported: kernels run as Python
collect_ignore = [] if find_spec("triton") else ["test_kernels.py"]  # it is for Linux only
install_import_hook("llmref", "shape_checker.checked")


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Adds to a figure that the summary prints: `count("links resolved", 12)`."""

    def add(what: str, number: int = 1) -> None:
        record_property(f"count: {what}", number)

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what the tests counted, summed over all of them."""
    figures: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, number in report.user_properties:
                    if name.startswith("count: "):
                        figures[name.removeprefix("count: ")] += number
    if figures:
        terminalreporter.section("counted")
        for what, number in sorted(figures.items()):
            terminalreporter.write_line(f"{number:8,} {what}")
