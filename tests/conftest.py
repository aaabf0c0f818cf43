"""What every test shares: shapes are checked while the tests run, and what was counted is said at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from jaxtyping import install_import_hook

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
