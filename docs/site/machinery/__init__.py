"""What the site's builder, its hooks and its checks share. Nothing here is a page's content."""

import os
from pathlib import Path

from mkdocs.exceptions import PluginError

SITE_SOURCES = Path(os.path.abspath(__file__)).parents[1]
"""docs/site"""
DOCS = SITE_SOURCES.parent
ROOT = DOCS.parent
PACKAGE = ROOT / "llmref"
EXPERIMENTS = DOCS / "experiments"
BUILD = ROOT / "build"
"""Everything made on the way: ignored by git."""
RUNS = BUILD / "experiments"
"""One executed notebook per experiment, both languages in it."""
SITE = ROOT / "site"
LANGUAGES = ("ko", "en")
FIGURE_TYPE = "application/vnd.llmref.figure+json"
"""The output type of a figure: its name, its alternative texts and its SVG, by language."""


class SiteError(PluginError):
    """Stops the build: a source of the site is wrong; the message says where, what, what was expected."""
