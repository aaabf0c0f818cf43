"""The check that holds the two languages together, and to the glossary.

Same pages; the same headings, code and cells in the same order; the same links, term marks and numbers;
links that stay in their language; no word that the glossary bans.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import jupytext  # type: ignore[import-untyped]

from machinery import DOCS, EXPERIMENTS, LANGUAGES, ROOT, SITE_SOURCES, SiteError
from machinery.pages import HEADING, HEADING_ID, directive_of, lines, without_front_matter
from machinery.terms import terms

LINK = re.compile(r"(?P<image>!?)\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)")
RAW_LINK = re.compile(r"""(?:href|src)=["'](?P<target>[^"']+)["']""")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
ASCII_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
NOT_PROSE = re.compile(r"<!--.*?-->|<[^>]+>|\]\([^)]*\)|\{[^}]*\}")
CODE_SPAN = re.compile(r"(`+).+?\1")
KOREAN_LABEL = re.compile(r"""\bko\s*[=:]\s*f?(["'])(?P<text>.*?)\1""")
MONTHS = [f"{date(2000, month, 1):%B}" for month in range(1, 13)]
SCALES = {
    **{"천": 1e3, "만": 1e4, "백만": 1e6, "천만": 1e7, "억": 1e8, "조": 1e12},
    **{
        "thousand": 1e3,
        "million": 1e6,
        "billion": 1e9,
        "trillion": 1e12,
        "K": 1e3,
        "M": 1e6,
        "B": 1e9,
        "T": 1e12,
    },
}
ENGLISH_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
KOREAN_WORDS = ("영", "하나|한", "둘|두", "셋|세", "넷|네", "다섯", "여섯", "일곱", "여덟", "아홉", "열")
SPELLED = [
    re.compile(rf"\b{english}\b|(?<![가-힣])(?:{korean})(?![가-힣])", re.IGNORECASE)
    for english, korean in zip(ENGLISH_WORDS, KOREAN_WORDS, strict=True)
]
LONGEST_FIRST = "|".join(sorted(SCALES, key=len, reverse=True))
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.])(?P<digits>\d[\d,]*(?:\.\d+)?)(?:\s?(?P<scale>{LONGEST_FIRST})(?![A-Za-z]))?"
    rf"|(?P<month>{'|'.join(MONTHS)}) (?=\d)"
)


@dataclass
class Facts:
    """What two pages must have in common."""

    headings: list[tuple[int, str]] = field(default_factory=list)
    directives: list[str] = field(default_factory=list)
    python: list[str] = field(default_factory=list)
    links: Counter[str] = field(default_factory=Counter)
    terms: Counter[str] = field(default_factory=Counter)
    numbers: dict[frozenset[float], int] = field(default_factory=dict)
    """Each number as the values it may stand for, and the line it is first seen on."""
    spelled: set[float] = field(default_factory=set)
    """Numbers in words: they are not asked for on the other page, but they answer for a number there."""
    problems: list[str] = field(default_factory=list)


def numbers(text: str) -> Iterator[frozenset[float]]:
    """The numbers in a text, each as the values it may stand for.

    >>> [sorted(values) for values in numbers("약 100만 개, 2026년 11월")]
    [[100.0, 1000000.0], [2026.0], [11.0]]
    >>> [sorted(values) for values in numbers("1 million in November 2026, GPT2")]
    [[1.0, 1000000.0], [11.0], [2026.0]]
    """
    for match in NUMBER.finditer(text):
        if match["month"]:
            yield frozenset({MONTHS.index(match["month"]) + 1.0})
            continue
        value = float(match["digits"].replace(",", ""))
        yield frozenset({value, value * SCALES[match["scale"]]} if match["scale"] else {value})


def banned(text: str) -> Iterator[tuple[str, str]]:
    """The words in a Korean text that the glossary bans, each with the word to use.

    >>> list(banned("어텐션 레이어를 봅니다."))[:1]
    [('어텐션 레이어', '어텐션 층')]
    """
    for term in terms().values():
        for word in term.avoid:
            if word in text:
                yield word, term.names["ko"]


def prose_problems(text: str, where: str) -> Iterator[str]:
    for word, use in banned(CODE_SPAN.sub("", text)):
        yield f"{where}: '{word}', the glossary says '{use}'"


def facts(file: Path, language: str) -> Facts:
    """Reads a page."""
    found = Facts()
    name = file.relative_to(ROOT).as_posix()
    folder = DOCS / language
    whole = file.read_text(encoding="utf-8")
    if language == "ko":
        for number, text in enumerate(whole.split("\n"), start=1):
            if text.startswith("description:"):
                found.problems.extend(prose_problems(text, f"{name}:{number}"))
    fenced: list[str] | None = None
    for line in lines(without_front_matter(whole)):
        where = f"{name}:{line.number}"
        if line.in_fence:
            fenced = read_fence(line.text, fenced, found)
            continue
        directive = directive_of(line)
        if directive:
            options = {key: value for key, value in directive.options.items() if key != "prompt"}
            found.directives.append(f"!{directive.name} {directive.target} {sorted(options.items())}")
            continue
        heading = HEADING.match(line.text)
        if heading:
            mark = HEADING_ID.search(heading["text"])
            if not mark or not ASCII_ID.fullmatch(mark["id"]):
                found.problems.append(f"{where}: a heading without an English id, expected {{#some-id}}")
            else:
                found.headings.append((len(heading["marks"]), mark["id"]))
        for link in LINK.finditer(line.text):
            target = link["target"]
            if target.startswith("term:"):
                found.terms[target] += 1
            elif not SCHEME.match(target):
                found.links[link["image"] + target] += 1
        for link in [*LINK.finditer(line.text), *RAW_LINK.finditer(line.text)]:
            path = link["target"].partition("#")[0]
            if (
                path
                and not SCHEME.match(path)
                and not (file.parent / path).resolve().is_relative_to(folder.resolve())
            ):
                found.problems.append(f"{where}: the link {link['target']} leaves the language")
        prose = NOT_PROSE.sub(" ", line.text)
        for values in numbers(prose):
            found.numbers.setdefault(values, line.number)
        found.spelled.update(float(value) for value, word in enumerate(SPELLED) if word.search(prose))
        if language == "ko":
            found.problems.extend(prose_problems(prose, where))
    ids = [each for _, each in found.headings]
    found.problems.extend(
        f"{name}: heading id '{each}' twice" for each, count in Counter(ids).items() if count > 1
    )
    if [level for level, _ in found.headings].count(1) != 1:
        found.problems.append(f"{name}: expected one heading of the first level")
    return found


def read_fence(text: str, fenced: list[str] | None, found: Facts) -> list[str] | None:
    """Collects a Python fence line by line; other fences are passed over."""
    if fenced is None:
        return [text.strip()]
    if text.strip().startswith(("```", "~~~")):
        if re.match(r"[`~]+\s*\{?\s*\.?(python|py|pycon)\b", fenced[0]):
            found.python.append("\n".join(line.strip() for line in fenced))
        return None
    return [*fenced, text]


def compare(slug: str, korean: Facts, english: Facts) -> Iterator[str]:
    """What one page has and the other has not, or has elsewhere."""
    where = f"docs/{{ko,en}}/{slug}"
    for what in ("headings", "directives", "python"):
        ko, en = getattr(korean, what), getattr(english, what)
        for number in range(max(len(ko), len(en))):
            left, right = (side[number] if number < len(side) else None for side in (ko, en))
            if left != right:
                yield f"{where}: {what} differ at number {number + 1}: ko {left!r}, en {right!r}"
                break
    for what in ("links", "terms"):
        ko, en = getattr(korean, what), getattr(english, what)
        if ko != en:
            extra = f"only ko {sorted((ko - en).elements())}, only en {sorted((en - ko).elements())}"
            yield f"{where}: {what} differ: {extra}"
    for language, own, other in (("ko", korean, english), ("en", english, korean)):
        there = other.spelled.union(*other.numbers)
        for values, line in own.numbers.items():
            if not values & there:
                yield f"docs/{language}/{slug}:{line}: the number {min(values):g} is not on the other page"


def pages(language: str) -> set[str]:
    folder = DOCS / language
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*.md")}


def check_pages() -> Iterator[str]:
    both = pages("ko") & pages("en")
    for language, other in (("ko", "en"), ("en", "ko")):
        for slug in sorted(pages(language) - both):
            yield f"docs/{other}/{slug} is missing; docs/{language}/{slug} is there"
    for slug in sorted(both):
        try:
            korean, english = (facts(DOCS / language / slug, language) for language in LANGUAGES)
        except SiteError as error:
            yield f"docs/{{ko,en}}/{slug}: {error}"
            continue
        yield from korean.problems
        yield from english.problems
        yield from compare(slug, korean, english)


def check_experiments() -> Iterator[str]:
    """The Markdown cells of an experiment: the same numbers, no banned words, and none in Korean labels."""
    for file in sorted(EXPERIMENTS.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        name = file.relative_to(ROOT).as_posix()
        seen: dict[str, set[float]] = {language: set() for language in LANGUAGES}
        first: dict[str, list[frozenset[float]]] = {language: [] for language in LANGUAGES}
        for cell in jupytext.reads(text, fmt="py:percent").cells:
            language = cell.metadata.get("lang")
            if cell.cell_type != "markdown" or language not in LANGUAGES:
                continue
            for values in numbers(NOT_PROSE.sub(" ", cell.source)):
                seen[language] |= values
                first[language].append(values)
            if language == "ko":
                yield from prose_problems(cell.source, name)
        for language, other in (("ko", "en"), ("en", "ko")):
            for values in first[language]:
                if not values & seen[other]:
                    yield f"{name}: the number {min(values):g} is in the text of '{language}' only"
        for label in KOREAN_LABEL.finditer(text):
            yield from prose_problems(label["text"], name)


def check_words() -> Iterator[str]:
    """Banned words in the glossary's own sentences, in the theme and in the labs."""
    for term in terms().values():
        yield from prose_problems(term.sentences["ko"], f"docs/terms.csv: {term.slug}")
    for file in sorted([*SITE_SOURCES.glob("theme/**/*.html"), *SITE_SOURCES.glob("labs/*.json")]):
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
            yield from prose_problems(line, f"{file.relative_to(ROOT).as_posix()}:{number}")


def check() -> list[str]:
    """All problems, each with its file; none means that the languages agree."""
    return [*check_pages(), *check_experiments(), *check_words()]
