"""One API page for each public module, and `!api`, the list of the package's public names."""

from collections.abc import Iterator

import griffe
from machinery.code import find, package
from machinery.labels import LABELS
from machinery.pages import Directive, replace_directives
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ORDER = (
    *("files", "config", "tokenizer", "chat", "embedding", "positions", "rope", "cache", "kernels", "attention"),
    *("feedforward", "normalization", "block", "deep_norm", "model", "decoding", "generation", "families"),
    *("checkpoint", "trace", "cost", "roofline", "training", "corpus", "tiny", "twins", "exercises", "cli"),
)
"""The order in which a token travels, as in the package's own house rules."""

PAGE = """---
search:
  boost: 0.3
---
# {path} {{#{path}}}

{note}

::: {path}
    options:
      show_root_heading: false
      show_root_toc_entry: false
      heading_level: 2
"""


def public_modules(module: griffe.Module) -> Iterator[griffe.Module]:
    """The modules below this one, in the house's order, each followed by its own."""

    def place(name: str) -> tuple[int, str]:
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)

    for name in sorted(module.modules, key=place):
        child = module.modules[name]
        if not name.startswith("_") and not child.is_alias:
            yield child
            if name != "exercises":  # each of those is on its concept's page
                yield from public_modules(child)


def uri(module: griffe.Module) -> str:
    """`llmref.attention.heads` has its page at `api/attention/heads.md`."""
    return f"api/{module.path.partition('.')[2].replace('.', '/')}.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    note = LABELS[config.theme["language"]]["english-docstrings"]
    for module in public_modules(package()):
        files.append(File.generated(config, uri(module), content=PAGE.format(path=module.path, note=note)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    words = LABELS[config.theme["language"]]

    def table(directive: Directive) -> str:
        directive.only()
        rows = [f"| {words['name']} | {words['summary']} |", "|---|---|"]
        for name in package().exports or []:
            target = find(f"llmref.{name}")
            rows.append(f"| [`llmref.{name}`][{target.path}] | {summary(target)} |")
        return "\n".join(rows)

    def modules(directive: Directive) -> str:
        directive.only()
        rows = [f"| {words['module']} | {words['summary']} |", "|---|---|"]
        for module in public_modules(package()):
            rows.append(f"| [`{module.path}`]({uri(module).removeprefix('api/')}) | {summary(module)} |")
        return "\n".join(rows)

    return replace_directives(replace_directives(markdown, "api", table), "modules", modules)


def summary(found: griffe.Object) -> str:
    """The first sentence of a docstring, in one line."""
    first = found.docstring.value.split("\n\n")[0] if found.docstring else ""
    return " ".join(first.split()).replace("|", "\\|")
