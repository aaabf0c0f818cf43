"""Keeps the search light: an index of what readers look for, fetched when the search box is first used."""

import json
import re
from pathlib import Path

from machinery import SiteError
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority

CODE = re.compile(r"(?:[\w/]+\.py:\d+)?<pre>.*?</pre>|<p>[^<]*<code>[a-z-]+\.[a-z-]+</code></p>", re.DOTALL)
FIRST = re.compile(r"<p>(.*?)</p>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")
SPACE = re.compile(r"\s+")
AT_ONCE = re.compile(r'\$\(location\.protocol!=="file:"\),(?=\w+\("search"\)\))')
"""In the theme's script: from a server the index comes as a page opens, from a folder on the first search."""


@event_priority(-50)  # after the search plugin has written the index, before the offline plugin copies it
def on_post_build(config: MkDocsConfig) -> None:
    site = Path(config.site_dir)
    index = site / "search" / "search_index.json"
    if index.exists():
        index.write_text(smaller(index.read_text(encoding="utf-8")), encoding="utf-8")
        for script in (site / "assets" / "javascripts").glob("bundle.*.js"):
            script.write_text(asks_later(script.read_text(encoding="utf-8")), encoding="utf-8")


def smaller(text: str) -> str:
    """The index without code and without marks; of the API's objects, the first sentence."""
    found = json.loads(text)
    for entry in found["docs"]:
        shown = CODE.sub(" ", entry["text"])
        if entry["location"].startswith("api/"):
            first = FIRST.search(shown)
            shown = first[1] if first else ""
        entry["text"] = SPACE.sub(" ", TAG.sub(" ", shown)).strip()
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def asks_later(script: str) -> str:
    """The theme's script, so that it always waits for the first search.

    Raises:
        SiteError: The script is not the one that this was written for.
    """
    changed, count = AT_ONCE.subn("", script)
    if count != 1:
        raise SiteError(
            "the theme's script no longer asks for the search index as docs/site/hooks/search.py expects; "
            f"expected one {AT_ONCE.pattern!r}, found {count}"
        )
    return changed
