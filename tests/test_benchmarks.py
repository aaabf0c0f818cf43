"""The benchmarks run: tiny models and lengths, the fields that the site reads, equal ids. No times."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from loading import module_at

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ABOUT = {
    "benchmark",
    "command",
    "date",
    "device",
    "chip",
    "threads",
    "cores",
    "load",
    "torch",
    "python",
    "rows",
}


@pytest.fixture
def benchmark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The file that a test names, with what stands beside it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return module_at(BENCHMARKS / f"{request.param}.py")


def of(name: str) -> Any:
    return pytest.mark.parametrize("benchmark", [name], indirect=True)


def check(result: dict[str, Any], *fields: str) -> list[dict[str, Any]]:
    """What every result holds; gives its rows."""
    assert set(result) > ABOUT
    assert json.loads(json.dumps(result)) == result
    rows: list[dict[str, Any]] = result["rows"]
    assert rows and all(set(fields) <= set(row) for row in rows)
    return rows


LADDER = (
    "model",
    "dtype",
    "way",
    "milliseconds",
    "tokens_per_second",
    "n_bytes",
    "mbu",
    "same_ids",
    "tokens",
)


@of("decode")
def test_the_ladder_writes_the_same_ids_on_every_step(benchmark: ModuleType) -> None:
    settings = benchmark.Settings(
        ("tiny GPT-2", "tiny Llama"), (torch.float32,), prompt=6, new=8, rounds=1, compiled=False, small=True
    )
    rows = check(benchmark.run("cpu", settings), *LADDER)
    ways = [row["way"] for row in rows if row["model"] == "tiny Llama"]
    assert {"transformers", "no cache", "growing cache", "static cache"} <= set(ways)
    assert all(row["same_ids"] == row["tokens"] for row in rows if row["exact"])


@of("decode")
def test_without_the_peer_library_its_rows_are_missing(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shapes

    monkeypatch.setattr(shapes, "peer_library", lambda: None)
    monkeypatch.setattr(benchmark, "peer_library", lambda: None)
    settings = benchmark.Settings(
        ("tiny Llama",), (torch.bfloat16,), prompt=4, new=4, rounds=1, compiled=False, small=True
    )
    rows = check(benchmark.run("cpu", settings), *LADDER)
    assert not any("transformers" in row["way"] for row in rows)
    assert "not installed" in capsys.readouterr().out


@of("decode")
def test_equal_ids_are_counted_up_to_the_first_that_differs(benchmark: ModuleType) -> None:
    assert benchmark.same([1, 2, 3], [1, 2, 3, 4]) == 3
    assert benchmark.same([1, 9, 3], [1, 2, 3]) == 1
    assert benchmark.same([], [1]) == 0


@of("decode")
def test_the_ladder_has_every_step(benchmark: ModuleType) -> None:
    settings = benchmark.Settings(
        ("tiny Llama",), (torch.float32,), prompt=6, new=6, rounds=1, compiled=False, small=True
    )
    rows = benchmark.run("cpu", settings)["rows"]
    plain = next(row for row in rows if row["way"] == "static cache")
    for kind in ("int8", "int4"):
        row = next(row for row in rows if row["way"] == kind)
        assert row["group"] == "quantized" and not row["exact"] and row["n_bytes"] < plain["n_bytes"]
    assert next(row for row in rows if row["way"] == "joined projections")["exact"]


@of("context")
def test_a_token_is_timed_at_every_context_and_a_cache_takes_what_is_said(benchmark: ModuleType) -> None:
    settings = benchmark.Settings(
        "tiny Llama",
        contexts=(8, 16),
        without_cache=8,
        batches=(1, 3),
        memory_context=32,
        new=2,
        rounds=1,
        compiled=False,
        small=True,
    )
    result = benchmark.run("cpu", settings)
    rows = check(result, "context", "way", "milliseconds", "n_bytes", "mbu")
    ways = {row["way"] for row in rows if row["context"] == 16}
    assert ways == {"transformers", "growing cache", "static cache", "compiled step"}
    assert [row["batch"] for row in result["memory"]] == [1, 3]
    for row in result["memory"]:
        assert (
            row["cache_bytes"] == row["said_cache_bytes"] and row["weight_bytes"] == row["said_weight_bytes"]
        )


@of("prefill")
def test_every_way_of_reading_a_prompt_comes_to_the_same_token(benchmark: ModuleType) -> None:
    settings = benchmark.Settings(
        ("tiny GPT-2", "tiny Llama"), (torch.float32,), (8, 40, 400), rounds=1, compiled=False, small=True
    )
    rows = check(benchmark.run("cpu", settings), "model", "length", "way", "milliseconds", "flops", "mfu")
    assert {row["length"] for row in rows} == {8, 40}  # 400 do not fit into the context
    assert all(row["same_id"] and row["difference"] < 1e-4 for row in rows)


@of("prefill")
def test_a_prefill_needs_the_pairs_that_the_mask_leaves(benchmark: ModuleType) -> None:
    from shapes import SHAPES

    from llmref.cost import cost
    from llmref.families import family_of

    config = family_of(SHAPES["tiny Llama"]).read(SHAPES["tiny Llama"])
    each = [cost(config, context=place) for place in range(1, 8)]
    expected = sum(step.total.decode_flops - step.lm_head.decode_flops for step in each)
    assert benchmark.needed_flops(config, 7) == expected + each[0].lm_head.decode_flops


@of("batch")
def test_every_row_of_a_batch_is_as_alone(benchmark: ModuleType) -> None:
    settings = benchmark.Settings("tiny Llama", (torch.float32,), (3,), (2, 6), 4, (1, 6), 1, small=True)
    rows = check(benchmark.run("cpu", settings), "rows", "request", "way", "tokens_per_second", "new_tokens")
    assert {(row["request"], row["way"]) for row in rows} == {
        (request, way)
        for request in ("equal", "mixed")
        for way in ("transformers", "rows leave", "rows leave, prepared")
    }
    assert all(row["same_as_alone"] == row["compared"] == 3 for row in rows)


@of("gpt_fast")
def test_the_other_layout_of_rope_pairs_neighbours(benchmark: ModuleType) -> None:
    rows = torch.arange(8.0)[:, None]  # two heads of four dimensions: 0 turns with 2, 1 with 3
    assert benchmark.interleaved(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@of("flash_attention")
def test_attention_is_timed_in_every_way(benchmark: ModuleType) -> None:
    rows = check(
        benchmark.run("cpu", benchmark.Settings((16, 32), rounds=1, small=True)),
        "length", "direction", "way", "milliseconds", "peak_bytes", "mfu",
    )  # fmt: skip
    assert [row["way"] for row in rows if row["length"] == 32] == [
        "naive",
        "tiled",
        "fused",
        "fused, told causal",
    ]


@of("flash_attention")
def test_every_way_back_gives_the_same_gradient(benchmark: ModuleType) -> None:
    torch.manual_seed(0)
    given = [tensor.requires_grad_() for tensor in benchmark.inputs(16, "cpu")]
    back = benchmark.backward_ways(benchmark.ways(*given, "cpu"), given, "cpu")
    assert set(back) == {"naive", "tiled", "fused", "fused, told causal"}
    first, *others = (
        torch.autograd.grad(run.args[0].sum(), given, retain_graph=True) for run in back.values()
    )
    for other in others:
        for one, two in zip(first, other, strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


@of("all")
def test_every_benchmark_is_run(benchmark: ModuleType) -> None:
    helpers = {"all", "harness", "shapes", "gpt_fast"}
    assert {*benchmark.SAVED, *benchmark.PRINTED} == {file.stem for file in BENCHMARKS.glob("*.py")} - helpers


@of("all")
def test_one_that_fails_does_not_keep_the_others_from_running(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "decode.py").write_text("raise SystemExit(1)")
    (tmp_path / "loading.py").write_text("import sys; print('ran', sys.argv[1:])")
    monkeypatch.setattr(benchmark, "HERE", tmp_path)
    monkeypatch.setattr(benchmark, "SAVED", ("decode",))
    monkeypatch.setattr(benchmark, "PRINTED", ("loading",))
    with pytest.raises(SystemExit, match="failed: decode"):
        benchmark.main()
    assert "ran []" in capfd.readouterr().out


@of("harness")
def test_all_calls_have_their_turn_in_every_round(benchmark: ModuleType) -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in ("us", "peer")}
    times = benchmark.in_turns(calls, 3, "cpu")
    assert order == ["us", "peer"] * 3 and all(len(each) == 3 for each in times.values())


@of("harness")
def test_what_is_not_installed_is_said_and_not_run(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.needs("torch")
    with pytest.raises(SystemExit) as ended:
        benchmark.needs("no-such-package")
    assert ended.value.code is None  # the next benchmark goes on
    assert capsys.readouterr().out == "not run: no-such-package is not installed\n"


@of("harness")
def test_a_machine_is_measured_anew_each_time(benchmark: ModuleType) -> None:
    machine = benchmark.Machine("cpu", (torch.float32,), small=True)
    assert machine.reads == []
    machine.measure()
    machine.reads[:], machine.products[torch.float32][:] = [1.0, 3.0, 2.0], [0.5]
    assert machine.bandwidth == machine.n_bytes / 2 and machine.flops(torch.float32) == 4 * machine.size**3


@of("harness")
def test_a_result_is_written_where_it_was_asked_for(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert benchmark.place("decode", "cpu", None, False) is None
    assert benchmark.place("decode", "cpu", None, True) == BENCHMARKS / "results" / "decode-cpu.json"
    monkeypatch.setattr(benchmark, "chip", lambda device: "Some GPU 80GB (HBM3)")
    assert benchmark.default_file("decode", "cuda").name == "decode-some-gpu-80gb-hbm3.json"
    file = tmp_path / "new" / "mine.json"
    benchmark.write({"rows": []}, benchmark.place("decode", "cpu", file, True))
    assert json.loads(file.read_text()) == {"rows": []}
