"""The chapter as a PDF: whole, in the order of the nav, its links inside it, linked from the front page."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from bs4 import BeautifulSoup
from built_site import LANGUAGES, ROOT, SITE, links_of
from test_house import concepts

sys.path.insert(0, str(ROOT / "docs" / "site"))

import pdf  # noqa: E402

pytestmark = pytest.mark.built


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_book_is_whole_and_its_links_lead_somewhere(language: str, count: Callable[..., None]) -> None:
    book = BeautifulSoup(pdf.book(language), "html.parser")
    parts = [str(part.find("h1")["id"]) for part in book.select("article.book-part")]
    assert parts == [f"{slug}--{slug}" for slug in [*concepts(), "glossary"]]
    assert [link["href"] for link in book.select(".book-contents a")] == [f"#{each}" for each in parts]
    ids = Counter(str(each["id"]) for each in book.find_all(id=True))
    targets = {str(link["href"]) for link in book.find_all(href=re.compile("^#"))}
    assert not {target for target in targets if target[1:] not in ids}
    assert not book.select("details:not([open]), script[type=module], .llmref-lab")
    count("links inside the PDFs", len(targets))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pdf_is_made_and_linked(language: str, count: Callable[..., None]) -> None:
    file = SITE / language / pdf.NAME
    assert file.exists(), f"there is no site/{language}/{pdf.NAME}: run `make pdf` first"
    content = file.read_bytes()
    pages = len(re.findall(rb"/Type /Page\b", content))
    assert content.startswith(b"%PDF-")
    assert pages > 2 * len(concepts()), f"{pages} pages"
    assert file.stat().st_size < 15_000_000
    assert pdf.NAME in {address for _, address in links_of(f"{language}/index.html").links}
    count("pages of the PDFs", pages)


def test_addresses_become_those_of_the_book() -> None:
    import doctest

    assert doctest.testmod(pdf).failed == 0
