"""How quick the live lab is in a real browser, and how much it loads.

Run it after `make site`: python benchmarks/lab.py
"""

import functools
import http.server
import re
import sys
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import Response, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from find_browser import find  # noqa: E402

ROUNDS = 5
MODEL_ALONE = """async () => {
    const module = (name) => import(new URL(`assets/labs/${name}.js`, document.baseURI).href);
    const [{ loadTiny }, { Writer }] = [await module("load"), await module("writer")];
    const tiny = await loadTiny();
    const writer = new Writer(tiny.model, tiny.tokenizer);
    const strategy = { temperature: 0.8, topK: 40, topP: 0.95 };
    writer.setPrompt("");
    let end = performance.now();
    const start = end;
    let count = 0;
    while (!writer.full) {
        const id = writer.ranked.find((id) => id !== writer.eos);
        writer.distribution(strategy);
        writer.take(id);
        count += 1;
        end = performance.now();
    }
    return (1000 * count) / (end - start);
}"""
WHOLE_LAB = """async () => {
    const lab = document.querySelector(".llmref-lab");
    const [run, , restart] = lab.querySelectorAll(".lab-buttons button");
    lab.querySelector(".lab-field select").value = "0";
    const start = performance.now();
    restart.click();
    while (!run.disabled) await new Promise((done) => setTimeout(done, 5));
    const written = lab.querySelectorAll(".lab-chip:not(.lab-given)").length;
    return (1000 * written) / (performance.now() - start);
}"""


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


def main() -> None:
    """Serve the built site and measure."""
    handler = functools.partial(QuietHandler, directory=str(ROOT / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        measure(f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


def measure(site: str) -> None:
    """Print the figures, medians of a few rounds."""
    responses: list[Response] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(reduced_motion="reduce")
        page.on("response", lambda response: responses.append(response))
        page.goto(f"{site}/ko/generation.html")
        page.locator(".llmref-lab").scroll_into_view_if_needed()
        page.locator(".lab-ready").wait_for()
        sizes = [len(each.body()) for each in responses if re.search("/assets/(labs|tiny)/", each.url)]
        alone = sorted(page.evaluate(MODEL_ALONE) for _ in range(ROUNDS))[ROUNDS // 2]
        whole = sorted(page.evaluate(WHOLE_LAB) for _ in range(ROUNDS))[ROUNDS // 2]
        print(f"loaded by the lab        {sum(sizes):>12,} bytes in {len(sizes)} files")
        print(f"model and choice         {alone:>12,.0f} tokens/s, the context filled from empty")
        print(f"the lab, at full speed   {whole:>12,.0f} tokens/s, drawing every step on the page")
        browser.close()


if __name__ == "__main__":
    main()
