"""`!code llmref.rope.rotate` becomes that object's source, with its file and line as the title."""

from machinery.code import source
from machinery.pages import Directive, fence, replace_directives
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return replace_directives(markdown, "code", block, page.file.src_path)


def block(directive: Directive) -> str:
    directive.only("docstring")
    docstring = directive.option("docstring", "yes", ("yes", "no"))
    found = source(directive.target, docstring == "yes")
    title = f'title="{found.file}:{found.line}"'
    return fence(found.text, f'.python {title} data-source="{directive.target}" data-docstring="{docstring}"')
