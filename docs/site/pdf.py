"""Makes a PDF of the whole chapter in each language, by Chromium, and links it from the front page.

python docs/site/pdf.py        after docs/site/build.py; what has not changed is not made again
"""

import hashlib
import html
import mimetypes
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from bs4 import BeautifulSoup, Tag  # noqa: E402
from machinery import BUILD, LANGUAGES, ROOT, SITE, SiteError  # noqa: E402
from machinery.concepts import concepts  # noqa: E402
from machinery.labels import LABELS  # noqa: E402
from playwright.sync_api import Browser, Request, Route, sync_playwright  # noqa: E402

NAME = "llmref.pdf"
HOST = "http://book"  # nobody is asked: the files come from site/
SHEETS = ("fonts", "colors", "type", "layout", "code", "api", "print")
DROPPED = ".llmref-lab, .headerlink, .term__card, .cell-link, script, link, style"
BUTTONS = re.compile(r'(<p><a class="md-button md-button--primary"(?:(?!</p>).)*)</p>', re.DOTALL)
POINTS_AT = re.compile(r"url\(#([^)]+)\)")
PAGE_NUMBER = (
    '<p style="width: 100%; text-align: center; font-size: 7pt; color: #565e65">'
    '<span class="pageNumber"></span></p>'
)
STYLE = """
.book-cover { display: flex; flex-direction: column; justify-content: center; height: 240mm; }
.md-typeset .book-cover h1 { font-size: 2.6rem; margin: 0 0 0.6rem; }
.book-cover p { font-size: 1.05rem; color: var(--llmref-muted); margin: 0 0 0.4rem; }
.book-part { break-before: page; }
.md-typeset .book-contents li { margin-bottom: 0.5em; font-size: 0.9rem; }
"""


def main() -> int:
    try:
        started = time.monotonic()
        for language in LANGUAGES:
            if not (SITE / language / "index.html").exists():
                raise SiteError("there is no site/ yet: python docs/site/build.py")
        books = {language: book(language) for language in LANGUAGES}
        old = [language for language in LANGUAGES if not kept(language, books[language]).exists()]
        if old:
            print_books({language: books[language] for language in old})
        for language in LANGUAGES:
            place(language, kept(language, books[language]))
        made = f"{len(old)} made in {time.monotonic() - started:.0f} s" if old else "up to date"
        print(f"PDF: {made}; {', '.join(f'site/{language}/{NAME}' for language in LANGUAGES)}")
    except SiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def kept(language: str, text: str) -> Path:
    """Where the PDF of this very text is kept, with the styles and fonts that it is printed with."""
    digest = hashlib.sha256(text.encode() + Path(__file__).read_bytes())
    for file in sorted([*(SITE / language).rglob("*.css"), *(SITE / language).rglob("*.woff2")]):
        digest.update(file.read_bytes())
    return BUILD / "pdf" / f"{language}-{digest.hexdigest()[:16]}.pdf"


def book(language: str) -> str:
    """The chapter as one page: a cover, the contents, every concept in the order of the nav, the glossary."""
    words = LABELS[language]
    slugs = [slug for slug in [*concepts(), "glossary"] if (SITE / language / f"{slug}.html").exists()]
    parts = [part(slug, language, set(slugs)) for slug in slugs]
    titles = {slug: title for slug, (title, _) in zip(slugs, parts, strict=True)}
    contents = "".join(f'<li><a href="#{slug}--{slug}">{title}</a></li>' for slug, title in titles.items())
    sheets = "".join(
        f'<link rel="stylesheet" href="{sheet}">'
        for sheet in [
            *(f"assets/stylesheets/{each.name}" for each in theme_sheets(language)),
            *(f"stylesheets/{name}.css" for name in SHEETS),
            "assets/stylesheets/machinery.css",
            "assets/katex/katex.min.css",
        ]
    )
    articles = "\n".join(f'<article class="book-part">{body}</article>' for _, body in parts)
    return f"""<!doctype html>
<html lang="{language}">
<head><meta charset="utf-8"><title>{words["book"]}</title>{sheets}<style>{STYLE}</style></head>
<body dir="ltr" data-md-color-scheme="default"><div class="md-typeset">
<section class="book-cover">
<h1>{words["book"]}</h1><p>{words["book-about"]}</p><p>llmref {version()}</p>
</section>
<nav class="book-part book-contents"><h1>{words["contents"]}</h1><ol>{contents}</ol></nav>
{articles}
</div>
<script src="assets/katex/katex.min.js"></script><script src="javascripts/math.js"></script></body></html>"""


def theme_sheets(language: str) -> Iterator[Path]:
    """Material's own two."""
    for name in ("main", "palette"):
        yield from sorted((SITE / language / "assets" / "stylesheets").glob(f"{name}.*.css"))


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def part(slug: str, language: str, slugs: set[str]) -> tuple[str, str]:
    """A page's title and its article, all open, its ids and links made those of the book."""
    page = BeautifulSoup((SITE / language / f"{slug}.html").read_text(encoding="utf-8"), "html.parser")
    article = page.select_one("article.md-content__inner")
    heading = article and article.find("h1")
    if not isinstance(article, Tag) or not isinstance(heading, Tag):
        raise SiteError(f"site/{language}/{slug}.html has no article with a title")
    for dropped in article.select(DROPPED):
        dropped.decompose()
    for opened in article.select("details"):
        opened["open"] = ""
    for word in article.select("button.term__word"):
        word.unwrap()
    for element in article.find_all(True):
        for name, value in list(element.attrs.items()):
            if name in ("id", "aria-labelledby", "aria-describedby"):
                element[name] = " ".join(f"{slug}--{each}" for each in str(value).split())
            elif name in ("href", "xlink:href"):
                element[name] = inside(str(value), slug, slugs)
            elif isinstance(value, str) and "url(#" in value:
                element[name] = POINTS_AT.sub(rf"url(#{slug}--\1)", value)
        if element.name == "a" and not element.get("href", "x"):
            element.unwrap()
    return html.escape(heading.get_text().strip()), article.decode_contents()


def inside(address: str, slug: str, slugs: set[str]) -> str:
    """An address as the book has it: a place in the book, another host, or nothing.

    >>> inside("kv-cache.html#idea", "rope", {"kv-cache", "rope"}), inside("#idea", "rope", {"rope"})
    ('#kv-cache--idea', '#rope--idea')
    >>> inside("api/rope.html", "rope", {"rope"}), inside("https://arxiv.org/abs/1", "rope", {"rope"})
    ('', 'https://arxiv.org/abs/1')
    """
    parts = urlsplit(address)
    if parts.scheme:
        return address
    target = parts.path.removesuffix(".html") or slug
    return f"#{target}--{parts.fragment or target}" if target in slugs else ""


def print_books(books: dict[str, str]) -> None:
    (BUILD / "pdf").mkdir(parents=True, exist_ok=True)
    found = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "browser" / "find_browser.py")],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if found.returncode != 0:
        raise SiteError("a PDF needs a Chromium: make browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.stdout.split("\n")[-2], args=["--no-sandbox", "--disable-gpu"]
        )
        for language, text in books.items():
            print(f"printing {language} ...", flush=True)
            print_book(browser, language, text)
        browser.close()


def print_book(browser: Browser, language: str, text: str) -> None:
    """Prints one book, whole or not at all.

    Raises:
        SiteError: It asks for a file that is not in site/, or a formula cannot be set.
    """
    missing: list[str] = []

    def answer(route: Route, request: Request) -> None:
        path = urlsplit(request.url).path.lstrip("/")
        if path == f"{language}/book.html":
            return route.fulfill(body=text, content_type="text/html; charset=utf-8")
        file = SITE / path
        if not file.is_file():
            missing.append(path)
            return route.abort()
        return route.fulfill(body=file.read_bytes(), content_type=mimetypes.guess_type(file.name)[0])

    page = browser.new_page()
    page.set_default_timeout(300_000)
    page.route("**/*", answer)
    page.goto(f"{HOST}/{language}/book.html", wait_until="load")
    page.evaluate("document.fonts.ready")
    if missing or page.locator(".katex-error").count():
        raise SiteError(f"the book in '{language}': missing {missing}, or a formula that cannot be set")
    target = kept(language, text)
    # No tags: they double the file, and the pages themselves can be read aloud.
    page.pdf(
        path=str(target.with_suffix(".part")),
        prefer_css_page_size=True,
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=PAGE_NUMBER,
    )
    page.close()
    for old in target.parent.glob(f"{language}-*.pdf"):
        old.unlink()
    target.with_suffix(".part").replace(target)


def place(language: str, made: Path) -> None:
    """Puts the PDF into the site, and its link among the front page's buttons.

    Raises:
        SiteError: The front page has no buttons.
    """
    shutil.copyfile(made, SITE / language / NAME)
    front = SITE / language / "index.html"
    text = front.read_text(encoding="utf-8")
    if f'href="{NAME}"' in text:
        return
    size = f"{made.stat().st_size / 1e6:.1f} MB"
    link = f'<a class="md-button" href="{NAME}">{LABELS[language]["as-pdf"]} ({size})</a>'
    linked, count = BUTTONS.subn(lambda match: f"{match[1]}\n{link}</p>", text, count=1)
    if count != 1:
        raise SiteError(f"site/{language}/index.html: no row of buttons to put the link to {NAME} in")
    front.write_text(linked, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
