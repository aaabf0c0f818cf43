"""The source of an object of the package, by its path; read statically, nothing is imported."""

import ast
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import griffe

from machinery import ROOT, SiteError


@dataclass(frozen=True)
class Source:
    """An object's source text, and where it stands (a path relative to the project, a line from 1)."""

    text: str
    file: str
    line: int


@cache
def package(folder: Path = ROOT) -> griffe.Module:
    """The package as Griffe reads it from the folder that holds `llmref`."""
    module = griffe.load("llmref", search_paths=[folder], allow_inspection=False)
    assert isinstance(module, griffe.Module)
    return module


def find(path: str, folder: Path = ROOT) -> griffe.Object:
    """Finds an object by its dotted path, through re-exports.

    Raises:
        SiteError: The package has no such name.
    """
    top, _, rest = path.partition(".")
    if top != "llmref":
        raise SiteError(f"'{path}': expected a path in llmref, such as llmref.rope.rotate")
    try:
        found = package(folder)[rest] if rest else package(folder)
        target = found.final_target if isinstance(found, griffe.Alias) else found
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError) as error:
        raise SiteError(f"'{path}': the package has no such name (missing: {error})") from error
    return target


def source(path: str, docstring: bool = True, folder: Path = ROOT) -> Source:
    """The source of a module, class, function, method or constant.

    Args:
        path: Dotted path, such as `llmref.attention.dot_product.combine`.
        docstring: Whether its own docstring is kept.
        folder: The folder that holds the package.

    Raises:
        SiteError: The package has no such name.
    """
    found = find(path, folder)
    file = found.filepath
    if not isinstance(file, Path):
        raise SiteError(f"'{path}': a namespace package has no source")
    all_lines = file.read_text(encoding="utf-8").split("\n")
    first, last = (1, len(all_lines)) if found.is_module else (found.lineno or 1, found.endlineno or 1)
    text = textwrap.dedent("\n".join(all_lines[first - 1 : last])).rstrip()
    return Source(text if docstring else without_docstring(text), file.relative_to(folder).as_posix(), first)


def without_docstring(text: str) -> str:
    """Takes the outermost docstring out of a source text.

    >>> print(without_docstring('def f():\\n    \"\"\"Says.\"\"\"\\n    return 1'))
    def f():
        return 1
    """
    tree = ast.parse(text)
    only = tree.body[0] if len(tree.body) == 1 else tree
    node = only if isinstance(only, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else tree
    first = node.body[0]
    if ast.get_docstring(node) is None:
        return text
    kept = text.split("\n")
    del kept[first.lineno - 1 : first.end_lineno]
    if first.lineno <= len(kept) and not kept[first.lineno - 1].strip():
        del kept[first.lineno - 1]
    return "\n".join(kept).strip("\n")
