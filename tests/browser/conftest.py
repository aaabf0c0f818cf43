"""The browser tests: the built site, served on localhost, in a real Chromium."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from find_browser import find

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "site"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder: it reads the built site, in a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.built)
            item.add_marker(pytest.mark.browser)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and keeps its log to itself."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

    def log_message(self, *arguments: Any) -> None:
        """Says nothing: what went wrong is seen by the page that asked."""


@pytest.fixture(scope="session")
def site_url() -> Iterator[str]:
    """The address of the built site, served on a free port of localhost."""
    assert (SITE / "index.html").exists(), f"there is no built site in {SITE}: run `make site` first"
    handler = functools.partial(QuietHandler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """The browser that was found, kept from calling home by itself."""
    return {
        "executable_path": find(),
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
        ],
    }
