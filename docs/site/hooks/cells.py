"""`!cell rope.shift` becomes that cell of the experiment's run: its code, its outputs, a link to it."""

import posixpath
import re
from typing import Any

from machinery import FIGURE_TYPE, SiteError
from machinery.experiments import cell, figure_html
from machinery.labels import LABELS
from machinery.pages import Directive, fence, replace_directives
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from nbformat import NotebookNode

FIGURE = re.compile(r'<figure data-figure="(?P<cell>[^"]+):(?P<output>\d+)"></figure>')
WRAPPED = re.compile(r'<p>(<figure data-figure="[^"]+"></figure>|<p class="cell-link">.*?</p>)</p>')
EMPTY_HEADER = re.compile(r"<th([^>]*)></th>")
TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    language = config.theme["language"]
    source = page.file.src_path
    return replace_directives(markdown, "cell", lambda directive: block(directive, page, language), source)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Takes out the paragraph that Markdown puts around these in a list; makes an empty corner no header."""
    return EMPTY_HEADER.sub(r"<td\1></td>", WRAPPED.sub(r"\1", content))


def on_page_context(
    context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Navigation
) -> dict[str, Any]:
    """Puts the figures in after the search has read the page."""
    language = config.theme["language"]

    def drawn(match: re.Match[str]) -> str:
        return figure_html(cell(match["cell"]).outputs[int(match["output"])], language)

    page.content = FIGURE.sub(drawn, page.content or "")
    return context


def block(directive: Directive, page: Page, language: str) -> str:
    directive.only("code", "output")
    found = cell(directive.target)
    draws = any(FIGURE_TYPE in output.get("data", {}) for output in found.outputs)
    code = directive.option("code", "no" if draws else "yes", ("yes", "no"))
    parts = []
    if code == "yes":
        parts.append(fence(found.source, f'.python data-cell="{directive.target}"'))
    if directive.option("output", "yes", ("yes", "no")) == "yes":
        parts.extend(shown(found, directive.target))
        slug, _, name = directive.target.partition(".")
        depth = posixpath.dirname(page.url)
        link = posixpath.relpath(f"notebooks/{slug}.html", depth or ".")
        label = LABELS[language]["in-notebook"]
        parts.append(
            f'<p class="cell-link"><a href="{link}#{name}">{label} <code>{directive.target}</code></a></p>'
        )
    if not parts:
        raise SiteError(f"!cell {directive.target}: neither code nor output is left to show")
    return "\n\n".join(parts) + "\n"


def shown(found: NotebookNode, path: str) -> list[str]:
    """Each output as Markdown: a figure's place, or a text."""
    parts = []
    for number, output in enumerate(found.outputs):
        data = output.get("data", {})
        if FIGURE_TYPE in data:
            parts.append(f'<figure data-figure="{path}:{number}"></figure>')
            continue
        text = output.text if output.output_type == "stream" else data.get("text/plain", "")
        text = TERMINAL_COLOUR.sub("", text).strip("\n")
        if text:
            parts.append(fence(text, ".text .cell-output"))
    return parts
