"""The built site as the tests read it: its pages, their links and anchors, their code blocks."""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "site"
LANGUAGES = ("ko", "en")
NOT_BUILT = "no built site: run `make site` first"


def page_names(folder: str = "") -> list[str]:
    """The HTML files of the site, as paths from its root; one name that says so if there is no site.

    A test that is parametrised over them then fails, and is not skipped, where the site is missing.
    """
    start = SITE / folder
    names = sorted(path.relative_to(SITE).as_posix() for path in start.rglob("*.html"))
    return names or [NOT_BUILT]


def read(name: str) -> str:
    """The HTML of a page."""
    if name == NOT_BUILT:
        raise AssertionError(NOT_BUILT)
    return (SITE / name).read_text(encoding="utf-8")


@functools.cache
def transfer_bytes(file: Path) -> int:
    """What a server sends for a file: texts compressed by gzip, the others as they are on the disk."""
    content = file.read_bytes()
    texts = {".html", ".css", ".js", ".json", ".svg", ".xml", ".txt", ".py"}
    return len(gzip.compress(content, 6)) if file.suffix in texts else len(content)


@dataclass
class Links(HTMLParser):
    """What a page points at, and what can be pointed at in it."""

    anchors: set[str] = field(default_factory=set)
    links: list[tuple[int, str]] = field(default_factory=list)  # line, address: followed by a reader
    assets: list[tuple[int, str]] = field(default_factory=list)  # line, address: fetched by the browser
    unlabelled: list[int] = field(default_factory=list)  # lines of images without a text
    tex_errors: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes one element."""
        attributes = {name: value or "" for name, value in attrs}
        line, _ = self.getpos()
        if identifier := attributes.get("id"):
            self.anchors.add(identifier)
        if tag == "a":
            if "name" in attributes:
                self.anchors.add(attributes["name"])
            if "href" in attributes:
                self.links.append((line, attributes["href"]))
        elif tag == "link":
            fetched = {"stylesheet", "icon", "preload", "modulepreload", "manifest"} & set(
                attributes.get("rel", "").split()
            )
            (self.assets if fetched else self.links).append((line, attributes.get("href", "")))
        elif "src" in attributes:
            self.assets.append((line, attributes["src"]))
        elif tag in ("image", "use") and (href := attributes.get("href") or attributes.get("xlink:href")):
            self.assets.append((line, href))
        for candidate in filter(None, attributes.get("srcset", "").split(",")):
            self.assets.append((line, candidate.split()[0]))
        for address in re.findall(r"url\(([^)]+)\)", attributes.get("style", "")):
            self.assets.append((line, address.strip("'\"")))
        if tag == "img" and "alt" not in attributes:
            self.unlabelled.append(line)
        if "katex-error" in attributes.get("class", "").split():
            self.tex_errors.append(line)


@functools.cache
def links_of(name: str) -> Links:
    """The links, assets and anchors of a page."""
    parser = Links()
    parser.feed(read(name))
    parser.close()
    return parser


@dataclass(frozen=True)
class Block:
    """One code block of a page, as a reader would copy it."""

    language: str
    text: str
    number: int  # from 1, among all code blocks of the page
    source: str = ""  # the path of the object of the package that it shows
    keeps_docstring: bool = True
    reason: str = ""  # why it cannot be run, in the author's words
    owner: str = ""  # the path of the object whose docstring it is part of

    @property
    def is_python(self) -> bool:
        """Whether it is Python: a script or a session."""
        return self.language in ("python", "py", "python3", "pycon", "ipython", "ipython3", "ipy")

    @property
    def is_session(self) -> bool:
        """Whether it is a session at the prompt, with its output."""
        return self.language == "pycon" or self.text.lstrip().startswith(">>>")

    @property
    def is_shell(self) -> bool:
        """Whether it is for a shell."""
        return self.language in ("sh", "bash", "shell", "console", "zsh")


def _attribute(element: Tag, name: str) -> str:
    """The attribute of the element, or of the nearest ancestor that has it."""
    for node in (element, *element.parents):
        if value := node.attrs.get(name) if node.attrs else None:
            return " ".join(value) if isinstance(value, list) else str(value)
    return ""


def _language(element: Tag) -> str:
    names = [str(name) for name in element.get("class") or []]
    return next((name.removeprefix("language-") for name in names if name.startswith("language-")), "")


def _owner(element: Tag) -> str:
    documented = element.find_parent(class_="doc-object")
    heading = documented.find(class_="doc-heading") if documented else None
    return str(heading.get("id", "")) if isinstance(heading, Tag) else ""


@functools.cache
def _parsed(name: str) -> BeautifulSoup:
    return BeautifulSoup(read(name), "html.parser")


def blocks(name: str) -> Iterator[Block]:
    """The code blocks of a page, in order.

    Raises:
        AssertionError: if the site is not built.
    """
    for number, element in enumerate(_parsed(name).select("div.highlight"), start=1):
        code = element.select_one("pre")
        if code is None or "doc-signature" in (element.get("class") or []):
            continue
        yield Block(
            language=_language(element),
            text=code.get_text().strip("\n") + "\n",
            number=number,
            source=_attribute(element, "data-source"),
            keeps_docstring=_attribute(element, "data-docstring") != "no",
            reason=_attribute(element, "data-reason"),
            owner=_owner(element),
        )


def sentences_of_code(name: str) -> list[str]:
    """The code in a page's sentences: what stands between backquotes in the Markdown."""
    return [code.get_text() for code in _parsed(name).select("p code, li code")]


def downloads(name: str) -> list[Path]:
    """The Python files that a page offers to download."""
    links = [str(link["href"]) for link in _parsed(name).select("article a[href$='.py']")]
    return [(SITE / name).parent.joinpath(link).resolve() for link in links]
