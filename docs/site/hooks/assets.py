"""Adds files that are neither page nor theme: the machinery's own styles, and figures.py for readers."""

from pathlib import Path

from machinery import SITE_SOURCES
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

OWN = SITE_SOURCES / "assets"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for file in sorted(OWN.rglob("*.*")):
        add(files, config, f"assets/{file.relative_to(OWN).as_posix()}", file)
    add(files, config, "assets/figures.py", SITE_SOURCES / "figures.py")
    return files


def add(files: Files, config: MkDocsConfig, uri: str, file: Path) -> None:
    files.append(File.generated(config, uri, abs_src_path=str(file)))
