"""The Triton kernels under Triton's interpreter, held to the naive twin, and compiled for a chip.

What they share with the other backends is in test_attention_backends.py. Here: tiles of other sizes,
stretches, tensors that do not lie in order in memory, and what tiles a mask leaves out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref import kernels
from llmref.attention.masks import Mask, blocks, causal, documents, global_tokens, window
from llmref.attention.scoring import Scoring
from llmref.kernels.flash_backward import flash_backward
from llmref.kernels.flash_decode import flash_decode
from llmref.kernels.flash_forward import flash_forward
from llmref.kernels.launch import BACKWARD, DECODE, FORWARD, TileSizes, block
from llmref.kernels.mask import KernelMask

ROOT = Path(__file__).resolve().parent.parent
MASKS = [
    causal(),
    causal() & window(4),
    window(9) & window(3),
    causal() & blocks(3) & window(8),
    causal() & (window(2) | global_tokens(2)),
    documents(torch.tensor([[0] * 4 + [1] * 8])),
    ~causal(),
]


places = st.lists(st.lists(st.integers(-1, 14), min_size=12, max_size=12), min_size=1, max_size=2).map(
    torch.tensor
)


def matrix(mask: KernelMask) -> Tensor:
    """The pairs that a mask for the kernels allows, by its words."""
    distance = mask.query_positions[:, :, None] - mask.key_positions[:, None, :]
    seen = (mask.key_positions >= 0)[:, None, :].expand(distance.shape)
    if mask.causal:
        seen = seen & (distance >= 0)
    if mask.window is not None:
        seen = seen & (distance >= 0) & (distance < mask.window)
    return seen if mask.allowed is None else seen & mask.allowed


@given(mask=st.sampled_from(MASKS), positions=places, queries=st.integers(1, 12))
def test_a_mask_for_the_kernels_is_the_mask(mask: Mask, positions: Tensor, queries: int) -> None:
    placed = mask.at(positions[:, 12 - queries :], positions)
    assert torch.equal(matrix(placed.for_kernels), placed.dense())


def test_only_what_is_no_rule_of_positions_becomes_a_matrix() -> None:
    positions = torch.arange(4)[None]
    plain = (causal() & window(8) & window(3)).at(positions, positions).for_kernels
    assert (plain.causal, plain.window, plain.allowed) == (True, 3, None)
    mixed = (window(3) & blocks(2)).at(positions, positions).for_kernels
    assert (mixed.causal, mixed.window) == (False, 3)
    assert torch.equal(mixed.allowed, blocks(2).dense(positions, positions))
    either = (causal() | window(3)).at(positions, positions).for_kernels
    assert (either.causal, either.window) == (False, None)


@given(
    positions=places,
    queries=st.integers(1, 12),
    is_causal=st.booleans(),
    size=st.none() | st.integers(1, 6),
    query_tile=st.integers(1, 5),
    key_tile=st.integers(1, 5),
)
def test_no_tile_is_left_out_that_holds_an_allowed_pair(
    positions: Tensor, queries: int, is_causal: bool, size: int | None, query_tile: int, key_tile: int
) -> None:
    mask = KernelMask(positions[:, 12 - queries :], positions, is_causal, size)
    by_queries, by_keys = mask.key_ranges(query_tile, key_tile), mask.query_ranges(query_tile, key_tile)
    for row, query, key in matrix(mask).nonzero().tolist():
        first, end = by_queries[row, query // query_tile].tolist()
        assert first <= key // key_tile < end
        first, end = by_keys[row, key // key_tile].tolist()
        assert first <= query // query_tile < end


def test_tiles_that_hold_none_are_left_out() -> None:
    positions = torch.cat([torch.arange(64), torch.full((32,), -1)])[None]  # a cache with empty slots
    mask = KernelMask(positions[:, :64], positions, causal=True, window=16)
    assert mask.key_ranges(16, 16).tolist() == [[[0, 1], [0, 2], [1, 3], [2, 4]]]
    assert mask.query_ranges(16, 16).tolist() == [[[0, 2], [1, 3], [2, 4], [3, 4], [0, 0], [0, 0]]]
    assert mask.key_ranges(16, 16) is mask.key_ranges(16, 16)  # once for all layers of a pass


def case(queries: int, keys: int) -> tuple[list[Tensor], KernelMask, Scoring]:
    """Inputs that do not lie in order in memory, a mask with all its parts, a scoring with all of its."""
    generator = torch.Generator().manual_seed(queries + keys)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    inputs = [numbers(2, queries, 4, 5).transpose(1, 2), numbers(2, keys, 2, 5).transpose(1, 2)]
    inputs.append(numbers(2, 2, 7, keys).mT)
    positions = torch.stack([torch.arange(keys), torch.arange(keys) - 3]).clamp(min=-1)
    allowed = torch.rand(2, keys, queries, generator=generator).mT < 0.8
    mask = KernelMask(positions[:, keys - queries :].contiguous(), positions, True, 25, allowed.contiguous())
    return inputs, mask, Scoring(0.4, 3.0, numbers(1, 4, queries, keys), numbers(4))


def naive(inputs: list[Tensor], mask: KernelMask, scoring: Scoring) -> Tensor:
    query, key, value = inputs
    shared = [tensor.repeat_interleave(2, dim=1) for tensor in (key, value)]
    return scoring.attention(query, *shared, matrix(mask))


@pytest.mark.parametrize("sizes", [TileSizes(16, 32), TileSizes(32, 16), TileSizes(64, 64)], ids=repr)
def test_forward_and_backward_are_the_naive_twin_for_every_size_of_tile(sizes: TileSizes) -> None:
    inputs, mask, scoring = case(37, 41)
    wanted = [*inputs, scoring.bias, scoring.sinks]
    for tensor in wanted:
        tensor.requires_grad_()
    expected = naive(inputs, mask, scoring)
    grad = torch.ones(()).expand(expected.shape)  # as `sum` gives it: one number, with strides of 0
    gradients = torch.autograd.grad(expected, wanted, grad)
    with torch.no_grad():
        scores = (0.4, 3.0, scoring.bias, scoring.sinks)
        output, log_total = flash_forward(*inputs, mask, *scores, sizes=sizes)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
        found = flash_backward(grad, *inputs, output, log_total, mask, *scores, True, sizes)
    torch.testing.assert_close(found, gradients, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("queries", "keys", "stretches"), [(1, 70, 1), (1, 70, 3), (3, 50, 2), (8, 33, 9)])
def test_decoding_is_the_naive_twin_however_the_keys_are_split(
    queries: int, keys: int, stretches: int
) -> None:
    inputs, mask, scoring = case(queries, keys)
    found = flash_decode(*inputs, mask, 0.4, 3.0, scoring.bias, scoring.sinks, stretches)
    torch.testing.assert_close(found, naive(inputs, mask, scoring), rtol=1e-4, atol=1e-5)


def test_decoding_takes_few_queries() -> None:
    inputs, mask, _ = case(33, 33)
    with pytest.raises(ValueError, match="at most 64 queries times heads that share a key, found 66"):
        flash_decode(*inputs, mask, 0.4)


def test_the_tables_of_sizes_are_powers_of_two() -> None:
    for table in (FORWARD, BACKWARD, DECODE):
        for sizes in (size for of_bytes in table.values() for size in of_bytes.values()):
            assert sizes.queries == block(sizes.queries) and sizes.keys == block(sizes.keys)


def test_what_the_kernels_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert kernels.refusal(cpu, torch.float32, 8, 8) is None  # under the interpreter
    assert kernels.refusal(gpu, torch.float32, 8, 257) == "takes heads of at most 256 dimensions, found 257"
    assert kernels.refusal(gpu, torch.float64, 8, 8) == "has no float64"
    monkeypatch.delenv("TRITON_INTERPRET")
    assert kernels.refusal(cpu, torch.float32, 8, 8) == "runs on a GPU, and the tensors are on the cpu"


WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None  # importing it now fails
import torch, llmref
from llmref.attention import attend
x = torch.zeros(1, 1, 1, 4)
attend(x, x, x, torch.ones(1, 1, 1, dtype=torch.bool), "triton")
"""


def alone(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, where the kernels are compiled."""
    variables = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    variables["PYTHONPATH"] = str(ROOT)
    command = (sys.executable, *command)
    return subprocess.run(
        command, env=variables | environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_package_runs_without_triton_and_says_so_when_asked_for_it() -> None:
    last = alone("-c", WITHOUT_TRITON).stderr.splitlines()[-1]
    assert last == "ValueError: backend 'triton' cannot run this attention: it is not installed"


def test_they_compile_for_a_chip(tmp_path: Path) -> None:
    done = alone("tests/compile_kernels.py", TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [case["kernel"] for case in found] == ["forward", "query", "key_value", "stretch", "combine"]
    assert all(case["ptx"] > 0 and case["shared"] <= 99 * 1024 for case in found)
