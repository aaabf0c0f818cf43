"""The house rules: one name per concept, imports that run one way, two languages, versions that agree."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from shape_checker import UNCHECKED

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "llmref"
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "site"))

from machinery.concepts import concepts  # noqa: E402

# The order in which a token travels. A module imports what stands above it, or beside it in its own folder.
ORDER = (
    "files",
    "config",
    "sites",
    "tokenizer",
    "chat",
    "embedding",
    "positions",
    "rope",
    "cache",
    "normalization",
    "kernels",
    "attention",
    "feedforward",
    "mixture_of_experts",
    "block",
    "deep_norm",
    "model",
    "decoding",
    "generation",
    "families",
    "checkpoint",
    "trace",
    "cost",
    "roofline",
    "training",
    "corpus",
    "tiny",
    "twins",
    "exercises",
    "cli",
)

# Where a concept's code stands, when no module bears its name.
CODE = {
    "generation": "generation",
    "forward-pass": "model.py",
    "tokenizer": "tokenizer",
    "token-embedding": "embedding.py",
    "lm-head": "model.py",
    "decoding": "decoding",
    "parallel-streams": "model.py",
    "kv-cache": "cache",
    "transformer-block": "block.py",
    "self-attention": "attention/dot_product.py",
    "multi-head": "attention/heads.py",
    "sparse-attention": "attention/masks.py",
    "mqa-gqa": "attention/heads.py",
    "flash-attention": "attention/flash.py",
    "latent-attention": "attention/latent.py",
    "residual-norm": "normalization.py",
    "full-model": "model.py",
    "training": "training",
}


def room(path: Path) -> str:
    """The module of the list that a file belongs to: `attention` for llmref/attention/masks.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    """The package's files, but for the one that holds the public names."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The modules of the package that a file imports, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names if name.name.startswith("llmref."))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}:{node.lineno}: imports are absolute"
            if node.module == "llmref":
                names = [name.name for name in node.names if name.name != "__version__"]
                yield from ((node.lineno, f"llmref.{name}") for name in names)
            elif node.module and node.module.startswith("llmref."):
                yield node.lineno, node.module


def test_the_list_holds_every_module() -> None:
    assert {room(path) for path in modules()} == set(ORDER)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_up_the_list(path: Path) -> None:
    own = ORDER.index(room(path))
    wrong = []
    for line, name in imports(path):
        other = name.split(".")[1]
        if other not in ORDER or ORDER.index(other) > own:
            wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}, which does not stand above it")
    assert not wrong, "\n".join(wrong)


def test_the_package_never_imports_what_its_wheel_does_not_ask_for() -> None:
    """But for Triton, which PyTorch brings along where there is a GPU for it: its kernels alone import it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]} | {"llmref"}
    wrong = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            tops = {name.split(".")[0] for name in names} - asked - sys.stdlib_module_names
            if room(path) == "kernels":
                tops -= {"triton"}
            wrong |= {f"{path.relative_to(ROOT)}: {top}" for top in tops}
    assert not wrong, wrong


def test_every_signature_with_a_tensor_is_checked_while_the_tests_run() -> None:
    for path in modules():
        importlib.import_module(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        )
    assert not UNCHECKED, UNCHECKED


@pytest.mark.parametrize("name", [name for name in ORDER if name not in ("sites", "tiny")])
def test_every_module_has_its_tests(name: str) -> None:
    assert list((ROOT / "tests").glob(f"test_{name}*.py")), f"there is no tests/test_{name}.py"


def test_every_concept_has_its_rooms() -> None:
    missing = []
    for slug in concepts():
        rooms = [DOCS / "ko" / f"{slug}.md", DOCS / "en" / f"{slug}.md", DOCS / "experiments" / f"{slug}.py"]
        rooms.append(PACKAGE / CODE.get(slug, f"{slug.replace('-', '_')}.py"))
        missing += [str(path.relative_to(ROOT)) for path in rooms if not path.exists()]
    assert not missing, missing


def test_every_experiment_is_a_concept() -> None:
    assert {path.stem for path in (DOCS / "experiments").glob("*.py")} == set(concepts())


def test_both_languages_have_the_same_files() -> None:
    korean, english = (
        {path.relative_to(DOCS / language).as_posix() for path in (DOCS / language).rglob("*.md")}
        for language in ("ko", "en")
    )
    assert korean == english


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line)[0]).lower() for line in asked}
    assert names <= pinned, f"constraints.txt does not pin {sorted(names - pinned)}"


def test_the_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f'__version__ = "{version}"' in (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def texts() -> list[Path]:
    """The texts that we wrote: not what was vendored, made or downloaded."""
    kinds = {".py", ".md", ".yml", ".toml", ".txt", ".csv", ".cff", ".js", ".css", ".html", ".json", ".jinja"}
    places = [ROOT / name for name in ("llmref", "docs", "tests", "benchmarks", ".github", ".ci")]
    found = [
        path for place in places for path in place.rglob("*") if path.suffix in kinds or path.name == "run"
    ]
    found += [path for path in ROOT.iterdir() if path.is_file() and path.suffix in kinds]
    return [path for path in found if "assets" not in path.parts and "__pycache__" not in path.parts]


def test_no_text_names_a_machine_or_a_registry() -> None:
    pattern = re.compile(
        r"(?<![\w.])(/(work|root|opt)/|/(home|Users)/\w)"
        r"|pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian|unpkg\.com|jsdelivr\.net"
    )
    wrong = []
    for path in texts():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if match := pattern.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert not wrong, "\n".join(wrong)


def test_the_links_of_the_texts_at_the_root_resolve() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for address in re.findall(r"\]\(([^)#][^)]*)\)", text):
            if not address.startswith(("https://", "term:")):
                assert (ROOT / address).exists(), f"{name}: there is no {address}"
