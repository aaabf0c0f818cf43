"""First hook: makes the package `machinery` importable for the hooks after it, however MkDocs was started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import machinery  # noqa: E402, F401
