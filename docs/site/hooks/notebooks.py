"""Dresses a notebook page as the other pages are: the rendered cells are kept, what comes along is not.

That is half a megabyte of styles and scripts, some from other hosts, and figures without a name.
"""

import html

from bs4 import BeautifulSoup, Tag
from machinery import FIGURE_TYPE, SiteError
from machinery.experiments import cell, figure_html
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink, TableOfContents


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if not page.file.src_uri.endswith(".ipynb"):
        return content
    page.meta["search"] = {"exclude": True}
    slug = page.file.name
    anchors: list[AnchorLink] = []
    parts = []
    for each in BeautifulSoup(content, "html.parser").select("[id^='cell-id=']"):
        if "jp-MarkdownCell" in each["class"]:
            parts.append(prose(each, anchors))
        else:
            name = str(each["id"]).removeprefix("cell-id=")
            parts.append(code(each, slug, name, config.theme["language"]))
    page.toc = TableOfContents(anchors[:1])
    if anchors:
        anchors[0].children = anchors[1:]
    return "\n".join(parts)


def prose(found: Tag, anchors: list[AnchorLink]) -> str:
    """A Markdown cell; its headings get ids by their number, equal in both languages."""
    body = found.select_one(".jp-RenderedMarkdown")
    if body is None:
        raise SiteError(f"notebook cell without text: {found.get('id')}")
    for heading in body.select("h1, h2, h3"):
        for link in heading.select(".anchor-link"):
            link.decompose()
        heading["id"] = f"section-{len(anchors)}"
        anchors.append(AnchorLink(heading.get_text(), heading["id"], level=int(heading.name[1])))
    return body.decode_contents()


def code(found: Tag, slug: str, name: str, language: str) -> str:
    """A code cell with its outputs, in the markup of `!cell`."""
    source = found.select_one(".hl-python pre")
    if source is None:
        raise SiteError(f"notebook cell '{slug}.{name}' has no source")
    path = f"{slug}.{name}"
    label = f'<span class="filename">{path}</span>'
    inner = f"<pre><span></span><code>{source.decode_contents()}</code></pre>"
    parts = [f'<div class="language-python highlight" id="{name}" data-cell="{path}">{label}{inner}</div>']
    for output in cell(path).outputs:
        data = output.get("data", {})
        if FIGURE_TYPE in data:
            parts.append(figure_html(output, language))
            continue
        text = output.text if output.output_type == "stream" else data.get("text/plain", "")
        if text.strip("\n"):
            shown = html.escape(text.strip("\n"), quote=False)
            parts.append(
                f'<div class="language-text cell-output highlight"><pre><code>{shown}\n</code></pre></div>'
            )
    return "\n".join(parts)
