"""The chapter's exercises: one module for each concept, with a stub to complete and the checks it must pass.

What stands in a module above the line `# What is checked` is the reader's copy. Below it stand the checks:
functions `check_*`, which get the reader's module and raise an AssertionError that says what was expected and
what was found.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal, NamedTuple

import torch

FOLDER = Path(__file__).parent
MARK = "# What is checked"

# The chapter's order, which is the order of the list that `llmref exercise` prints.
CHAPTER = (
    "generation",
    "forward-pass",
    "tokenizer",
    "token-embedding",
    "lm-head",
    "decoding",
    "parallel-streams",
    "kv-cache",
    "transformer-block",
    "self-attention",
    "multi-head",
    "feedforward",
    "sparse-attention",
    "mqa-gqa",
    "flash-attention",
    "residual-norm",
    "positions",
    "rope",
    "full-model",
    "training",
    "mixture-of-experts",
    "latent-attention",
)


class Outcome(NamedTuple):
    """What came of one check: what it checks, how it ended, and what is wrong where something is."""

    check: str
    state: Literal["passed", "failed", "not written yet"]
    message: str = ""


def slugs() -> list[str]:
    """The concepts that have an exercise, in the chapter's order.

    >>> "kv-cache" in slugs()
    True
    """
    return [slug for slug in CHAPTER if (FOLDER / file_name(slug)).is_file()]


def file_name(slug: str) -> str:
    """The name of an exercise's file, in the package and in the reader's folder.

    >>> file_name("kv-cache")
    'kv_cache.py'
    """
    return f"{slug.replace('-', '_')}.py"


def find(name: str) -> str:
    """The slug that a reader means by `kv-cache`, `kv_cache` or `kv_cache.py`.

    Raises:
        ValueError: There is no such exercise; the message lists those that there are.
    """
    slug = name.removesuffix(".py").replace("_", "-")
    if slug not in slugs():
        raise ValueError(f"there is no exercise {name!r}; there are: {', '.join(slugs())}")
    return slug


def title(slug: str) -> str:
    """What there is to write, in one line: the first line of the exercise's docstring."""
    return (ast.get_docstring(ast.parse(stub(slug))) or "").partition("\n")[0]


def stub(slug: str) -> str:
    """The reader's copy of an exercise: all that stands above `# What is checked`."""
    above, mark, _ = (FOLDER / file_name(slug)).read_text("utf-8").partition(f"\n{MARK}\n")
    if not mark:
        raise ValueError(f"llmref/exercises/{file_name(slug)} has no line {MARK!r}")
    return above.rstrip() + "\n"


def checks(slug: str) -> list[Callable[[Any], None]]:
    """The checks of an exercise, in the order in which they stand in its module."""
    module = importlib.import_module(f"llmref.exercises.{slug.replace('-', '_')}")
    return [check for name, check in vars(module).items() if name.startswith("check_")]


def run(slug: str, path: Path) -> Iterator[Outcome]:
    """Runs every check on the reader's file, one after the other.

    Args:
        slug: The exercise.
        path: The reader's file. It is run, as `import` would run it.

    Raises:
        ValueError: The file cannot be run (the message has the line), or lacks what the exercise asks for.
    """
    answer = _read(path)
    for name in _asked(slug):
        if not hasattr(answer, name):
            raise ValueError(
                f"{path.name} does not define {name!r}, which this exercise asks for; "
                "to start again, move the file away and run the same command"
            )
    for check in checks(slug):
        torch.manual_seed(0)  # so that a check ends alike each time, whatever ran before it
        what = (inspect.getdoc(check) or check.__name__).partition("\n")[0]
        try:
            check(answer)
        except (Exception, SystemExit) as error:
            line = _line(error.__traceback__, path, last=isinstance(error, NotImplementedError))
            if isinstance(error, NotImplementedError) and line:
                yield Outcome(what, "not written yet", str(error))
            else:
                yield Outcome(what, "failed", _message(error, path))
        else:
            yield Outcome(what, "passed")


def _asked(slug: str) -> list[str]:
    """The functions and classes that the stub defines."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in ast.parse(stub(slug)).body if isinstance(node, kinds)]


def _read(path: Path) -> ModuleType:
    """The reader's file as a module. Compiled here, so that nothing is written beside it."""
    module = ModuleType(f"answer_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up by its name
    try:
        exec(compile(path.read_text("utf-8-sig"), str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise ValueError(f"{path.name}:{error.lineno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 text") from error
    except (Exception, SystemExit) as error:
        raise ValueError(_message(error, path)) from error
    return module


def _message(error: BaseException, path: Path) -> str:
    """An error in one line, with the place in the reader's file; the words of a check as they are."""
    text = " ".join(str(error).split())
    if line := _line(error.__traceback__, path):
        return f"{path.name}:{line}: {type(error).__name__}: {text}".removesuffix(": ")
    if isinstance(error, AssertionError):
        return text
    return f"what your code gave could not be used: {type(error).__name__}: {text}"


def _line(trace: TracebackType | None, path: Path, last: bool = False) -> int | None:
    """The line of the reader's file that an error came from; with `last`, only if it was raised there."""
    found = None
    while trace is not None:
        own = trace.tb_frame.f_code.co_filename == str(path)
        found = trace.tb_lineno if own else (None if last else found)
        trace = trace.tb_next
    return found
