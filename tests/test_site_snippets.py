"""Every code block of the built HTML runs as a reader would run it, or shows the package's own source.

Copied out of the page, in an empty folder, in an environment that holds the wheel, what the wheel asks for,
and what the page says to install. The blocks of a page run in order and share their names. A block that is
not run carries a reason. Nothing is passed over in silence: every block is counted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from built_site import LANGUAGES, NOT_BUILT, ROOT, Block, blocks, downloads, page_names, sentences_of_code
from filelock import FileLock

pytestmark = pytest.mark.built

READER = ROOT / ".venv-wheel"
NO_CODE = {"", "text", "json", "yaml", "toml", "csv", "html", "output", "math", "markdown", "md", "diff"}
NOT_RUN = "blocks not run, with their reason on the page"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def names_without_language() -> list[str]:
    """The pages of the first language, as paths that hold in every language."""
    return [name.removeprefix(f"{LANGUAGES[0]}/") for name in page_names(LANGUAGES[0])]


def installs(texts: list[str]) -> list[str]:
    """What a page tells its reader to install beside the package, in a block or in a sentence."""
    found = []
    for text in texts:
        for arguments in re.findall(r"pip install\s+(.+)", text):
            words = re.sub(r"\s#.*", "", arguments).split()
            found += [word.strip("'\"") for word in words if not word.startswith("-")]
    return sorted({name for name in found if not re.match(r"(\.|llmref\b|.*\.whl$|git\+)", name)})


def job_of(page: str, found: list[Block], sentences: list[str]) -> tuple[dict[str, Any], Counter[str]]:
    """What the reader's Python has to do for a page, and what each block is counted as."""
    counts: Counter[str] = Counter({NOT_RUN: 0})
    work: list[dict[str, Any]] = []
    for block in found:
        item = {"number": block.number, "text": block.text, "source": block.source}
        item |= {"keeps_docstring": block.keeps_docstring, "owner": block.owner}
        if block.language in NO_CODE:
            counts["blocks that are not code"] += 1
        elif block.source:
            work.append({**item, "kind": "source"})
            counts["blocks of Python equal to the wheel's source"] += 1
        elif block.reason:
            counts[NOT_RUN] += 1
        elif block.is_python and block.is_session:
            work.append({**item, "kind": "session"})
            counts["blocks of Python run"] += 1
        elif block.is_python:
            work.append({**item, "kind": "python"})
            counts["blocks of Python run"] += 1
        elif block.is_shell:
            work.append({**item, "kind": "shell"})
            counts["blocks of shell run"] += 1
        else:
            raise AssertionError(
                f"{page}: block {block.number} is in {block.language!r}, which nobody knows how to run"
            )
    asked = installs([*sentences, *(block.text for block in found if block.is_shell and not block.reason)])
    return {"blocks": work, "installs": asked}, counts


def install(names: list[str]) -> None:
    """Installs what a page asks for into the reader's environment, at the pinned versions."""
    with FileLock(READER / ".lock"):
        subprocess.run(
            [READER / "bin" / "python", "-m", "pip", "install", "--quiet", *names],
            env={**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")},
            check=True,
        )


def run(job: dict[str, Any], folder: Path, downloads: list[Path]) -> None:
    """Does the job in a folder that holds nothing but the downloads; fails with what the block said."""
    python = READER / "bin" / "python"
    assert python.exists(), f"there is no {READER.name}: run `make reader` first"
    if job["installs"]:
        install(job["installs"])
    (folder / "reader").mkdir()
    order = folder / "reader" / "job.json"
    order.write_text(json.dumps(job), encoding="utf-8")
    empty = folder / "empty"
    empty.mkdir()
    for file in downloads:
        shutil.copy(file, empty)
    done = subprocess.run(
        [python, "-P", ROOT / "tests" / "reader.py", order],
        cwd=empty,
        # One thread each: the tests beside this one want the other cores, and threads that wait are slow.
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"the reader's Python stopped:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    failure = json.loads(done.stdout.strip().splitlines()[-1])["failure"]
    advice = "mend the block, or say by data-reason why it cannot run"
    assert not failure, f"{source_of(failure)}: {advice}\n{failure}"


def source_of(failure: str) -> str:
    """Where the block that failed is written: a page or an experiment, and its line."""
    first = failure.partition("\n")[2].lstrip("\n").partition("\n")[0].strip()
    files = [ROOT / "README.md", *ROOT.glob("docs/??/**/*.md"), *ROOT.glob("docs/experiments/*.py")]
    for file in [*files, *ROOT.glob("llmref/**/*.py")]:
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
            if first and line.strip() == first:
                return f"{file.relative_to(ROOT).as_posix()}:{number}"
    return "a block"


@pytest.mark.parametrize("page", names_without_language())
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path, count: Callable[..., None]) -> None:
    assert page != NOT_BUILT, NOT_BUILT
    jobs: list[tuple[dict[str, Any], Counter[str]]] = []
    for language in LANGUAGES:
        name = f"{language}/{page}"
        jobs.append(job_of(page, list(blocks(name)), sentences_of_code(name)))
    done: list[dict[str, Any]] = []
    for job, counts in jobs:
        if job["blocks"] and job not in done:  # one run speaks for both, where the code is the same
            folder = tmp_path / str(len(done))
            folder.mkdir()
            run(job, folder, downloads(f"{LANGUAGES[0]}/{page}"))
            done.append(job)
        for what, number in counts.items():
            count(what, number)


def test_a_block_that_fails_is_named_by_its_file_and_line() -> None:
    text = (ROOT / "docs" / "en" / "index.md").read_text(encoding="utf-8")
    line = text.split("\n").index("from llmref import generate, load_tiny") + 1
    failure = "block 3:\nfrom llmref import generate, load_tiny\n\nTraceback …"
    assert source_of(failure) in (f"docs/en/index.md:{line}", f"docs/ko/index.md:{line}")


def test_the_blocks_of_the_readme_run(tmp_path: Path, count: Callable[..., None]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [Block(match[1], match[2], number) for number, match in enumerate(FENCE.finditer(text), start=1)]
    assert sum(block.is_python for block in found) >= 2
    commands = [block for block in found if not block.text.startswith("make ")]  # those run this very test
    job, _ = job_of("README.md", commands, [])
    run(job, tmp_path, [])
    count("blocks of the README run", len(commands))
