"""Griffe extension: a doctest in a docstring is shown as code, wherever in the docstring it stands."""

from typing import Any

import griffe


class DoctestFences(griffe.Extension):
    """Puts every run of `>>>` lines and their output in a fence, so that Markdown leaves them alone."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring and ">>>" in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """Fences the doctests of a docstring; one that is fenced already stays.

    >>> fenced("Adds.\\n\\n  >>> 1 + 1\\n  2\\n\\nEnd.").split("\\n")
    ['Adds.', '', '  ```pycon', '  >>> 1 + 1', '  2', '  ```', '', 'End.']
    """
    result: list[str] = []
    indent: str | None = None
    in_fence = False
    for line in docstring.split("\n"):
        if line.lstrip().startswith("```"):
            in_fence = not in_fence
        if indent is None and not in_fence and line.lstrip().startswith(">>>"):
            indent = line[: len(line) - len(line.lstrip())]
            result.append(f"{indent}```pycon")
        elif indent is not None and not line.strip():
            result.append(f"{indent}```")
            indent = None
        result.append(line)
    if indent is not None:
        result.append(f"{indent}```")
    return "\n".join(result)
