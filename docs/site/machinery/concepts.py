"""The concepts of the chapter, in the order of the navigation."""

from typing import Any

import yaml

from machinery import ROOT, SiteError


class Loader(yaml.SafeLoader):
    """Reads MkDocs' own tags as nothing."""


Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def concepts() -> list[str]:
    """The slugs in the nav of mkdocs.yml.

    Raises:
        SiteError: There is not one section 'concepts' in it.
    """
    nav: list[Any] = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]  # noqa: S506
    sections = [entry for entry in nav if isinstance(entry, dict) and "concepts" in entry]
    if len(sections) != 1:
        raise SiteError(f"mkdocs.yml: {len(sections)} sections 'concepts' in its nav, expected one")
    return [page.removesuffix(".md") for page in sections[0]["concepts"]]
