"""Completes the navigation: one list of files serves both languages, with section names in each."""

import os

from machinery.labels import LABELS
from machinery.terms import terms
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.extra["language"] = config.theme["language"]
    config.extra["other_language"] = "en" if config.theme["language"] == "ko" else "ko"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    nav = config.nav or []
    if os.environ.get("LLMREF_DRAFT"):
        nav = existing(nav, files)
    concepts = next(
        (list(item.values())[0] for item in nav if isinstance(item, dict) and "concepts" in item), []
    )
    runs = {
        file.src_uri
        for file in files
        if file.src_uri.startswith("notebooks/") and file.src_uri.endswith(".ipynb")
    }
    in_order = [uri for page in concepts if (uri := f"notebooks/{page.removesuffix('.md')}.ipynb") in runs]
    notebooks = [*in_order, *sorted(runs - set(in_order))]
    api = [file.src_uri for file in files if file.src_uri.startswith("api/") and file.src_uri.endswith(".md")]
    api.sort(key=lambda uri: uri != "api/index.md")
    sections = [{"notebooks": notebooks}, {"api": api}]
    config.nav = [*nav, *(section for section in sections if any(section.values()))]
    return files


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """In the search, a concept's page is found by its terms, and by what they are not to be called."""
    language = config.theme["language"]
    if page.parent and page.parent.title == LABELS[language]["concepts"]:
        own = [term for term in terms().values() if term.page == page.file.name]
        page.meta["tags"] = [word for term in own for word in (*term.names.values(), *term.also, *term.avoid)]
    return content


def existing(nav: list, files: Files) -> list:  # type: ignore[type-arg]
    """The entries whose file is there: for a draft, while pages are being written."""
    kept: list = []  # type: ignore[type-arg]
    for item in nav:
        if isinstance(item, dict):
            sections = {name: existing(pages, files) for name, pages in item.items()}
            kept.extend({name: pages} for name, pages in sections.items() if pages)
        elif files.get_file_from_path(item):
            kept.append(item)
    return kept


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    words = LABELS[config.theme["language"]]
    for item in nav.items:
        if item.is_section and item.title in words:
            item.title = words[item.title]
    return nav
