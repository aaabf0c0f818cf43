"""Makes the search light, and its first answer the right one.

The index holds what readers look for, and is fetched when the search box is first used. A page weighs more
than its sections, a concept more than the API, and a whole word more than the beginning of another one. A
page that goes beyond the chapter says in its front matter that it weighs less (`search`, `boost`), so that "loss"
does not find the balancing loss first.
"""

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
BOOSTS = {"page": 20, "section": 1, "api": 0.2}

AT_ONCE = re.compile(r'\$\(location\.protocol!=="file:"\),(?=\w+\("search"\)\))')
"""In the theme's script: from a server the index comes as a page opens, from a folder on the first search."""
QUERY = re.compile(r"(?<=search\(e\)\{)(.*?)e=(\w+)\(e\),!e", re.DOTALL)
"""In its worker: what was typed becomes a query, in which `token*` finds `tokenizer` as well as `token`."""
WHOLE_WORDS = (
    r"\1e=\2(e).split(/\\s+/)"
    r'.flatMap(t=>t.length>1&&t.endsWith("*")?[t.slice(0,-1)+"^20",t]:[t]).join(" "),!e'
)


@event_priority(-50)  # after the search plugin has written the index, before the offline plugin copies it
def on_post_build(config: MkDocsConfig) -> None:
    site = Path(config.site_dir)
    index = site / "search" / "search_index.json"
    if not index.exists():
        return
    index.write_text(smaller(index.read_text(encoding="utf-8")), encoding="utf-8")
    scripts = site / "assets" / "javascripts"
    for pattern, what, by in (("bundle.*.js", AT_ONCE, ""), ("workers/search.*.js", QUERY, WHOLE_WORDS)):
        for script in scripts.glob(pattern):
            script.write_text(patched(script.read_text(encoding="utf-8"), what, by), encoding="utf-8")


def smaller(text: str) -> str:
    """The index without code and without marks; of the API's objects, the first sentence."""
    found = json.loads(text)
    for entry in found["docs"]:
        page, _, anchor = entry["location"].partition("#")
        kind = "page" if anchor in ("", Path(page).stem) else "section"
        shown = CODE.sub(" ", entry["text"])
        if page.startswith("api/"):
            kind = "api"
            first = FIRST.search(shown)
            shown = first[1] if first else ""
        own = 1 if kind == "api" else entry.get("boost", 1)  # a page's own, of its front matter
        entry["boost"] = BOOSTS[kind] * own
        entry["text"] = SPACE.sub(" ", TAG.sub(" ", shown)).strip()
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def patched(script: str, what: re.Pattern[str], by: str) -> str:
    """A script of the theme with one place changed.

    Raises:
        SiteError: The script is not the one that this was written for.
    """
    changed, count = what.subn(by, script)
    if count != 1:
        raise SiteError(
            f"docs/site/hooks/search.py changes one place in the theme's script; found {count} of "
            f"{what.pattern!r}: read the new script and mend the pattern"
        )
    return changed
