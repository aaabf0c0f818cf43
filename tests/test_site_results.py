"""The tables of measured results, and the drawing of masks."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from loading import module_at

ROOT = Path(__file__).parents[1]
SITE_SOURCES = ROOT / "docs" / "site"
sys.path.insert(0, str(SITE_SOURCES))

from machinery import SiteError  # noqa: E402
from machinery.pages import Directive  # noqa: E402

from llmref.attention.masks import Mask, blocks, causal, global_tokens, random_blocks, window  # noqa: E402

ABOUT = {
    "date": "2026-11-24",
    "device": "cpu",
    "chip": "Some Chip",
    "cores": 2,
    "threads": 1,
    "load": 0.1,
    "torch": "2.13.0",
    "dtype": "float32",
    "batch": 1,
    "heads": 8,
    "head_dim": 64,
    "mask": "causal()",
    "rows": [
        {"length": 2048, "way": "naive", "milliseconds": 300.0, "peak_bytes": 3 * 2**20},
        {"length": 2048, "way": "tiled", "milliseconds": 60.0, "peak_bytes": 2**20},
    ],
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    hook = module_at(SITE_SOURCES / "hooks" / "results.py")
    monkeypatch.setattr(hook, "RESULTS", tmp_path)
    return hook


def shown(hook: ModuleType, language: str = "en") -> str:
    return str(hook.tables(Directive(1, "", "results", "flash-attention"), language))


def write(hook: ModuleType, name: str, **changes: Any) -> None:
    (hook.RESULTS / name).write_text(json.dumps(ABOUT | changes), encoding="utf-8")


def test_every_result_is_a_table_with_its_chip_and_date(results: ModuleType) -> None:
    write(results, "flash-attention-cpu.json")
    page = shown(results)
    assert "**Some Chip, threads: 1 on 2 cores, PyTorch 2.13.0, 2026-11-24.**" in page
    assert "| 2,048 | tiled | 60.0 | 5.0 | 1.0 |" in page
    assert "No GPU has been measured yet" in page and "Other work" not in page
    assert "GPU에서는 아직 재지 않았습니다" in shown(results, "ko")
    write(results, "flash-attention-gpu.json", device="cuda", chip="Some GPU", date="2026-12-01")
    page = shown(results)
    assert page.index("Some GPU") < page.index("Some Chip")
    assert "No GPU" not in page


def test_a_busy_machine_is_said_to_be_one(results: ModuleType) -> None:
    write(results, "flash-attention-cpu.json", load=7.5)
    assert "load at the start: 7.5" in shown(results)


def test_a_way_has_its_row_where_the_naive_one_ran_out_of_memory(results: ModuleType) -> None:
    write(results, "flash-attention-gpu.json", device="cuda", rows=ABOUT["rows"][1:])  # type: ignore[index]
    assert "| 2,048 | tiled | 60.0 | – | 1.0 |" in shown(results)


def test_what_is_missing_is_named(results: ModuleType) -> None:
    with pytest.raises(SiteError, match=r"no benchmarks/results/flash-attention\*\.json; run python"):
        shown(results)
    write(results, "flash-attention.json")
    (results.RESULTS / "flash-attention-2.json").write_text('{"rows": []}', encoding="utf-8")
    with pytest.raises(SiteError, match=r"flash-attention-2\.json: no date, device, chip"):
        shown(results)
    (results.RESULTS / "flash-attention-2.json").write_text("{", encoding="utf-8")
    with pytest.raises(SiteError, match=r"flash-attention-2\.json:1: not JSON"):
        shown(results)


def test_the_committed_results_can_be_shown() -> None:
    hook = module_at(SITE_SOURCES / "hooks" / "results.py")
    for language in ("ko", "en"):
        assert "| 4,096 |" in shown(hook, language)


@pytest.mark.parametrize(
    "mask",
    [
        causal(),
        causal() & window(3),
        causal() & blocks(4),
        window(1),
        causal() & (window(2) | global_tokens(2)),
        causal() & (window(2) | random_blocks(2, 1, seed=0)),
    ],
    ids=repr,
)
def test_a_mask_is_drawn_as_one_square_for_each_pair(mask: Mask) -> None:
    import torch
    from matplotlib.figure import Figure

    figures = module_at(SITE_SOURCES / "figures.py")
    axes = Figure().subplots()
    figures.draw_mask(axes, mask, 8, faint=causal())
    positions = torch.arange(8)[None]
    allowed = mask.dense(positions, positions)[0]
    strong = {
        (int(vertices[1]), int(vertices[0]))
        for patch in axes.patches
        if patch.get_alpha() == 1
        for vertices in patch.get_path().vertices
    }
    assert strong == {tuple(place) for place in allowed.nonzero().tolist()}
    faint = [patch for patch in axes.patches if patch.get_alpha() != 1]
    left_out = int((causal().dense(positions, positions)[0] & ~allowed).sum())
    assert sum(len(patch.get_path().vertices) // 5 for patch in faint) == left_out


BESIDE = {"transformers": "5.0.0", "rounds": 3}
LADDER = {
    "model": "A Model 1M",
    "dtype": "float32",
    "tokens_per_second": 100.0,
    "n_bytes": 2_000_000,
    "bandwidth": 400_000_000,
    "mbu": 0.5,
    "same_ids": 8,
    "tokens": 8,
    "group": "exact",
}
MEASURED: dict[str, dict[str, Any]] = {
    "decode": {
        "prompt": 16,
        "new": 8,
        "rows": [
            LADDER | {"way": "transformers", "milliseconds": 20.0},
            LADDER | {"way": "compiled step", "milliseconds": 10.0},
            LADDER | {"way": "transformers", "milliseconds": 30.0, "group": "quantized"},
            LADDER | {"way": "int8", "milliseconds": 10.0, "group": "quantized", "same_ids": 2},
        ],
    },
    "context": {
        "model": "A Model 1M",
        "dtype": "float32",
        "rows": [
            {"context": 128, "way": "static cache", "milliseconds": 5.0},
            {"context": 128, "way": "no cache", "milliseconds": 50.0},
            {"context": 4096, "way": "static cache", "milliseconds": 7.0},
        ],
        "memory": [
            {
                "batch": 4,
                "context": 1024,
                "weight_bytes": 2**20,
                "cache_bytes": 2**22,
                "said_cache_bytes": 2**22,
            }
        ],
    },
    "prefill": {
        "rows": [
            {"model": "M", "dtype": "float32", "length": 512, "way": way, "milliseconds": time, "mfu": 0.8}
            for way, time in (("transformers, all logits", 40.0), ("transformers", 30.0), ("prepared", 20.0))
        ]
    },
    "batch": {
        "model": "A Model 1M",
        "rows": [
            {"dtype": "float32", "rows": 8, "request": "mixed", "way": way, "tokens_per_second": rate}
            for way, rate in (("transformers", 50.0), ("rows leave", 125.0))
        ],
    },
}
LINES = {
    "decode": (
        "| compiled step | 10.0 | 100.0 | 2.00 | 2 | 50% | 8 / 8 |",
        "| int8 | 10.0 | 100.0 | 3.00 | 2 | 50% | 2 / 8 |",
    ),
    "context": ("| 128 | 5.0 | 50.0 |", "| 4,096 | 7.0 | – |", "| 4 | 1 | 4 | 4 |"),
    "prefill": ("| M | `float32` | prepared model | 512 | 20.0 | 1.50 | 80% |",),
    "batch": ("| `float32` | mixed | rows that end leave | 8 | 125.0 | 2.50 |",),
}


@pytest.mark.parametrize("name", MEASURED)
def test_each_benchmark_has_its_table(results: ModuleType, name: str) -> None:
    write(results, f"{name}-cpu.json", **BESIDE, **MEASURED[name])
    directive = Directive(1, "", "results", name)
    page = str(results.tables(directive, "en"))
    assert "transformers 5.0.0" in page and f"python benchmarks/{name}.py --save" in page
    for line in LINES[name]:
        assert line in page
    assert "밀리초" in results.tables(directive, "ko") or "토큰/초" in results.tables(directive, "ko")


def test_the_ladder_is_drawn_with_its_bound(results: ModuleType) -> None:
    write(results, "decode-cpu.json", **BESIDE, **MEASURED["decode"])
    for language, name in (("en", "compiled step"), ("ko", "컴파일한 단계")):
        drawn = str(results.tables(Directive(1, "", "results", "decode", {"picture": "yes"}), language))
        assert "<svg role" in drawn and f"{name} 100.0" in drawn and "A Model 1M" in drawn


def test_an_unknown_benchmark_is_an_error(results: ModuleType) -> None:
    with pytest.raises(
        SiteError, match="!results decoding: no such benchmark, expected one of flash-attention"
    ):
        results.tables(Directive(1, "", "results", "decoding"), "en")


def test_the_backward_pass_has_a_table_of_its_own(results: ModuleType) -> None:
    rows = [row | {"direction": way} for way in ("forward", "backward") for row in ABOUT["rows"]]  # type: ignore[attr-defined]
    write(results, "flash-attention-gpu.json", device="cuda", rows=rows)
    page = shown(results)
    assert page.count("| 2,048 | tiled | 60.0 | 5.0 | 1.0 |") == 2 and "**backward**" in page
