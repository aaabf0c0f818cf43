"""The roofline: against sums done by hand, and against FLOPs and bytes that were counted on a real model."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import random_ids, small_config, small_model
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from llmref.cache import GrowingCache
from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.cost import cost
from llmref.model import sequential_positions
from llmref.roofline import Device, Pass, duration, roofline

H100 = Device(
    "H100 SXM, bfloat16", flops=989e12, bandwidth=3.35e12
)  # as its data sheet says, without sparsity
LLAMA_8B = ModelConfig(
    vocab_size=128_256,
    d_model=4096,
    context_length=131_072,
    blocks=(BlockConfig(AttentionConfig(32, 8, 128), FeedForwardConfig(14_336)),) * 32,
    tied_embeddings=False,
)


def test_llama_on_an_h100_is_what_a_pencil_says() -> None:
    found = roofline(cost(LLAMA_8B, batch=1, context=8192), H100)
    # Weights: 32 blocks of 41.9 M (attention), 176.2 M (feedforward) and two norms; a norm, the LM head.
    block = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336
    weights = 2 * (32 * (block + 2 * 4096) + 4096 + 4096 * 128_256)
    cache = 2 * 32 * 8 * 128 * 2 * 8192
    assert (weights, cache) == (15_009_849_344, 1_073_741_824)
    # A decode step: two FLOPs for each number of a matrix, and for each of the 8192 keys a dot product of
    # 128 numbers and as many added, in 32 heads.
    assert found.decode.flops == 2 * (32 * block + 4096 * 128_256) + 32 * 4 * 32 * 128 * 8192
    assert found.decode.n_bytes == weights + cache
    assert found.decode.seconds == pytest.approx(16_083_591_168 / 3.35e12)  # 4.8 ms: 208 tokens a second
    assert found.decode.bound == "memory"
    assert found.decode.intensity == pytest.approx(1.20, abs=0.005)
    # A prefill computes 158 TFLOP.
    assert found.prefill.seconds == pytest.approx(0.160, abs=0.0005)
    assert found.prefill.bound == "compute"


def test_its_flops_and_bytes_are_those_of_a_real_model() -> None:
    config = small_config(tied_embeddings=False)
    model, ids = small_model(config), random_ids(2, 9)
    positions, cache = sequential_positions(ids), GrowingCache()

    def counted(part: slice) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter, model.attention_backend("naive"):
            model(ids[:, part], positions[:, part], cache)
        return counter.get_total_flops()

    prefill = counted(slice(0, 9))
    weights = sum(p.numel() * 4 for name, p in model.named_parameters() if name != "embedding.weight")
    device = Device("device", flops=1e9, bandwidth=1e9)
    found = roofline(cost(config, 2, 9, bytes_per_number=4), device)
    assert found.prefill == Pass(device, prefill, weights + cache.n_bytes)
    cache = GrowingCache()
    counted(slice(0, 8))
    assert found.decode.flops == counted(slice(8, 9))
    assert found.decode.n_bytes == weights + cache.n_bytes


@given(st.floats(1e6, 1e18), st.floats(1e6, 1e15), st.integers(1, 10**16), st.integers(1, 10**13))
def test_the_slower_of_the_two_sets_the_time(flops: float, bandwidth: float, work: int, n_bytes: int) -> None:
    one = Pass(Device("device", flops, bandwidth), work, n_bytes)
    computing, moving = work / flops, n_bytes / bandwidth
    assert one.seconds == max(computing, moving)
    if computing > 1.001 * moving:
        assert one.bound == "compute"
    elif moving > 1.001 * computing:
        assert one.bound == "memory"


def test_more_texts_at_once_share_the_weights() -> None:
    one, many = (roofline(cost(LLAMA_8B, batch, context=1024), H100).decode for batch in (1, 64))
    assert many.seconds < 2 * one.seconds  # for 64 tokens instead of one
    assert many.intensity > 30 * one.intensity
    # Without a cache to speak of, a batch of the device's balance makes the step bound by computing.
    balance = int(H100.balance)
    bound = [
        roofline(cost(LLAMA_8B, batch, context=1), H100).decode.bound for batch in (balance // 2, 2 * balance)
    ]
    assert bound == ["memory", "compute"]


def test_a_window_bounds_a_long_texts_step() -> None:
    block = LLAMA_8B.blocks[0]
    windowed = replace(block, attention=replace(block.attention, window=4096))
    config = replace(LLAMA_8B, blocks=(windowed,) * 32)
    short, long = (roofline(cost(config, context=context), H100).decode for context in (4096, 131_072))
    assert long == short
    assert roofline(cost(LLAMA_8B, context=131_072), H100).decode.seconds > 2 * long.seconds


def test_the_table_shows_both_passes() -> None:
    lines = str(roofline(cost(LLAMA_8B, context=8192), H100)).splitlines()
    assert lines[0] == "H100 SXM, bfloat16: 989 TFLOP/s, 3.35 TB/s, 295 FLOP/byte"
    assert lines[1] == "batch 1, context 8,192"
    assert " ".join(lines[3].split()) == "prefill 158 TFLOP 15 GiB 9.83 k 160 ms compute"
    assert " ".join(lines[4].split()) == "decode 19.3 GFLOP 15 GiB 1.2 4.8 ms memory"
    assert len({line.rfind("  ") for line in lines[2:]}) == 1  # the last column stands in line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"flops": 0.0, "bandwidth": 1.0}, "Device.flops must be above 0, found 0.0"),
        ({"flops": 1.0, "bandwidth": -2.0}, "Device.bandwidth must be above 0, found -2.0"),
        ({"flops": float("nan"), "bandwidth": 1.0}, "Device.flops must be above 0, found nan"),
    ],
)
def test_bad_input_says_what_was_wrong(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Device("device", **given)


def test_short_forms() -> None:
    found = [duration(seconds) for seconds in (0.0, 3e-9, 0.9996e-6, 0.0154, 0.9996, 12.345, 5000)]
    assert found == ["0 ns", "3 ns", "1 µs", "15.4 ms", "1 s", "12.3 s", "5,000 s"]
