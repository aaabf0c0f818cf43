"""`!results flash-attention` becomes a table for each result file of that benchmark, with chip and date.

The files are `benchmarks/results/<name>*.json`, as `benchmarks/<name>.py` writes them.
"""

from typing import Any

from machinery import ROOT, SiteError
from machinery.data import entries
from machinery.pages import Directive, replace_directives
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

RESULTS = ROOT / "benchmarks" / "results"
NEEDED = ("date", "device", "chip", "load", "torch", "dtype", "batch", "heads", "head_dim", "mask", "rows")
COLUMNS = ("length", "way", "milliseconds", "against", "peak_bytes")

LABELS = {
    "ko": {
        "length": "길이",
        "way": "방법",
        "naive": "단순한 방식",
        "tiled": "타일 방식",
        "triton": "Triton 커널",
        "fused": "PyTorch, 마스크",
        "fused, told causal": "PyTorch, `is_causal`",
        "milliseconds": "밀리초",
        "against": "단순한 방식에 견준 속도",
        "peak_bytes": "차지한 메모리(MiB)",
        "threads": "코어 {cores}개 가운데 스레드 {threads}개",
        "busy": "재는 동안 다른 작업도 돌고 있었습니다(시작할 때 부하 {load}). 시간보다 비율을 보십시오.",
        "setting": "배치 {batch}, 헤드 {heads}개, `head_dim` {head_dim}, `{dtype}`, 마스크 `{mask}`",
        "no-gpu": "GPU에서는 아직 재지 않았습니다. GPU가 있는 컴퓨터에서는 같은 명령이 GPU를 잽니다.",
    },
    "en": {
        "length": "length",
        "way": "way",
        "naive": "naive",
        "tiled": "tiled",
        "triton": "Triton kernels",
        "fused": "PyTorch, mask",
        "fused, told causal": "PyTorch, `is_causal`",
        "milliseconds": "milliseconds",
        "against": "speed against naive",
        "peak_bytes": "memory held (MiB)",
        "threads": "threads: {threads} on {cores} cores",
        "busy": "Other work ran at the same time (load at the start: {load}). Read the ratios.",
        "setting": "batch {batch}, {heads} heads, `head_dim` {head_dim}, `{dtype}`, mask `{mask}`",
        "no-gpu": "No GPU has been measured yet. On a machine with a GPU the same command measures that.",
    },
}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    language = config.theme["language"]
    source = page.file.src_path
    return replace_directives(markdown, "results", lambda directive: tables(directive, language), source)


def tables(directive: Directive, language: str) -> str:
    """Every result file of one benchmark, the newest first; a sentence where no GPU is among them."""
    directive.only()
    files = sorted(RESULTS.glob(f"{directive.target}*.json"))
    found = [entries(file, "benchmarks/results", NEEDED, "run the benchmark again") for file in files]
    if not found:
        raise SiteError(
            f"!results {directive.target}: no benchmarks/results/{directive.target}*.json; "
            f"run python benchmarks/{directive.target.replace('-', '_')}.py --out with a file there"
        )
    found.sort(key=lambda result: result["date"], reverse=True)
    parts = [table(result, LABELS[language]) for result in found]
    if all(result["device"] == "cpu" for result in found):
        parts.append(LABELS[language]["no-gpu"])
    return "\n\n".join(parts)


def table(result: dict[str, Any], labels: dict[str, str]) -> str:
    """What was measured and where, and a row for each length and way."""
    about = [result["chip"], f"PyTorch {result['torch']}", result["date"]]
    if result["device"] == "cpu":
        about.insert(1, labels["threads"].format(**result))
    busy = result["device"] == "cpu" and result["load"] > 1
    lines = [
        f"**{', '.join(about)}.** {labels['setting'].format(**result)}.",
        *([labels["busy"].format(**result)] if busy else []),
        "",
        "| " + " | ".join(labels[name] for name in COLUMNS) + " |",
        "|--:|---|--:|--:|--:|",
    ]
    naive = {row["length"]: row["milliseconds"] for row in result["rows"] if row["way"] == "naive"}
    for row in result["rows"]:
        against = f"{naive[row['length']] / row['milliseconds']:.1f}" if row["length"] in naive else "–"
        lines.append(
            f"| {row['length']:,} | {labels[row['way']]} | {row['milliseconds']:,.1f} | {against} "
            f"| {row['peak_bytes'] / 2**20:,.1f} |"
        )
    return "\n".join(lines)
