"""Every family: the peer library's checkpoint is loaded, quantized, saved in our format, and generates."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import random_ids
from test_families import PEERS, folders, logits_of  # noqa: F401 - a fixture

from llmref.checkpoint import load_model, save
from llmref.cost import cost
from llmref.decoding import strategy
from llmref.generation import generate_ids
from llmref.quantization import Quantization, quantize, weight_bytes

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # no shared expert


@pytest.mark.parametrize("name", PEERS)
def test_every_family_is_quantized_and_generates(name: str, folders: Any, tmp_path: Path) -> None:  # noqa: F811
    folder, ids = folders(name, next(iter(PEERS[name].PEERS))), random_ids(1, 20)
    exact = load_model(folder)
    expected = logits_of(exact, ids)
    # Large random weights, and a router may choose other experts.
    for kind, group_size, most in (("int8", None, 0.4), ("int4", 32, 2.0)):
        model = load_model(folder)
        quantization = Quantization(kind, group_size)  # type: ignore[arg-type]
        sizes = quantize(model, kind, group_size)  # type: ignore[arg-type]
        counted = cost(model.config, bytes_per_number=4, quantization=quantization).total.weight_bytes
        assert sizes.after == weight_bytes(model) == counted < sizes.before
        moved = (logits_of(model, ids) - expected).square().mean().sqrt() / expected.square().mean().sqrt()
        assert 0 < moved < most
        save(model, None, tmp_path / kind)
        again = load_model(tmp_path / kind)
        greedy = strategy(temperature=0)
        text = list(generate_ids(model, ids[0].tolist(), greedy, 8))
        assert text == list(generate_ids(again, ids[0].tolist(), greedy, 8)) and text
        assert torch.equal(logits_of(again, ids), logits_of(model, ids))
