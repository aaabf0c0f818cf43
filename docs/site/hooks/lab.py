"""`!lab generation prompt="옛날에"` becomes the frame of the live lab, with a recorded run inside.

The recorded run is the fallback: it stays where scripts do not run. The package makes it, once for a prompt.
"""

import hashlib
import html
import json
import re
import subprocess
import sys
from functools import cache
from typing import Any

from machinery import BUILD, PACKAGE, ROOT, SITE_SOURCES, SiteError
from machinery.pages import Directive, replace_directives
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

LABS = SITE_SOURCES / "labs"
FRAME = re.compile(r'<section data-llmref-lab="(?P<prompt>[^"]*)" data-run="(?P<run>yes|no)"></section>')
ASSETS = {
    "assets/labs": (LABS, ("*.js", "*.css", "text.json")),
    "assets/tiny": (PACKAGE / "tiny", ("config.json", "model.safetensors", "tokenizer.json")),
}
log = get_plugin_logger(__name__)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for target, (folder, patterns) in ASSETS.items():
        for file in sorted(file for pattern in patterns for file in folder.glob(pattern)):
            files.append(File.generated(config, f"{target}/{file.name}", abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return replace_directives(markdown, "lab", place, page.file.src_path)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    language = config.theme["language"]

    def fill(match: re.Match[str]) -> str:
        return frame(html.unescape(match["prompt"]), match["run"], language)

    filled, labs = FRAME.subn(fill, content)
    if labs == 0:
        return content
    style, script = (get_relative_url(f"assets/labs/{name}", page.url) for name in ("lab.css", "lab.js"))
    return f'<link rel="stylesheet" href="{style}">\n{filled}\n<script type="module" src="{script}"></script>'


def place(directive: Directive) -> str:
    """The lab's place in the page, kept simple so that Markdown leaves it alone."""
    directive.only("prompt", "run")
    if directive.target != "generation":
        raise SiteError(f"!lab {directive.target}: there is one lab, 'generation'")
    prompt = directive.options.get("prompt", "")
    if not prompt:
        raise SiteError('!lab generation: expected prompt="…"')
    run = directive.option("run", "no", ("yes", "no"))
    return f'<section data-llmref-lab="{html.escape(prompt)}" data-run="{run}"></section>'


def frame(prompt: str, run: str, language: str) -> str:
    """The frame that lab.js fills, with the recorded run as its content."""
    words = texts()[language]
    begin = " data-run" if run == "yes" else ""
    return (
        f'<section class="llmref-lab" lang="{language}" data-prompt="{html.escape(prompt)}"{begin} '
        f'aria-label="{html.escape(words["title"])}" data-search-exclude>'
        f"{fallback(record(prompt), words)}</section>"
    )


@cache
def texts() -> dict[str, Any]:
    """The lab's own words, by language."""
    return json.loads((LABS / "text.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def megabytes() -> str:
    """What the lab's model weighs, as its button says.

    >>> 1 < float(megabytes()) < 4
    True
    """
    folder, patterns = ASSETS["assets/tiny"]
    return f"{sum((folder / name).stat().st_size for name in patterns) / 1e6:.1f}"


@cache
def record(prompt: str) -> dict[str, Any]:
    """The recorded run of a prompt, made anew only when the package or the model changed."""
    digest = hashlib.sha256(prompt.encode())
    for file in [LABS / "record.py", *sorted(PACKAGE.rglob("*"))]:
        if file.suffix in {".py", ".json", ".safetensors"}:
            digest.update(file.read_bytes())
    kept = BUILD / "labs" / f"{digest.hexdigest()[:16]}.json"
    if not kept.exists():
        log.info(f"recording a run of the tiny model for the lab: {prompt!r}")
        command = [sys.executable, str(LABS / "record.py"), prompt, str(kept)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise PluginError(
                f"the lab's recorded run for the prompt {prompt!r} failed:\n{run.stderr.strip()}"
            )
    return json.loads(kept.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def fallback(run: dict[str, Any], words: dict[str, Any]) -> str:
    """The recorded run as a reader sees it without scripts: the text, the first distribution, every step."""
    return f"""<div class="lab-record">
<p class="lab-small lab-note" role="status">{words["recordNote"]}</p>
<p class="lab-small lab-ask" hidden>{words["askNote"]}</p>
<button type="button" class="lab-primary lab-load" hidden>{words["load"].format(size=megabytes())}</button>
<div class="lab-columns">
<div class="lab-writing">
<p class="lab-label">{words["recordText"]}</p>
<p class="lab-story" dir="auto">{story(run)}</p>
<p class="lab-small">{words["recordCode"]}: <code>{html.escape(run["code"])}</code></p>
</div>
<div class="lab-next">{first_distribution(run, words)}</div>
</div>
<details class="lab-steps"><summary>{words["recordSteps"]}</summary>
<div class="lab-scroll" tabindex="0" role="region" aria-label="{words["recordSteps"]}">
{every_step(run, words)}
</div>
</details>
</div>"""


def story(run: dict[str, Any]) -> str:
    """The tokens of the prompt and of the text, as running text."""
    given = [chip(shown, " lab-given") for shown in run["given"]]
    return "".join([*given, *(chip(step["token"], "") for step in run["steps"])])


def first_distribution(run: dict[str, Any], words: dict[str, Any]) -> str:
    """The ten likeliest tokens after the prompt, as a table with bars."""
    rows = []
    for each in run["steps"][0]["likeliest"]:
        bar = f'<span class="lab-bar-drawn" style="width:{100 * each["probability"]:.2f}%"></span>'
        rows.append(
            f'<tr><th scope="row">{token(each["token"], words)}</th>'
            f'<td class="lab-bar" aria-hidden="true">{bar}</td>'
            f'<td class="lab-number">{percent(each["probability"])}</td></tr>'
        )
    return f"""<table class="lab-table"><caption>{words["recordFirst"]}</caption>
<thead><tr><th scope="col">{words["token"]}</th><td aria-hidden="true"></td>
<th scope="col" class="lab-number">{words["modelProbability"]}</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table>"""


def every_step(run: dict[str, Any], words: dict[str, Any]) -> str:
    """What was chosen at each step, and what was likeliest then."""
    rows = "".join(
        f'<tr><td class="lab-number">{number}</td><th scope="row">{token(step["token"], words)}</th>'
        f'<td class="lab-number">{percent(step["probability"])}</td><td>{likeliest(step, words)}</td></tr>'
        for number, step in enumerate(run["steps"], start=1)
    )
    return f"""<table class="lab-table"><thead><tr>
<th scope="col" class="lab-number">{words["stepNumber"]}</th><th scope="col">{words["chosen"]}</th>
<th scope="col" class="lab-number">{words["modelProbability"]}</th><th scope="col">{words["likeliest"]}</th>
</tr></thead><tbody>{rows}</tbody></table>"""


def likeliest(step: dict[str, Any], words: dict[str, Any]) -> str:
    """The three likeliest tokens of a step, with their probabilities."""
    three = step["likeliest"][:3]
    return ", ".join(f"{token(each['token'], words)} {percent(each['probability'])}" for each in three)


def chip(shown: dict[str, str], kind: str) -> str:
    """A token in the running text: its leading space stands outside."""
    text = shown["text"].removeprefix(" ")
    space = " " * (len(shown["text"]) - len(text))
    return f'{space}<span class="lab-chip lab-{shown["kind"]}{kind}">{html.escape(text)}</span>'


def token(shown: dict[str, str], words: dict[str, Any]) -> str:
    """A token by itself, as in a table: a mark for its leading space, characters, unfinished bytes."""
    if shown["kind"] == "special":
        return f'<span class="lab-special">{words["end"]}</span>'
    text = shown["text"].removeprefix(" ")
    parts = [
        '<span class="lab-space"></span>' if text != shown["text"] else "",
        f'<span class="lab-text">{html.escape(text)}</span>' if text else "",
        f'<span class="lab-bytes">{shown["hex"]}</span>' if shown["hex"] else "",
    ]
    return "".join(parts)


def percent(p: float) -> str:
    """As lab.js writes it.

    >>> percent(0.1234), percent(0.0001)
    ('12.3%', '&lt;0.1%')
    """
    return "&lt;0.1%" if p < 0.0005 else f"{100 * p:.1f}%"
