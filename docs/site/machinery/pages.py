"""Reading a page's Markdown: what is prose, what is a fence, what is a directive (`!code`, `!cell`, ...)."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from machinery import SiteError

FENCE = re.compile(r"^[ \t]*(?P<marks>`{3,}|~{3,})(?P<info>.*)$")
DIRECTIVE = re.compile(r"^(?P<indent>[ \t]*)!(?P<name>[a-z]+)(?:[ \t]+(?P<rest>.*?))?[ \t]*$")
HEADING = re.compile(r"^(?P<marks>#{1,6})[ \t]+(?P<text>.+?)[ \t]*$")
HEADING_ID = re.compile(r"\{[^}]*#(?P<id>[^\s}]+)[^}]*\}$")


@dataclass(frozen=True)
class Line:
    """A line of a page: its number (from 1), its text, and whether it stands in a code fence."""

    number: int
    text: str
    in_fence: bool


@dataclass(frozen=True)
class Directive:
    """`!name target key=value word ...` on a line of its own; a bare word is an option that says yes."""

    number: int
    indent: str
    name: str
    target: str
    options: dict[str, str] = field(default_factory=dict)

    def option(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.options.get(name, default)
        if value not in allowed:
            raise SiteError(
                f"!{self.name} {self.target}: {name}={value}, expected one of {', '.join(allowed)}"
            )
        return value

    def text(self, options: dict[str, str]) -> str:
        """As it is compared: its options in one order."""
        return f"!{self.name} {self.target} {sorted(options.items())}"

    def only(self, *names: str) -> None:
        """Raises SiteError if an option other than these is given."""
        for unknown in sorted(set(self.options) - set(names)):
            raise SiteError(
                f"!{self.name} {self.target}: unknown option '{unknown}', expected {', '.join(names)}"
            )


def lines(markdown: str) -> Iterator[Line]:
    """Yields the lines of a page; fence marks count as lines in a fence.

    >>> [line.in_fence for line in lines("a\\n```py\\nb\\n```\\nc")]
    [False, True, True, True, False]
    """
    marks = ""
    for number, text in enumerate(markdown.split("\n"), start=1):
        fence = FENCE.match(text)
        if marks:
            yield Line(number, text, True)
            if fence and fence["marks"].startswith(marks) and not fence["info"].strip():
                marks = ""
        else:
            marks = fence["marks"] if fence else ""
            yield Line(number, text, bool(marks))


def directive_of(line: Line) -> Directive | None:
    """Reads a line as a directive.

    >>> directive_of(Line(3, "    !cell rope.shift code=no", False)).options
    {'code': 'no'}
    """
    match = DIRECTIVE.match(line.text)
    if line.in_fence or match is None:
        return None
    target, *rest = shlex.split(match["rest"] or "") or [""]
    options = {}
    for word in rest:
        key, equals, value = word.partition("=")
        options[key] = value if equals else "yes"
    return Directive(line.number, match["indent"], match["name"], target, options)


def replace_directives(
    markdown: str, name: str, render: Callable[[Directive], str], page: str | None = None
) -> str:
    """Puts what `render` gives, at the same indent and between blank lines, in the place of each `!name`.

    Raises:
        SiteError: As `render` does, with the line, and with the page where it is given.
    """
    result = []
    for line in lines(markdown):
        directive = directive_of(line)
        if directive is None or directive.name != name:
            result.append(line.text)
            continue
        try:
            rendered = render(directive)
        except SiteError as error:
            place = f"{page}, line {line.number}" if page else f"line {line.number}"
            raise SiteError(f"{place}: {error}") from error
        result.extend((directive.indent + text).rstrip() for text in f"\n{rendered}\n".split("\n"))
    return "\n".join(result)


def fence(text: str, attributes: str) -> str:
    """A code fence around a text, longer than any run of backquotes in it.

    >>> print(fence("a = 1", ".python"))
    ```{ .python }
    a = 1
    ```
    """
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    marks = "`" * (longest + 1)
    return f"{marks}{{ {attributes} }}\n{text}\n{marks}"


def without_front_matter(markdown: str) -> str:
    """The page with its front matter's lines emptied, so that line numbers stay."""
    match = re.match(r"---\n.*?\n---\n", markdown, re.DOTALL)
    return "\n" * match[0].count("\n") + markdown[match.end() :] if match else markdown
