"""Finds a Chromium for the browser tests, or installs one where that can be done, or says how.

    python tests/browser/find_browser.py

prints the path of the browser. The order: the environment variable LLMREF_BROWSER, a browser of the system,
one that Playwright has downloaded before. If there is none: apt-get where we may (as root, or with a sudo
that asks nothing), else Playwright's own download.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
HOW = """no Chromium was found, and none could be installed. Do one of these:
  apt-get install chromium              (Debian, Ubuntu; as root)
  .venv/bin/playwright install chromium
  LLMREF_BROWSER=/path/to/chromium make test"""


class NoBrowser(RuntimeError):
    """There is no browser; the message says how to get one."""


def playwrights_own() -> str | None:
    """The path of the browser that `playwright install chromium` has downloaded, if it has."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def find() -> str:
    """The path of a Chromium on this machine.

    Raises:
        NoBrowser: if there is none, or LLMREF_BROWSER names something that is not a program.
    """
    if chosen := os.environ.get("LLMREF_BROWSER"):
        if path := shutil.which(chosen):
            return path
        raise NoBrowser(f"LLMREF_BROWSER is {chosen!r}, which is not a program that can be run")
    for name in NAMES:
        if path := shutil.which(name):
            return path
    for path in MAC:
        if Path(path).exists():
            return path
    if path := playwrights_own():
        return path
    raise NoBrowser(HOW)


def install() -> None:
    """Tries the ways to install a Chromium, the system's first, and shows what they print."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    sudo = ["sudo", "-n"] if not root and shutil.which("sudo") else []
    if shutil.which("apt-get") and (root or sudo):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        print("No browser yet: installing Chromium with apt-get", flush=True)
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "chromium"]):
            if subprocess.run([*sudo, *command], env=environment, check=False).returncode:
                break
        if any(shutil.which(name) for name in NAMES):
            return
    print("No browser yet: downloading Playwright's Chromium", flush=True)
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)


def main() -> int:
    """Prints the path of the browser, installing one first if need be."""
    try:
        try:
            print(find())
        except NoBrowser:
            if os.environ.get("LLMREF_BROWSER"):
                raise
            install()
            print(find())
    except NoBrowser as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
