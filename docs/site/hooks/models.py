"""`!models heads kv_heads only=gpt2,llama-3.1-8b` becomes a table of real models, in the page's language."""

from machinery.model_table import table
from machinery.pages import replace_directives
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    language = config.theme["language"]
    source = page.file.src_path
    return replace_directives(markdown, "models", lambda directive: table(directive, language), source)
