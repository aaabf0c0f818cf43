"""The glossary, read from docs/terms.csv."""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from machinery import DOCS, SiteError

TERM_LINK = re.compile(r"\]\(term:(?P<slug>[^)\s]*)\)")


@dataclass(frozen=True)
class Term:
    """A term: its names, what not to call it in Korean, the page it lives on, and a sentence by language."""

    slug: str
    names: dict[str, str]
    avoid: tuple[str, ...]
    also: tuple[str, ...]
    """What a reader may type into the search for it, in either language."""
    page: str
    sentences: dict[str, str]
    line: int
    """Where it stands in the file."""


@cache
def terms(file: Path = DOCS / "terms.csv") -> dict[str, Term]:
    """All terms by slug, in the file's order.

    Raises:
        SiteError: A row has no sentence, or two rows share a slug.
    """
    found: dict[str, Term] = {}
    with file.open(encoding="utf-8", newline="") as rows:
        reader = csv.DictReader(rows)
        for row in reader:
            number = reader.line_num
            term = Term(
                slug=row["slug"],
                names={"en": row["english"], "ko": row["korean"]},
                avoid=tuple(word for word in row["avoid"].split("|") if word),
                also=tuple(word for word in row["also"].split("|") if word),
                page=row["page"],
                sentences={"en": row["sentence_en"], "ko": row["sentence_ko"]},
                line=number,
            )
            if not re.fullmatch(r"[a-z0-9-]+", term.slug) or term.slug in found:
                raise SiteError(
                    f"docs/{file.name}:{number}: slug '{term.slug}', expected a new one of a-z, 0-9 and -"
                )
            if not all(term.names.values()) or not all(term.sentences.values()):
                raise SiteError(
                    f"docs/{file.name}:{number}: '{term.slug}' lacks a name or a sentence in a language"
                )
            found[term.slug] = term
    return found


def term(slug: str) -> Term:
    """The term with this slug.

    Raises:
        SiteError: There is none.
    """
    if slug not in terms():
        raise SiteError(f"term:{slug}: no such slug in docs/terms.csv")
    return terms()[slug]
