"""Experiments: one percent-format file each, run once, shown in both languages.

A run is kept in build/experiments/<slug>.ipynb with a key made of its code cells, the package's source, and
the versions of what it runs on. Markdown cells are no part of the key: prose may change without a new run.
"""

import copy
import hashlib
import html
import json
import os
import platform
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jupytext  # type: ignore[import-untyped]
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tqdm import tqdm

from machinery import DOCS, EXPERIMENTS, FIGURE_TYPE, LANGUAGES, PACKAGE, ROOT, RUNS, SITE_SOURCES, SiteError

CELL_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_CELL_SECONDS = 1800
AT_ONCE = 2
"""How many experiments run side by side, each on one core."""
RUN_ON = ("torch", "numpy", "matplotlib", "safetensors", "tokenizers", "nbclient", "ipykernel")

HOW_TO_RUN = {
    "ko": (
        "이 노트북은 사이트를 만들 때 실행되었고, 아래 출력은 그때의 결과입니다. "
        "설명은 [{title}](../{page}.html)에 있습니다. "
        "직접 실행하려면 `pip install llmref matplotlib ipykernel`로 설치한 뒤 [노트북]({slug}.ipynb)과 "
        "[figures.py](../assets/figures.py)를 같은 폴더에 내려받으십시오."
    ),
    "en": (
        "This notebook ran when the site was built; the outputs below are from that run. "
        "[{title}](../{page}.html) explains it. "
        "To run it yourself, `pip install llmref matplotlib ipykernel`, "
        "then download the [notebook]({slug}.ipynb) and [figures.py](../assets/figures.py) "
        "into the same folder."
    ),
}


def slugs() -> list[str]:
    """The experiments there are, by the name of their concept."""
    return sorted(file.stem for file in EXPERIMENTS.glob("*.py"))


def read(slug: str) -> NotebookNode:
    """Reads an experiment's source, and checks its form.

    Raises:
        SiteError: A code cell has no name of its own, or the Markdown cells do not come in pairs.
    """
    file = EXPERIMENTS / f"{slug}.py"
    if not file.exists():
        raise SiteError(
            f"no experiment docs/experiments/{slug}.py; there are: {', '.join(slugs()) or 'none'}"
        )
    notebook = jupytext.reads(file.read_text(encoding="utf-8"), fmt="py:percent")
    names: set[str] = set()
    languages = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            name = cell.metadata.get("name", "")
            if not CELL_NAME.fullmatch(name) or name in names:
                raise SiteError(
                    f"docs/experiments/{slug}.py: cell name '{name}', expected a new one in kebab-case "
                    f'(# %% name="count") before: {cell.source.strip().splitlines()[:1]}'
                )
            names.add(name)
            cell.id = name
        else:
            language = cell.metadata.get("lang")
            if language not in LANGUAGES:
                raise SiteError(
                    f"docs/experiments/{slug}.py: a Markdown cell with lang={language!r}, "
                    f'expected # %% [markdown] lang="ko" or lang="en": {cell.source[:60]!r}'
                )
            languages.append(language)
    if languages.count("ko") != languages.count("en"):
        raise SiteError(
            f"docs/experiments/{slug}.py: {languages.count('ko')} Korean and {languages.count('en')} English "
            "Markdown cells, expected pairs"
        )
    for language in LANGUAGES:
        title(notebook, slug, language)
    return notebook


def title(notebook: NotebookNode, slug: str, language: str) -> str:
    """The experiment's title in a language: its first Markdown cell starts with `# `."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.metadata.lang == language:
            heading = cell.source.strip().splitlines()[0]
            if heading.startswith("# "):
                return str(heading[2:].strip())
            break
    raise SiteError(
        f"docs/experiments/{slug}.py: the first Markdown cell in '{language}' must start with '# Title'"
    )


@cache
def environment() -> str:
    """A digest of what an experiment's result may depend on beside its own code."""
    digest = hashlib.sha256()
    files = [file for file in PACKAGE.rglob("*") if not {"__pycache__", "exercises"} & set(file.parts)]
    for file in sorted(file for file in [*files, SITE_SOURCES / "figures.py"] if file.is_file()):
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    for name in RUN_ON:
        try:
            digest.update(f"{name} {version(name)}\n".encode())
        except PackageNotFoundError:
            digest.update(f"{name} absent\n".encode())
    digest.update(platform.python_version().encode())
    return digest.hexdigest()


def key(notebook: NotebookNode) -> str:
    """The run's key: the code cells and the environment."""
    code = [[cell.metadata.name, cell.source] for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps([code, environment()]).encode()).hexdigest()


def kept(slug: str) -> NotebookNode | None:
    """The run on disk if it is still that of the source, with the prose of today."""
    file = RUNS / f"{slug}.ipynb"
    if not file.exists():
        return None
    run = nbformat.read(file, as_version=4)
    notebook = read(slug)
    if run.metadata.get("llmref_key") != key(notebook):
        return None
    ran = {cell.id: cell for cell in run.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = ran[cell.id].outputs
            cell.execution_count = ran[cell.id].execution_count
    return notebook


def execute(slug: str, progress: "tqdm[Any] | None" = None) -> NotebookNode:
    """Runs an experiment in an empty folder and keeps the run.

    Raises:
        SiteError: A cell raised; the message names it and holds the error.
    """
    notebook = read(slug)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = notebook.cells

    def started(cell: NotebookNode, cell_index: int) -> None:
        if progress is not None and cell.cell_type == "code":
            progress.set_description_str(f"{slug}.{cell.metadata.name}")

    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=LONGEST_CELL_SECONDS,
            resources={"metadata": {"path": folder}},
            on_cell_start=started,
            coalesce_streams=True,
            extra_arguments=["--log-level=40"],
        )
        paths = [str(SITE_SOURCES), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        # One thread: the same sums on any number of cores, and another experiment may run beside this one.
        fixed = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        try:
            client.execute(env={**os.environ, **fixed})
        except CellExecutionError as error:
            raise SiteError(failure(slug, notebook, str(error))) from None
    for cell in cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata["llmref_key"] = key(notebook)
    write(notebook, RUNS / f"{slug}.ipynb")
    return notebook


def failure(slug: str, notebook: NotebookNode, error: str) -> str:
    """What went wrong in a cell: where in the experiment's file, the error, and what to do about it."""
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    failed = next(c for c in codes if any(o.output_type == "error" for o in c.get("outputs", [])))
    name = failed.metadata.name
    error = re.sub(r"\x1b\[[0-9;]*m", "", error).strip()
    lines = (EXPERIMENTS / f"{slug}.py").read_text(encoding="utf-8").split("\n")
    begin = next(place for place, line in enumerate(lines) if re.match(rf'# %%.*name="{name}"', line)) + 1
    begin += next(place for place, line in enumerate(lines[begin:]) if line.strip())  # the cell's first line
    inside = re.findall(r"Cell In\[\d+\], line (\d+)", error)
    line = begin + int(inside[0]) if inside else begin
    advice = "mend the code"
    if error.split("\n")[-1].startswith("AssertionError"):
        advice = "the claim no longer holds: mend the code, or change the claim on both pages"
    return f"docs/experiments/{slug}.py:{line}: cell '{name}': {advice}\n{error}"


def attempt(slug: str, progress: "tqdm[Any]") -> SiteError | None:
    """Runs an experiment; gives the error instead of raising it, so that the others run too."""
    try:
        execute(slug, progress)
    except SiteError as error:
        return error
    finally:
        progress.update()
    return None


def write(notebook: NotebookNode, file: Path) -> None:
    """Writes a notebook whole or not at all; an equal file is left as it is."""
    text = nbformat.writes(notebook, version=4) + "\n"
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def in_language(notebook: NotebookNode, slug: str, language: str) -> NotebookNode:
    """The notebook as a reader of one language gets it: that language's prose and figures."""
    page = copy.deepcopy(notebook)
    page.cells = [cell for cell in page.cells if cell.cell_type == "code" or cell.metadata.lang == language]
    for number, cell in enumerate(page.cells):
        if cell.cell_type == "markdown":
            cell.id = f"text-{number}"
            cell.metadata = NotebookNode()
            continue
        for output in cell.outputs:
            drawn = output.get("data", {}).pop(FIGURE_TYPE, None)
            if drawn:
                own = drawn["languages"][language]
                output["data"]["image/svg+xml"] = own["svg"]
                output["data"]["text/plain"] = own["alt"]
    first = next(cell for cell in page.cells if cell.cell_type == "markdown")
    heading, _, rest = first.source.strip().partition("\n")
    introduction, mark, sections = rest.partition("\n#")
    how = HOW_TO_RUN[language].format(slug=slug, page=slug, title=heading.removeprefix("# ").strip())
    first.source = "\n\n".join(filter(None, [heading, introduction.strip(), how, (mark + sections).strip()]))
    page.metadata.pop("llmref_key", None)
    return page


def run(chosen: list[str] | None = None) -> None:
    """Runs the experiments whose run is missing or old, and writes the notebook pages of both languages.

    Raises:
        SiteError: An experiment is malformed or a cell raised.
    """
    wanted = chosen or slugs()
    old = [slug for slug in wanted if kept(slug) is None]
    print(
        f"experiments: {len(wanted)}, to run: {len(old)}{' (' + ', '.join(old) + ')' if old else ''}",
        flush=True,
    )
    if old:
        with (
            tqdm(total=len(old), unit="experiment", mininterval=0) as progress,
            ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool,
        ):
            failed = [str(error) for error in pool.map(lambda slug: attempt(slug, progress), old) if error]
        if failed:
            raise SiteError("\n\n".join(failed))
    for slug in wanted:
        notebook = kept(slug)
        if notebook is None:
            raise SiteError(f"docs/experiments/{slug}.py changed while it ran; run it again")
        for language in LANGUAGES:
            write(in_language(notebook, slug, language), DOCS / language / "notebooks" / f"{slug}.ipynb")
    if chosen is None:
        for file in [*RUNS.glob("*.ipynb"), *DOCS.glob("*/notebooks/*.ipynb")]:
            if file.stem not in wanted:
                file.unlink()


@cache
def load(slug: str) -> NotebookNode:
    """The run of an experiment, as the pages show it.

    Raises:
        SiteError: It has not run since its source or the package changed.
    """
    notebook = kept(slug)
    if notebook is None:
        raise SiteError(
            f"experiment {slug} has no current run: python docs/site/build.py --experiments {slug}"
        )
    return notebook


def cell(path: str) -> NotebookNode:
    """A code cell of a run, by `slug.name`.

    Raises:
        SiteError: No such experiment or cell.
    """
    slug, _, name = path.partition(".")
    notebook = load(slug)
    names = [c.metadata.name for c in notebook.cells if c.cell_type == "code"]
    if name not in names:
        raise SiteError(f"'{path}': no such cell; docs/experiments/{slug}.py has {', '.join(names)}")
    return next(c for c in notebook.cells if c.cell_type == "code" and c.metadata.name == name)


def figure_html(output: NotebookNode, language: str) -> str:
    """A figure in the page's language, its alternative text as its name.

    Raises:
        SiteError: It has no drawing or no alternative text in this language.
    """
    found = output["data"][FIGURE_TYPE]
    own = found["languages"].get(language)
    if not own or not own["alt"].strip():
        raise SiteError(f"figure '{found['name']}' has no drawing or no alternative text in '{language}'")
    label = html.escape(own["alt"], quote=True)
    svg = own["svg"].replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f'<figure class="figure" data-search-exclude>{svg}</figure>'
