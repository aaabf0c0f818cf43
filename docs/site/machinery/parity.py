"""The check that holds the two languages together, and to the glossary.

Same pages; the same headings, code, cells, boxes and steps in the same order; the same links and term marks;
in each section the same numbers, and in each figure; nothing that points at what is not there; links that
stay in their language; no word that the glossary bans. A problem is `file:line: what is wrong; what to do`.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import jupytext  # type: ignore[import-untyped]

from machinery import DOCS, EXPERIMENTS, LANGUAGES, ROOT, SITE_SOURCES, SiteError
from machinery.pages import HEADING, HEADING_ID, Line, directive_of, lines, without_front_matter
from machinery.references import directive_problem, link_problem, name_problem
from machinery.terms import term as find_term
from machinery.terms import terms

LINK = re.compile(r"(?P<image>!?)\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)")
NAMED = re.compile(r"\]\[(?P<path>llmref[\w.]*)\]")
BOX = re.compile(r"^(?P<indent> *)(?P<marks>!!!|\?\?\?\+?)[ ]+(?P<kind>[\w-]+)")
STEP = re.compile(r"^(?P<indent> *)\d+\. ")
RAW_LINK = re.compile(r"""(?:href|src)=["'](?P<target>[^"']+)["']""")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
ASCII_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
NOT_PROSE = re.compile(r"<!--.*?-->|<[^>]+>|\]\([^)]*\)|\{[^}]*\}")
CODE_SPAN = re.compile(r"(`+).+?\1")
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
ENGLISH_WORDS = (
    *("zeros?|nothing|no|none", "ones?|once|single|first", "two|twice|double|half|halves|second"),
    *("three|thirds?", "four|fourths?|quarters?", "five|fifths?", "six|sixths?", "seven|sevenths?"),
    *("eight|eighths?", "nine|ninths?", "ten|tenths?"),
)
KOREAN_WORDS = ("영", "하나|한", "둘|두", "셋|세", "넷|네", "다섯", "여섯", "일곱", "여덟", "아홉", "열")
SPELLED = [
    re.compile(rf"\b(?:{english})\b|(?<![가-힣])(?:{korean})(?![가-힣])", re.IGNORECASE)
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
    boxes: list[str] = field(default_factory=list)
    """Admonitions and questions by their kind; of steps, how many."""
    numbers: dict[str, dict[frozenset[float], list[int]]] = field(default_factory=dict)
    """By section: each number as the values it may stand for, and the lines that it stands on."""
    spelled: dict[str, set[float]] = field(default_factory=dict)
    """Numbers in words: they are not asked for on the other page, but they answer for a number there."""
    lines: dict[str, list[int]] = field(default_factory=dict)
    """The lines of what is compared in its order."""
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
        yield f"{where}: '{word}', the glossary says '{use}'; write that (the words are in docs/terms.csv)"


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
    section = ""
    steps: tuple[int, int] | None = None  # the indent of an open box of steps, and its line
    for line in lines(without_front_matter(whole)):
        where = f"{name}:{line.number}"
        if line.in_fence:
            fenced = read_fence(line, fenced, found)
            continue
        if steps and line.text.strip() and len(line.text) - len(line.text.lstrip()) <= steps[0]:
            steps = None
        if box := BOX.match(line.text):
            note(found, "boxes", f"{box['marks']} {box['kind']}", line.number)
            if box["kind"] == "steps":
                steps = len(box["indent"]), line.number
                found.problems.extend(steps_problems(whole, line.number, name))
        elif steps and (step := STEP.match(line.text)) and len(step["indent"]) == steps[0] + 4:
            note(found, "boxes", "a step", line.number)
        directive = directive_of(line)
        if directive:
            options = {key: value for key, value in directive.options.items() if key != "prompt"}
            note(found, "directives", directive.text(options), line.number)
            if problem := directive_problem(directive, language):
                found.problems.append(f"{where}: {problem}")
            continue
        heading = HEADING.match(line.text)
        if heading:
            mark = HEADING_ID.search(heading["text"])
            if not mark or not ASCII_ID.fullmatch(mark["id"]):
                found.problems.append(f"{where}: a heading without an English id; add one: {{#some-id}}")
            else:
                section = mark["id"]
                found.headings.append((len(heading["marks"]), section))
                found.lines.setdefault("headings", []).append(line.number)
        for link in LINK.finditer(line.text):
            target = link["target"]
            if target.startswith("term:"):
                found.terms[target] += 1
                try:
                    find_term(target.removeprefix("term:"))
                except SiteError as error:
                    found.problems.append(f"{where}: {error}; add a row there, or take the mark away")
            elif not SCHEME.match(target):
                found.links[link["image"] + target] += 1
        for link in [*LINK.finditer(line.text), *RAW_LINK.finditer(line.text)]:
            if problem := link_problem(link["target"], file, folder):
                found.problems.append(f"{where}: the link {link['target']} {problem}")
        for named in NAMED.finditer(line.text):
            if problem := name_problem(named["path"]):
                found.problems.append(f"{where}: {problem}")
        prose = NOT_PROSE.sub(" ", STEP.sub("", line.text))  # the number of an item is not the author's
        for values in numbers(prose):
            found.numbers.setdefault(section, {}).setdefault(values, []).append(line.number)
        found.spelled.setdefault(section, set()).update(
            float(value) for value, word in enumerate(SPELLED) if word.search(prose)
        )
        if language == "ko":
            found.problems.extend(prose_problems(prose, where))
    ids = [each for _, each in found.headings]
    found.problems.extend(
        f"{name}:{number}: heading id '{each}' twice; give this one another"
        for place, (each, number) in enumerate(zip(ids, found.lines.get("headings", []), strict=True))
        if each in ids[:place]
    )
    if [level for level, _ in found.headings].count(1) != 1:
        found.problems.append(f"{name}:1: expected one heading of the first level, '# … {{#{file.stem}}}'")
    return found


def note(found: Facts, what: str, value: str, line: int) -> None:
    """Adds one of what is compared in its order, with its line."""
    getattr(found, what).append(value)
    found.lines.setdefault(what, []).append(line)


def steps_problems(whole: str, begin: int, name: str) -> Iterator[str]:
    """What is wrong with the box of steps that begins on a line: it holds a numbered list of two or more."""
    head, *rest = whole.split("\n")[begin - 1 :]
    indent = len(head) - len(head.lstrip())
    count = 0
    for text in rest:
        if text.strip() and len(text) - len(text.lstrip()) <= indent:
            break
        step = STEP.match(text)
        count += bool(step and len(step["indent"]) == indent + 4)
    if count < 2:
        yield (
            f"{name}:{begin}: steps with {count} numbered items; write at least two as an ordered list, "
            "'1. ' four spaces in"
        )
    if not re.search(r'steps\s+"[^"]+"', head):
        yield f'{name}:{begin}: steps without a title; write !!! steps "…"'


def read_fence(line: Line, fenced: list[str] | None, found: Facts) -> list[str] | None:
    """Collects a Python fence line by line; other fences are passed over."""
    if fenced is None:
        return [line.text.strip()]
    if line.text.strip().startswith(("```", "~~~")):
        if re.match(r"[`~]+\s*\{?\s*\.?(python|py|pycon)\b", fenced[0]):
            note(found, "python", "\n".join(each.strip() for each in fenced), line.number - len(fenced))
        return None
    return [*fenced, line.text]


def compare(slug: str, korean: Facts, english: Facts) -> Iterator[str]:
    """What one page has and the other has not, or has elsewhere."""
    for what in ("headings", "directives", "python", "boxes"):
        ko, en = getattr(korean, what), getattr(english, what)
        for number in range(max(len(ko), len(en))):
            left, right = (side[number] if number < len(side) else None for side in (ko, en))
            if left != right:
                own, there = (
                    f"docs/{language}/{slug}:{(page.lines.get(what, [])[number : number + 1] or ['end'])[0]}"
                    for language, page in (("ko", korean), ("en", english))
                )
                yield f"{own}: {what} differ at number {number + 1}: {left!r}, but {right!r} in {there}"
                break
    for what in ("links", "terms"):
        ko, en = getattr(korean, what), getattr(english, what)
        if ko != en:
            extra = f"only ko {sorted((ko - en).elements())}, only en {sorted((en - ko).elements())}"
            yield f"docs/ko/{slug}:1: {what} differ from those of docs/en/{slug}: {extra}"
    for language, own, other in (("ko", korean, english), ("en", english, korean)):
        for section, seen in own.numbers.items():
            there = other.numbers.get(section, {})
            known = other.spelled.get(section, set()).union(*there)
            for values, places in seen.items():
                where = f"docs/{language}/{slug}:{places[0]}"
                if not values & known:
                    yield (
                        f"{where}: the number {min(values):g} is not on the other page, in its section "
                        f"'{section}'; write it there too, or in words, or take it out here"
                    )


def pages(language: str) -> set[str]:
    folder = DOCS / language
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*.md")}


def check_pages() -> Iterator[str]:
    both = pages("ko") & pages("en")
    for language, other in (("ko", "en"), ("en", "ko")):
        for slug in sorted(pages(language) - both):
            yield f"docs/{language}/{slug}:1: there is no docs/{other}/{slug}; write it, or remove this one"
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
    """Both languages in an experiment's texts, figures and labels: the same numbers, and no banned words."""
    for file in sorted(EXPERIMENTS.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        name = file.relative_to(ROOT).as_posix()
        seen: dict[str, dict[frozenset[float], int]] = {language: {} for language in LANGUAGES}
        for cell in jupytext.reads(text, fmt="py:percent").cells:
            language = cell.metadata.get("lang")
            if cell.cell_type != "markdown" or language not in LANGUAGES:
                continue
            for line in cell.source.split("\n"):
                number = line_of(text, line)
                for values in numbers(NOT_PROSE.sub(" ", line)):
                    seen[language].setdefault(values, number)
                if language == "ko":
                    yield from prose_problems(line, f"{name}:{number}")
        for language, other in (("ko", "en"), ("en", "ko")):
            known = set().union(*seen[other])
            for values, number in seen[language].items():
                if not values & known:
                    yield (
                        f"{name}:{number}: the number {min(values):g} is in the text of '{language}' only; "
                        f"write it in '{other}' too"
                    )
        yield from label_problems(text, name)


def line_of(text: str, part: str) -> int:
    """The line of a file on which a line of a Markdown cell stands."""
    return next((number for number, each in enumerate(text.split("\n"), 1) if each == f"# {part}"), 1)


def label_problems(text: str, name: str) -> Iterator[str]:
    """The labels of an experiment: each `en=` has its `ko=`, with the same numbers, and no banned words."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield f"{name}:{error.lineno}: {error.msg}; mend the code"
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        labels = {word.arg: word.value for word in node.keywords if word.arg in LANGUAGES}
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called not in ("figure", "text") or not (labels or called == "figure"):
            continue
        for language in LANGUAGES:
            if language not in labels:
                yield f"{name}:{node.lineno}: {called}() without its label in '{language}'; add {language}=…"
        if len(labels) < len(LANGUAGES):
            continue
        words = {language: label_text(label) for language, label in labels.items()}
        for language, other in (("ko", "en"), ("en", "ko")):
            known = {float(value) for value, word in enumerate(SPELLED) if word.search(words[other])}
            known = known.union(*numbers(words[other]))
            for values in numbers(words[language]):
                if not values & known:
                    yield (
                        f"{name}:{labels[language].lineno}: the number {min(values):g} is in the label in "
                        f"'{language}' only; write it in '{other}' too"
                    )
        yield from prose_problems(words["ko"], f"{name}:{labels['ko'].lineno}")


def label_text(label: ast.expr) -> str:
    """What is fixed in a label: its text, without what an f-string fills in."""
    return " ".join(
        node.value
        for node in ast.walk(label)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def check_words() -> Iterator[str]:
    """Banned words in the glossary's own sentences, in the theme and in the labs."""
    for term in terms().values():
        yield from prose_problems(term.sentences["ko"], f"docs/terms.csv:{term.line}")
    for file in sorted([*SITE_SOURCES.glob("theme/**/*.html"), *SITE_SOURCES.glob("labs/*.json")]):
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
            yield from prose_problems(line, f"{file.relative_to(ROOT).as_posix()}:{number}")


def check() -> list[str]:
    """All problems, each with its file; none means that the languages agree."""
    return [*check_pages(), *check_experiments(), *check_words()]
