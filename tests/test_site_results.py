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
