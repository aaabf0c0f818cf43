"""Runs the code blocks of one page in order, as a reader would; started with the reader's Python.

    python reader.py job.json

The job: {"blocks": [{"kind", "text", "number", …}], "installs": [distribution, …]}. The blocks share one
namespace and the current folder. The last line printed is a JSON object that says what failed, if anything.
Needs the standard library alone, so that nothing but the wheel and what it asks for has to be there.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import linecache
import os
import re
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path
from typing import Any

OPTIONAL = {"triton"}
"""What some modules need and the wheel does not ask for: their code is compared as it is written, and their
sessions run in the tests of the docstrings alone."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def distribution_names(start: list[str]) -> set[str]:
    """The distributions that come with these: what they ask for without extras, and so on."""
    done: set[str] = set()
    todo = list(start)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in done:
            continue
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # asked for on another platform only
        done.add(name)
        todo += [re.split(r"[^\w.-]", line)[0] for line in requirements if "extra ==" not in line]
    return done


def importable(installs: list[str]) -> set[str]:
    """The modules that a reader has: the standard library's, the wheel's, what the page gives or installs."""
    have = distribution_names(["llmref", *installs])
    modules = {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if any(re.sub(r"[-_.]+", "-", owner).lower() in have for owner in owners)
    }
    downloaded = {file.stem for file in Path().glob("*.py")}
    return modules | downloaded | set(sys.stdlib_module_names)


def imported(text: str) -> set[str]:
    """The top-level modules that a piece of Python imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def without_docstring(text: str) -> str:
    """The source of a class or a function without its own docstring, in a form that can be compared."""
    tree = ast.parse(text)
    node: Any = tree.body[0] if len(tree.body) == 1 and hasattr(tree.body[0], "body") else tree
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:]
    return ast.dump(tree)


def resolve(path: str) -> tuple[Any, Any]:
    """The object at a dotted path, and the last module on the way to it."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            module = found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if error.name in OPTIONAL:
                raise
            continue
        for part in parts[end:]:
            found = inspect.getattr_static(found, part)
        return found, module
    raise ImportError(f"there is no module on the path {path!r}")


def names_beside(path: str) -> dict[str, Any]:
    """The names that a docstring's example may use: those of the module where the object is defined."""
    found, module = resolve(path)
    found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    defined = found if inspect.ismodule(found) else sys.modules.get(getattr(found, "__module__", ""), module)
    return {**vars(defined), "__name__": "__main__"}


def written(path: str) -> str:
    """The source at a dotted path of the package, read from its file and not imported."""
    parts = path.split(".")
    file = Path(str(importlib.util.find_spec(parts.pop(0)).origin)).parent  # type: ignore[union-attr]
    while (file / parts[0]).is_dir():
        file /= parts.pop(0)
    text = (file / f"{parts.pop(0)}.py").read_text(encoding="utf-8")
    nodes: Any = ast.parse(text)
    for part in parts:
        nodes = next(node for node in nodes.body if getattr(node, "name", "") == part)
    lines = text.splitlines(keepends=True)
    first = min([nodes.lineno, *(each.lineno for each in nodes.decorator_list)]) if parts else 1
    return textwrap.dedent("".join(lines[first - 1 : nodes.end_lineno] if parts else lines))


def is_the_source(block: dict[str, Any]) -> bool:
    """Whether the block shows the source of the object that it names, as the wheel has it."""
    try:
        found, module = resolve(block["source"])
    except ModuleNotFoundError:
        source, shown = written(block["source"]).strip(), textwrap.dedent(block["text"]).strip()
        if block["keeps_docstring"]:
            return source == shown
        return without_docstring(source) == without_docstring(shown)
    found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    shown = textwrap.dedent(block["text"]).strip()
    try:
        source = textwrap.dedent(inspect.getsource(found)).strip()
    except TypeError:  # a constant: its module has these lines
        return shown in inspect.getsource(module)
    if block["keeps_docstring"]:
        return source == shown
    return without_docstring(source) == without_docstring(shown)


def run_session(text: str, namespace: dict[str, Any], name: str) -> None:
    """Runs a session at the prompt, and compares its output."""
    test = doctest.DocTestParser().get_doctest(textwrap.dedent(text), namespace, name, name, 0)
    test.globs = namespace
    assert not any(example.options.get(doctest.SKIP) for example in test.examples), "it skips a line"
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(
        test, out=said.append, clear_globs=False
    )
    if result.failed:
        raise AssertionError("".join(said))


def run_shell(text: str) -> None:
    """Runs the lines of a shell block; those that install were done beforehand."""
    lines = [line.removeprefix("$ ") for line in text.splitlines()]
    script = "\n".join(line for line in lines if not re.match(r"\s*(python\S* -m )?pip install\b", line))
    if script.strip():
        done = subprocess.run(
            ["sh", "-ec", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def run(block: dict[str, Any], namespace: dict[str, Any], allowed: set[str]) -> None:
    """Runs or compares one block.

    Raises:
        AssertionError: if it does not hold; and whatever the block itself raises.
    """
    name, text = f"<block {block['number']}>", block["text"]
    if block["kind"] == "source":
        assert is_the_source(block), f"it differs from {block['source']} in the wheel"
    elif block["kind"] == "shell":
        run_shell(text)
    elif block["kind"] == "session":
        try:
            names = names_beside(block["owner"]) if block["owner"] else namespace
        except ModuleNotFoundError:
            return
        run_session(text, names, name)
    else:
        text = textwrap.dedent(text)
        missing = imported(text) - allowed
        assert not missing, f"it imports {', '.join(sorted(missing))}, which the page does not say to install"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), namespace)


def main() -> None:
    """Runs the job that the command line names."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    sys.path.insert(0, str(Path.cwd()))
    allowed = importable(job["installs"])
    namespace: dict[str, Any] = {"__name__": "__main__"}
    failure = ""
    for block in job["blocks"]:
        try:
            run(block, namespace, allowed)
        except BaseException:
            failure = f"block {block['number']}:\n{block['text']}\n{traceback.format_exc()}"
            break
    sys.stdout.flush()
    print("\n" + json.dumps({"failure": failure}))


if __name__ == "__main__":
    main()
