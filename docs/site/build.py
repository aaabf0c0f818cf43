"""Builds the site: checks the two languages, runs the experiments, builds both strictly, assembles `site/`.

python docs/site/build.py                          all of it
python docs/site/build.py --experiments [SLUG...]  only the experiments
python docs/site/build.py --check                  only the check of the two languages
python docs/site/build.py --draft                  while pages are missing: warnings do not stop it
python docs/site/build.py --serve [--port 8000]    serves site/ and prints the address
"""

import argparse
import functools
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from machinery import (  # noqa: E402
    BUILD,
    DOCS,
    LANGUAGES,
    PACKAGE,
    ROOT,
    RUNS,
    SITE,
    SITE_SOURCES,
    SiteError,
    experiments,
    parity,
)

CONFIGS = {"ko": "mkdocs.yml", "en": "mkdocs.en.yml"}
STAMP = BUILD / "site.stamp"
MADE_WITH = (
    "mkdocs",
    "mkdocs-material",
    "mkdocs-jupyter",
    "mkdocstrings-python",
    "pymdown-extensions",
    "Pygments",
)
IMPORTANT = re.compile(r"^(WARNING|ERROR|CRITICAL|Aborted|Traceback|\S*Error\b)")
LOCAL = "http://127.0.0.1:8000/"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    arguments.add_argument(
        "--experiments", nargs="*", metavar="SLUG", help="only run the experiments (all, or these)"
    )
    arguments.add_argument("--check", action="store_true", help="only check that the two languages agree")
    arguments.add_argument(
        "--draft", action="store_true", help="build although pages are missing; warnings do not stop"
    )
    arguments.add_argument("--serve", action="store_true", help="serve site/ on this machine")
    arguments.add_argument("--port", type=int, default=8000, help="port of --serve (default 8000)")
    given = arguments.parse_args()
    try:
        if given.serve:
            return serve(given.port)
        if given.check:
            return check(stops=True)
        if given.experiments is not None:
            experiments.run(given.experiments or None)
            return 0
        return build(given.draft)
    except SiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def check(stops: bool) -> int:
    problems = parity.check()
    for problem in problems:
        print(f"{'error' if stops else 'note'}: {problem}")
    print(f"the two languages: {len(parity.pages('ko'))} pages, {len(problems)} problems", flush=True)
    return 1 if problems and stops else 0


def build(draft: bool) -> int:
    """Everything, in order; a stage that fails stops it and leaves the last site as it was."""
    started = time.monotonic()
    if check(stops=not draft):
        return 1
    experiments.run()
    stamp = digest(draft)
    if STAMP.exists() and STAMP.read_text() == stamp and (SITE / "index.html").exists():
        print("site/ is up to date")
        return 0
    if not build_languages(draft):
        return 1
    assemble()
    STAMP.write_text(stamp)
    count = sum(1 for _ in SITE.rglob("*.html"))
    print(f"site/: {count} pages, {size(SITE) / 1e6:.1f} MB, in {time.monotonic() - started:.0f} s")
    return 0


def address() -> str:
    """Where the site will stand, for the sitemap and the canonical links."""
    return os.environ.get("LLMREF_SITE_URL", LOCAL).rstrip("/") + "/"


def digest(draft: bool) -> str:
    """A digest of all that the pages are made of."""
    made_of = hashlib.sha256(repr((draft, address(), [version(name) for name in MADE_WITH])).encode())
    folders = (DOCS, PACKAGE, RUNS, ROOT / "benchmarks" / "results")
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    for file in sorted([*files, *(ROOT / name for name in CONFIGS.values())]):
        if not {"__pycache__", "notebooks"} & set(file.parts):  # both are made, the notebooks from the runs
            made_of.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return made_of.hexdigest()


def build_languages(draft: bool) -> bool:
    """Runs MkDocs for both languages at once. Never with -q: it exits 0 despite warnings."""
    BUILD.mkdir(exist_ok=True)
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(SITE_SOURCES)])
    for language in LANGUAGES:
        environment[f"LLMREF_SITE_URL_{language.upper()}"] = f"{address()}{language}/"
    if draft:
        environment["LLMREF_DRAFT"] = "1"
    running = {}
    for language, config in CONFIGS.items():
        command = [sys.executable, "-m", "mkdocs", "build", "--no-strict" if draft else "--strict"]
        command += ["--config-file", config]
        log = BUILD / f"mkdocs-{language}.log"
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        running[language] = (process, log)
        print(f"building {language} ...", flush=True)
    good = True
    for language, (process, log) in running.items():
        failed = process.wait() != 0
        text = log.read_text(encoding="utf-8")
        for line in text.splitlines():
            if IMPORTANT.match(line) or (failed and "Traceback" in text):
                print(f"[{language}] {line}")
        print(f"{language}: {f'failed, see build/{log.name}' if failed else 'built'}", flush=True)
        good = good and not failed
    return good


def assemble() -> None:
    """Puts both languages, the front page and the sitemap together, and swaps the result in whole."""
    new = BUILD / "site.new"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(SITE_SOURCES / "root", new)
    for language in LANGUAGES:
        shutil.copytree(BUILD / "site" / language, new / language)
        for name in ("404.html", "sitemap.xml", "sitemap.xml.gz"):
            (new / language / name).unlink(missing_ok=True)
    (new / "sitemap.xml").write_text(sitemap(new), encoding="utf-8")
    old = BUILD / "site.old"
    shutil.rmtree(old, ignore_errors=True)
    if SITE.exists():
        SITE.rename(old)
    new.rename(SITE)
    shutil.rmtree(old, ignore_errors=True)


def sitemap(folder: Path) -> str:
    """One sitemap for both languages: each page names its twin."""
    entries: list[str] = []
    for page in sorted((folder / "ko").rglob("*.html")):
        path = page.relative_to(folder / "ko").as_posix()
        urls = {language: f"{address()}{language}/{path}" for language in LANGUAGES}
        twins = "".join(
            f'<xhtml:link rel="alternate" hreflang="{each}" href="{url}"/>' for each, url in urls.items()
        )
        entries.extend(f"<url><loc>{url}</loc>{twins}</url>" for url in urls.values())
    spaces = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:xhtml="http://www.w3.org/1999/xhtml"'
    body = "\n".join(entries)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset {spaces}>\n{body}\n</urlset>\n'


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves site/ with its own page for what is not there, and without a line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        page = SITE / "404.html"
        if code != 404 or not page.exists():
            return super().send_error(code, message, explain)
        body = page.read_bytes()
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def serve(port: int) -> int:
    """Serves site/ until interrupted; if the port is taken, the next free one.

    Raises:
        SiteError: There is no site/ yet, or no free port near this one.
    """
    if not (SITE / "index.html").exists():
        raise SiteError("there is no site/ yet: python docs/site/build.py")
    handler = functools.partial(Handler, directory=str(SITE))
    for number in range(port, port + 20):
        try:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", number), handler)
        except OSError:
            continue
        print(f"serving site/ at http://127.0.0.1:{number}/  (Ctrl+C stops)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
        finally:
            server.server_close()
        return 0
    raise SiteError(f"no free port from {port} to {port + 19}")


if __name__ == "__main__":
    sys.exit(main())
