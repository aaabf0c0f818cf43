"""Every link, anchor and asset of the built HTML is there, and nothing is fetched from another host."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from built_site import LANGUAGES, NOT_BUILT, SITE, links_of, page_names, read, transfer_bytes

pytestmark = pytest.mark.built


def target(page: str, address: str) -> tuple[Path, str]:
    """The file and the anchor that an address of a page points at."""
    parts = urlsplit(address)
    path = unquote(parts.path)
    if path.startswith("/"):
        file = SITE / path.lstrip("/")
    else:
        file = (SITE / page).parent / path if path else SITE / page
    return (file / "index.html" if file.is_dir() else file).resolve(), unquote(parts.fragment)


def is_elsewhere(address: str) -> bool:
    """Whether the address leaves the site."""
    return urlsplit(address).scheme not in ("",) or address.startswith("//")


@pytest.mark.parametrize("page", page_names())
def test_links_and_anchors_resolve(page: str, count: Callable[..., None]) -> None:
    found = links_of(page)
    wrong = []
    inner = [(line, address) for line, address in found.links if not is_elsewhere(address)]
    for line, address in inner:
        file, anchor = target(page, address)
        name = file.relative_to(SITE).as_posix() if file.is_relative_to(SITE) else ""
        if not name or not file.exists():
            wrong.append(f"{page}:{line}: {address!r}: there is no such file")
        elif address.startswith("/") and page.split("/")[-1] != "404.html":
            wrong.append(f"{page}:{line}: {address!r} starts at the root, so it fails from a folder")
        elif anchor and file.suffix == ".html" and anchor not in links_of(name).anchors:
            wrong.append(f"{page}:{line}: {address!r}: {name} has no anchor {anchor!r}")
    schemes = {urlsplit(address).scheme for _, address in found.links if is_elsewhere(address)}
    wrong += [
        f"{page}: a link with the scheme {scheme!r}" for scheme in schemes - {"https", "http", "mailto"}
    ]
    assert not wrong, "\n".join(wrong)
    count("links and anchors resolved", len(inner))
    count("links to other hosts, not followed", len(found.links) - len(inner))


@pytest.mark.parametrize("page", page_names())
def test_assets_are_our_own_and_there(page: str, count: Callable[..., None]) -> None:
    found = links_of(page)
    wrong = []
    for line, address in found.assets:
        if address.startswith(("data:", "blob:", "#")):
            continue
        if is_elsewhere(address):
            wrong.append(f"{page}:{line}: {address!r} is fetched from another host")
        elif not target(page, address)[0].exists():
            wrong.append(f"{page}:{line}: {address!r}: there is no such file")
    wrong += [f"{page}:{line}: an image without alternative text" for line in found.unlabelled]
    wrong += [f"{page}:{line}: a formula that KaTeX cannot read" for line in found.tex_errors]
    assert not wrong, "\n".join(wrong)
    count("assets resolved", len(found.assets))


@pytest.mark.parametrize("page", page_names())
def test_the_html_is_small(page: str, count: Callable[..., None]) -> None:
    size = transfer_bytes(SITE / page)
    assert size <= 60_000, f"{page} has {size:,} bytes of HTML, compressed; expected 60,000 at most"
    count("kB of HTML, compressed", round(size / 1000))


def stylesheets() -> list[str]:
    """The style sheets of the site."""
    return sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.css")) or [NOT_BUILT]


@pytest.mark.parametrize("sheet", stylesheets())
def test_stylesheets_load_only_what_is_there(sheet: str, count: Callable[..., None]) -> None:
    assert sheet != NOT_BUILT, NOT_BUILT
    text = re.sub(r"/\*.*?\*/", "", (SITE / sheet).read_text(encoding="utf-8"), flags=re.DOTALL)
    addresses = [
        match.strip("'\" ") for match in re.findall(r"url\(\s*(\"[^\"]*\"|'[^']*'|[^)]*)\s*\)", text)
    ]
    addresses += re.findall(r"@import\s+[\"']([^\"']+)", text)
    wrong = []
    for address in addresses:
        if address.startswith(("data:", "#")):
            continue
        if is_elsewhere(address):
            wrong.append(f"{sheet}: {address!r} is fetched from another host")
        elif not target(sheet, address)[0].exists():
            wrong.append(f"{sheet}: {address!r}: there is no such file")
    assert not wrong, "\n".join(wrong)
    count("addresses in style sheets resolved", len(addresses))


def test_both_languages_have_the_same_pages(count: Callable[..., None]) -> None:
    korean, english = (
        {name.removeprefix(f"{language}/") for name in page_names(language)} for language in LANGUAGES
    )
    assert NOT_BUILT not in korean | english, NOT_BUILT
    assert korean == english
    count("pages in each language", len(korean))


def api_elements(name: str) -> list[tuple[str, tuple[str, ...]]]:
    """The elements of an API page's text in their order, each with its classes."""
    text = BeautifulSoup(read(name), "html.parser").select_one("article > .doc-module")
    assert text, f"{name} documents no module"
    return [(element.name, tuple(element.get("class") or ())) for element in text.find_all(True)]


def test_api_pages_have_the_same_elements_in_every_language(count: Callable[..., None]) -> None:
    """So what axe says of one in the first language holds for the others."""
    first, *others = LANGUAGES
    pages = [name for name in page_names(f"{first}/api") if not name.endswith("/index.html")]
    for page in pages:
        for other in others:
            assert api_elements(page) == api_elements(page.replace(first, other, 1)), page
    count("API pages with the same elements in both languages", len(pages))


def test_the_sitemap_pairs_the_languages() -> None:
    assert (SITE / "sitemap.xml").exists(), "site/sitemap.xml is missing"
    tree = ElementTree.parse(SITE / "sitemap.xml")
    space = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9", "x": "http://www.w3.org/1999/xhtml"}
    entries = tree.getroot().findall("s:url", space)
    assert entries, "the sitemap is empty"
    for entry in entries:
        place = entry.findtext("s:loc", namespaces=space)
        pair = {link.get("hreflang"): link.get("href") or "" for link in entry.findall("x:link", space)}
        assert set(LANGUAGES) <= set(pair), f"{place} has the languages {sorted(filter(None, pair))}"
        assert pair["ko"].replace("/ko/", "/en/") == pair["en"], (
            f"{place} pairs {pair['ko']} with {pair['en']}"
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_search_index_points_at_pages(language: str, count: Callable[..., None]) -> None:
    text = (SITE / language / "search" / "search_index.js").read_text(encoding="utf-8")  # works from a folder
    index = json.loads(text.partition("=")[2].rstrip().rstrip(";"))
    wrong = []
    for entry in index["docs"]:
        file, anchor = target(f"{language}/index.html", entry["location"] or "index.html")
        if not file.exists():
            wrong.append(f"{entry['location']}: there is no such file")
        elif anchor and anchor not in links_of(file.relative_to(SITE).as_posix()).anchors:
            wrong.append(f"{entry['location']}: there is no such anchor")
    assert not wrong, "\n".join(wrong)
    count("search entries resolved", len(index["docs"]))


def test_the_size_is_told(count: Callable[..., None]) -> None:
    files = [path for path in SITE.rglob("*") if path.is_file()]
    assert files, NOT_BUILT
    count("kB in the built site, both languages", sum(path.stat().st_size for path in files) // 1000)
    count("kB of HTML in it", sum(path.stat().st_size for path in files if path.suffix == ".html") // 1000)
