"""What a page points at is there: links, anchors, names of the package, cells. An answer says what to do."""

import re
from functools import cache
from pathlib import Path

from machinery import PACKAGE, ROOT, SiteError, code, experiments, model_table
from machinery.pages import HEADING, HEADING_ID, Directive, lines
from machinery.terms import terms

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
DIRECTIVES = ("code", "cell", "models", "results", "lab", "api", "modules", "glossary")


def directive_problem(directive: Directive, language: str) -> str | None:
    """Why a directive cannot be shown."""
    try:
        if directive.name not in DIRECTIVES:
            known = ", ".join(f"!{name}" for name in DIRECTIVES)
            raise SiteError(f"there is no directive '!{directive.name}'; there are {known}")
        if directive.name == "code":
            code.source(directive.target)
        elif directive.name == "cell":
            slug, _, name = directive.target.partition(".")
            names = cells(slug)
            if name not in names:
                raise SiteError(
                    f"!cell {directive.target}: docs/experiments/{slug}.py has no such cell; "
                    f"it has {', '.join(names)}"
                )
        elif directive.name == "models":
            model_table.table(directive, language)
    except SiteError as error:
        return str(error)
    return None


def cells(slug: str) -> list[str]:
    """The names of an experiment's code cells."""
    file = experiments.EXPERIMENTS / f"{slug}.py"
    return cells_at(slug, file.stat().st_mtime_ns if file.exists() else 0)


@cache
def cells_at(slug: str, time: int) -> list[str]:
    """The names as they were at a time: a page asks for them once for each of its cells."""
    return [cell.metadata.name for cell in experiments.read(slug).cells if cell.cell_type == "code"]


def name_problem(path: str) -> str | None:
    """Why a reference to a name of the package leads nowhere."""
    try:
        code.find(path)
    except SiteError as error:
        return f"the reference {error}; name it by its full path, where it is defined"
    return None


def link_problem(target: str, file: Path, folder: Path) -> str | None:
    """Why a link of a page leads nowhere, or out of its language."""
    path, _, anchor = target.partition("#")
    if SCHEME.match(target):
        return None
    page = (file.parent / path).resolve() if path else file.resolve()
    if not page.is_relative_to(folder.resolve()):
        return "leaves the language; link to the page of this one"
    name = page.relative_to(folder.resolve()).as_posix()
    if name.startswith("notebooks/"):
        slug = Path(name).stem
        there = slug in experiments.slugs()
        return None if there else f"leads nowhere; there is no docs/experiments/{slug}.py"
    if name.startswith("api/") and name != "api/index.md":
        module = PACKAGE / name.removeprefix("api/").removesuffix(".md")
        there = module.with_suffix(".py").exists() or (module / "__init__.py").exists()
        return None if there else f"leads nowhere; there is no {module.relative_to(ROOT).as_posix()}.py"
    if not name.endswith(".md"):
        return None  # MkDocs knows about those
    if not page.exists():
        return "leads nowhere; write that page, or mend the link"
    if anchor and anchor not in anchors(page):
        return f"leads nowhere; {name} has no heading {{#{anchor}}}"
    return None


def anchors(page: Path) -> set[str]:
    """What can be linked to on a page."""
    found = set(terms()) if page.name == "glossary.md" else set()
    for line in lines(page.read_text(encoding="utf-8")):
        heading = None if line.in_fence else HEADING.match(line.text)
        mark = HEADING_ID.search(heading["text"]) if heading else None
        if mark:
            found.add(mark["id"])
    return found
