"""Compiles the Triton kernels for NVIDIA's chips, which needs no GPU; with `--all`, every size of tile.

Run by test_kernels.py in a process of its own, because there the kernels are compiled and not interpreted. It
prints one line of JSON for each kernel: what was compiled, and the shared memory that it takes.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from llmref.kernels import flash_backward, flash_decode, flash_forward
from llmref.kernels.launch import BACKWARD, DECODE, FORWARD, TileSizes, compiled_for, sizes_for

KERNELS = {
    "forward": (flash_forward.forward_kernel, FORWARD),
    "query": (flash_backward.query_kernel, BACKWARD),
    "key_value": (flash_backward.key_value_kernel, BACKWARD),
    "stretch": (flash_decode.stretch_kernel, DECODE),
    "combine": (flash_decode.combine_kernel, DECODE),
}
TYPES = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32"}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": dict(
        SOFT_CAP=None, CAUSAL=True, WINDOW=None, allowed=None, bias=None, sinks=None, grad_bias=None
    ),
    "all": dict(SOFT_CAP=50.0, CAUSAL=True, WINDOW=64),
    "one": dict(SOFT_CAP=None, CAUSAL=False, WINDOW=None, allowed=None, queries=1, group=1, bias_query=1),
}


def cases(everything: bool) -> Iterator[tuple[int, torch.dtype, int, str]]:
    """Chip, dtype, size of the heads, options."""
    if not everything:
        yield 90, torch.bfloat16, 64, "all"
        return
    for chip in (80, 90):
        for dtype in TYPES:
            for head_dim in (64, 80, 128, 256):
                for options in OPTIONS:
                    yield chip, dtype, head_dim, options


def compiled(kernel: Any, sizes: TileSizes, query: torch.Tensor, chip: int, options: dict[str, Any]) -> Any:
    """The kernel, compiled with all its pointers and strides divisible by 16, as they mostly are."""
    launch = compiled_for(sizes, query, query)
    known = {**launch, **options, "STRETCH_BLOCK": 16}
    types, constants, divisible = {}, {}, {}
    for place, name in enumerate(kernel.arg_names):
        if name in known:
            types[name], constants[name] = "constexpr", known[name]
            continue
        types[name] = {
            "allowed": "*u8",
            "bias": "*fp32",
            "sinks": "*fp32",
            "grad_bias": "*fp32",
            "log_total": "*fp32",
            "average": "*fp32",
            "stretch_output": "*fp32",
            "stretch_log_total": "*fp32",
            "query_positions": "*i64",
            "key_positions": "*i64",
            "key_ranges": "*i32",
            "query_ranges": "*i32",
            "scale": "fp32",
        }.get(name, TYPES[query.dtype] if name.removeprefix("grad_") in TENSORS else "i32")
        if name != "scale":
            divisible[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, types, constants, divisible)
    settings = dict(num_warps=launch["num_warps"], num_stages=launch["num_stages"])
    return triton.compile(source, target=GPUTarget("cuda", chip, 32), options=settings)


TENSORS = ("query", "key", "value", "output")


def main() -> None:
    """Compile the cases."""
    warnings.filterwarnings("ignore", message="TRITON_DEFAULT_FP_FUSION")
    for chip, dtype, head_dim, options in cases("--all" in sys.argv):
        query = torch.empty(1, 1, 1, head_dim, dtype=dtype)
        for name, (kernel, table) in KERNELS.items():
            sizes = sizes_for(table, query, query)
            if name == "stretch":
                sizes = replace(sizes, queries=flash_decode.MOST_ROWS)
            found = compiled(kernel, sizes, query, chip, OPTIONS[options])
            case = dict(kernel=name, chip=chip, dtype=str(dtype), head_dim=head_dim, options=options)
            print(
                json.dumps(dict(**case, shared=found.metadata.shared, ptx=len(found.asm["ptx"]))), flush=True
            )


if __name__ == "__main__":
    main()
