"""`!results <name>` becomes a table for each result file of that benchmark, with chip and date.

The files are `benchmarks/results/<name>*.json`, as `benchmarks/<name>.py` writes them. `!results decode
picture` draws the ladder of the newest one.
"""

import html
from collections.abc import Callable, Iterable
from typing import Any

from machinery import ROOT, SiteError
from machinery.data import entries
from machinery.pages import Directive, replace_directives
from machinery.result_labels import LABELS
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

RESULTS = ROOT / "benchmarks" / "results"
ABOUT = ("date", "device", "chip", "load", "torch", "rows")
NEEDED = {
    "flash-attention": ("dtype", "batch", "heads", "head_dim", "mask"),
    "decode": ("transformers", "prompt", "new", "rounds"),
    "context": ("transformers", "model", "dtype", "memory"),
    "prefill": ("transformers",),
    "batch": ("transformers", "model"),
}
PEER = "transformers"
Result = dict[str, Any]
Labels = dict[str, str]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    language = config.theme["language"]
    source = page.file.src_path
    return replace_directives(markdown, "results", lambda directive: tables(directive, language), source)


def tables(directive: Directive, language: str) -> str:
    """Every result file of one benchmark, the newest first; a sentence where no GPU is among them."""
    directive.only("picture")
    name, labels = directive.target, LABELS[language]
    if name not in TABLES:
        raise SiteError(f"!results {name}: no such benchmark, expected one of {', '.join(TABLES)}")
    files = sorted(RESULTS.glob(f"{name}*.json"))
    needed = (*ABOUT, *NEEDED[name])
    found = [entries(file, "benchmarks/results", needed, "run the benchmark again") for file in files]
    if not found:
        raise SiteError(
            f"!results {name}: no benchmarks/results/{name}*.json; "
            f"run python benchmarks/{name.replace('-', '_')}.py --save"
        )
    found.sort(key=lambda result: result["date"], reverse=True)
    if directive.options:
        return picture(found[0], labels)
    parts = [f"{heading(result, labels)}\n\n{TABLES[name](result, labels)}" for result in found]
    if all(result["device"] == "cpu" for result in found):
        command = f"python benchmarks/{name.replace('-', '_')}.py --save"
        parts.append(labels["no-gpu"].format(command=command))
    return "\n\n".join(parts)


def heading(result: Result, labels: Labels) -> str:
    """What was measured where and when, and whether the machine had other work."""
    about = [result["chip"], f"PyTorch {result['torch']}", result["date"]]
    if result.get("transformers"):
        about.insert(2, f"transformers {result['transformers']}")
    if result["device"] == "cpu":
        about.insert(1, labels["threads"].format(**result))
    busy = result["device"] == "cpu" and result["load"] > 1
    line = f"**{', '.join(about)}.**"
    return f"{line} {labels['busy'].format(**result)}" if busy else line


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], labels: Labels, left: int = 1) -> str:
    """A Markdown table; the first columns are text, the others numbers."""
    columns = list(columns)
    marks = ["---"] * left + ["--:"] * (len(columns) - left)
    lines = [[labels[name] for name in columns], marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def attention(result: Result, labels: Labels) -> str:
    """A row for each length and way, forward first, then backward where it was measured."""
    parts = [labels["setting"].format(**result) + "."]
    for direction in ("forward", "backward"):
        rows = [row for row in result["rows"] if row.get("direction", "forward") == direction]
        if not rows:
            continue
        naive = {row["length"]: row["milliseconds"] for row in rows if row["way"] == "naive"}
        if direction == "backward":
            parts.append(f"**{labels['backward']}**")
        parts.append(
            table(
                ("length", "way", "milliseconds", "against", "peak_bytes"),
                (
                    (
                        f"{row['length']:,}",
                        named(row["way"], labels),
                        f"{row['milliseconds']:,.1f}",
                        ratio(naive.get(row["length"]), row["milliseconds"], 1),
                        f"{row['peak_bytes'] / 2**20:,.1f}",
                    )
                    for row in rows
                ),
                labels,
                left=2,
            )
        )
    return "\n\n".join(parts)


def ladder(result: Result, labels: Labels) -> str:
    """A table for each model and dtype: every step of the ladder beside the peer's default."""
    parts = [labels["decode-setting"].format(**result)]
    for model, dtype in dict.fromkeys((row["model"], row["dtype"]) for row in result["rows"]):
        rows = [row for row in result["rows"] if (row["model"], row["dtype"]) == (model, dtype)]
        peers = {row["group"]: row["milliseconds"] for row in rows if row["way"] == PEER}
        shown = [row for row in rows if (row["way"], row["group"]) != (PEER, "quantized")]
        parts.append(f"**{model}, `{dtype}`**")
        parts.append(
            table(
                ("way", "milliseconds", "tokens_per_second", "against_peer", "megabytes", "mbu", "same_ids"),
                (
                    (
                        named(row["way"], labels),
                        f"{row['milliseconds']:,.1f}",
                        f"{row['tokens_per_second']:,.1f}",
                        ratio(peers.get(row["group"]), row["milliseconds"], 2),
                        f"{row['n_bytes'] / 1e6:,.0f}",
                        f"{row['mbu']:.0%}",
                        f"{row['same_ids']} / {row['tokens']}",
                    )
                    for row in shown
                ),
                labels,
            )
        )
    return "\n\n".join(parts)


def contexts(result: Result, labels: Labels) -> str:
    """The time of a token, a column for each way; then the memory of batches."""
    ways = list(dict.fromkeys(row["way"] for row in result["rows"]))
    times = {(row["context"], row["way"]): row["milliseconds"] for row in result["rows"]}
    head = ["context", *ways]
    lines = [
        [f"{context:,}", *(f"{times[context, way]:,.1f}" if (context, way) in times else "–" for way in ways)]
        for context in dict.fromkeys(row["context"] for row in result["rows"])
    ]
    named_ways = {**labels, **{way: named(way, labels) for way in ways}}
    memory = table(
        ("batch", "weights", "cache", "said"),
        (
            (
                f"{row['batch']:,}",
                f"{row['weight_bytes'] / 2**20:,.0f}",
                f"{row['cache_bytes'] / 2**20:,.0f}",
                f"{row['said_cache_bytes'] / 2**20:,.0f}",
            )
            for row in result["memory"]
        ),
        labels,
        left=0,
    )
    about = {"tokens": f"{result['memory'][0]['context']:,}", **result}
    return "\n\n".join(
        (
            labels["context-setting"].format(**about),
            table(head, lines, named_ways, left=0),
            labels["memory-setting"].format(**about),
            memory,
        )
    )


def prompts(result: Result, labels: Labels) -> str:
    """A row for each model, dtype, length and way."""
    fastest: dict[tuple[str, str, int], float] = {}
    for row in result["rows"]:
        key = row["model"], row["dtype"], row["length"]
        if row["way"].startswith(PEER):
            fastest[key] = min(row["milliseconds"], fastest.get(key, row["milliseconds"]))
    return table(
        ("model", "dtype", "way", "length", "milliseconds", "against_best_peer", "mfu"),
        (
            (
                row["model"],
                f"`{row['dtype']}`",
                named(row["way"], labels),
                f"{row['length']:,}",
                f"{row['milliseconds']:,.1f}",
                ratio(fastest.get((row["model"], row["dtype"], row["length"])), row["milliseconds"], 2),
                f"{row['mfu']:.0%}",
            )
            for row in result["rows"]
        ),
        labels,
        left=3,
    )


def batches(result: Result, labels: Labels) -> str:
    """A row for each dtype, size, kind of request and way."""
    peers = {
        (row["dtype"], row["rows"], row["request"]): row["tokens_per_second"]
        for row in result["rows"]
        if row["way"] == PEER
    }
    lines = table(
        ("dtype", "request", "way", "texts", "tokens_per_second", "against_peer"),
        (
            (
                f"`{row['dtype']}`",
                labels[row["request"]],
                named(row["way"], labels),
                f"{row['rows']:,}",
                f"{row['tokens_per_second']:,.1f}",
                ratio(row["tokens_per_second"], peers.get((row["dtype"], row["rows"], row["request"])), 2),
            )
            for row in result["rows"]
        ),
        labels,
        left=3,
    )
    return f"{labels['batch-setting'].format(**result)}\n\n{lines}"


def named(way: str, labels: Labels) -> str:
    """A way's name in the page's language; what is a name already stays."""
    return labels.get(way, way)


def ratio(one: float | None, other: float | None, digits: int) -> str:
    """One divided by the other, where both were measured."""
    return f"{one / other:.{digits}f}" if one and other else "–"


def picture(result: Result, labels: Labels) -> str:
    """The ladder as bars: tokens per second, and where the measured bandwidth would end it."""
    from figures import COLORS, drawing

    rows = [row for row in result["rows"] if row["model"] == result["rows"][-1]["model"]]
    peer = next((row for row in rows if row["way"] == PEER), rows[0])
    first, last = peer["dtype"], rows[-1]["dtype"]
    steps = [row for row in rows if (row["dtype"], row["group"]) == (first, "exact")]
    steps += [row for row in rows if row["dtype"] == last != first and row["way"] == "compiled step"]
    steps += [
        row for row in rows if (row["dtype"], row["group"]) == (last, "quantized") and row["way"] != PEER
    ]
    names = [
        named(row["way"], labels) + (f", {row['dtype']}" if row["dtype"] != first else "") for row in steps
    ]
    rates = [row["tokens_per_second"] for row in steps]
    bounds = [row["bandwidth"] / row["n_bytes"] for row in steps]
    text = labels["picture"].format(model=peer["model"], dtype=first, chip=result["chip"])
    told = "; ".join(f"{name} {rate:,.1f}" for name, rate in zip(names, rates, strict=True))

    def draw(axes: Any) -> None:
        colors = [
            COLORS[1] if row["way"].startswith(PEER) or row["way"] == "gpt-fast" else COLORS[0]
            for row in steps
        ]
        places = range(len(steps))
        axes.barh(places, rates, color=colors, height=0.6)
        for place, bound, rate in zip(places, bounds, rates, strict=True):
            axes.plot([bound, bound], [place - 0.42, place + 0.42], color="black", linewidth=1.5)
            axes.annotate(f" {rate:,.1f}", (rate, place), va="center", fontsize=11)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlabel(labels["picture-axis"])

    svg = drawing("ladder", draw, size=(7.5, 0.45 * len(steps) + 1.1))
    label = html.escape(f"{text} {told}.", quote=True)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f'<figure class="figure" data-search-exclude>{svg}</figure>\n\n{text}'


TABLES: dict[str, Callable[[Result, Labels], str]] = {
    "flash-attention": attention,
    "decode": ladder,
    "context": contexts,
    "prefill": prompts,
    "batch": batches,
}
