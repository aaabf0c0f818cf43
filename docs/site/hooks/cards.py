"""Terms: `[token](term:token)` becomes the word with a card; `!glossary` becomes the list of all terms.

The card needs no script: it shows on hover, on focus (so by keyboard and by touch).
"""

import html
import re
from typing import Any

from machinery import SiteError
from machinery.labels import LABELS
from machinery.pages import Directive, replace_directives
from machinery.terms import Term, term, terms
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

LINK = re.compile(r'<a href="term:(?P<slug>[^"]*)"[^>]*>(?P<word>.*?)</a>', re.DOTALL)
TITLE = re.compile(r"^# +(.+?) *(?:\{[^}]*\})?$", re.MULTILINE)
HEADING = re.compile(r"<h[1-6][^>]*>.*?</h[1-6]>", re.DOTALL)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    language = config.theme["language"]

    def glossary(directive: Directive) -> str:
        directive.only()
        ordered = sorted(terms().values(), key=lambda each: each.names[language].casefold())
        return "\n".join(
            ['<dl class="glossary">', *(entry(each, page, language, files) for each in ordered), "</dl>"]
        )

    return replace_directives(markdown, "glossary", glossary)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if any('href="term:' in heading for heading in HEADING.findall(content)):
        raise SiteError(f"{page.file.src_path}: a term mark in a heading; put it in the text under it")
    return content


def on_page_context(
    context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Navigation
) -> dict[str, Any]:
    """Puts the cards in after the search has read the page: it must not find every page by their text."""
    page.content = with_cards(page.content or "", page, config.theme["language"])
    return context


def with_cards(content: str, page: Page, language: str) -> str:
    """Turns the first mark of each term into a card, and the others into links."""
    seen: set[str] = set()

    def link(match: re.Match[str]) -> str:
        try:
            found = term(match["slug"])
        except SiteError as error:
            raise SiteError(f"{page.file.src_path}: {error}") from error
        target = f"{get_relative_url('glossary.html', page.url)}#{found.slug}"
        if found.slug in seen:
            return f'<a href="{target}">{match["word"]}</a>'
        seen.add(found.slug)
        return card(found, match["word"], target, language)

    return LINK.sub(link, content)


def card(found: Term, word: str, target: str, language: str) -> str:
    label = LABELS[language]["in-glossary"]
    return (
        '<span class="term">'
        f'<button type="button" class="term__word" aria-describedby="card-{found.slug}">{word}</button>'
        f'<span class="term__card" role="tooltip" id="card-{found.slug}">'
        f"<strong>{both_names(found, language)}</strong> {html.escape(found.sentences[language])} "
        f'<a href="{target}">{label}</a></span></span>'
    )


def both_names(found: Term, language: str) -> str:
    """The term's name, and on a Korean page the English one beside it."""
    own = html.escape(found.names[language])
    if language == "en" or found.names["en"] == found.names["ko"]:
        return own
    return f'{own} <span lang="en">{html.escape(found.names["en"])}</span>'


def entry(found: Term, page: Page, language: str, files: Files) -> str:
    other = "en" if language == "ko" else "ko"
    name = html.escape(found.names[language])
    if found.names["en"] != found.names["ko"]:
        name += f' <span class="glossary__other" lang="{other}">{html.escape(found.names[other])}</span>'
    text = html.escape(found.sentences[language])
    lives_on = files.get_file_from_path(f"{found.page}.md")
    if lives_on:
        title = TITLE.search(lives_on.content_string)
        link = f'<a href="{get_relative_url(lives_on.url, page.url)}">{title[1] if title else found.page}</a>'
        text += f' <span class="glossary__page">{LABELS[language]["page"]}: {link}</span>'
    return f'<dt id="{found.slug}">{name}</dt><dd>{text}</dd>'
