"""Every family, held to the peer library's own models: made by it, saved by it, loaded here, and back."""

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from helpers import left_padded, random_ids
from torch import Tensor

from llmref.cache import GrowingCache
from llmref.checkpoint import load_model, save
from llmref.decoding import strategy
from llmref.families import FAMILIES
from llmref.generation import generate_ids
from llmref.model import Transformer, sequential_positions

CASES = [(name, case) for name in sorted(FAMILIES) for case in importlib.import_module(f"peers.{name}").PEERS]
LENGTH = 40  # longer than every window, and than the original context of every scaling
each_case = pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case}" for name, case in CASES])


@cache
def peer_of(name: str, case: str) -> Any:
    """The peer library's model with large random weights, so that nothing hides in small numbers."""
    config = importlib.import_module(f"peers.{name}").PEERS[case]
    torch.manual_seed(1)
    peer = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for place, parameter in sorted(peer.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.3 * noise if "norm" in place or "ln_" in place else 0.3 * noise)
        for place, buffer in sorted(peer.named_buffers()):
            if "correction_bias" in place:
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return peer.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where the peer of a case is saved, by the peer library."""
    root = tmp_path_factory.mktemp("families")

    @cache
    def folder(name: str, case: str) -> Path:
        path = root / name / case.replace(" ", "-").replace(",", "")
        peer_of(name, case).save_pretrained(path)
        return path

    return folder


@cache
def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> Transformer:
    """Ours, loaded from there; do not change it."""
    return load_model(folder, dtype=dtype)


def logits_of_peer(peer: Any, ids: Tensor, positions: Tensor | None = None) -> Tensor:
    more = {}
    if positions is not None:
        more = {"attention_mask": (positions >= 0).long(), "position_ids": positions.clamp(min=0)}
    with torch.no_grad():
        return peer(ids, use_cache=False, **more).logits


def logits_of(model: Transformer, ids: Tensor, positions: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model(ids, sequential_positions(ids) if positions is None else positions)


@each_case
def test_logits_are_the_peer_librarys(name: str, case: str, folders: Any) -> None:
    ours, ids = loaded(folders(name, case)), random_ids(2, LENGTH)
    torch.testing.assert_close(
        logits_of(ours, ids), logits_of_peer(peer_of(name, case), ids), rtol=0, atol=1e-4
    )


@each_case
@pytest.mark.parametrize("sizes", [[1] * LENGTH, [17, 1, 1, 9, 12], [LENGTH - 1, 1]], ids=str)
def test_with_a_cache_too(name: str, case: str, sizes: list[int], folders: Any) -> None:
    ours, ids = loaded(folders(name, case)), random_ids(2, LENGTH)
    cached, store = [], GrowingCache()
    with torch.no_grad():
        for part, places in zip(
            ids.split(sizes, dim=1), sequential_positions(ids).split(sizes, dim=1), strict=True
        ):
            cached.append(ours(part, places, store))
    torch.testing.assert_close(
        torch.cat(cached, dim=1), logits_of_peer(peer_of(name, case), ids), rtol=0, atol=1e-4
    )


@each_case
def test_padding_changes_nothing(name: str, case: str, folders: Any) -> None:
    ours, peer = loaded(folders(name, case)), peer_of(name, case)
    rows = [random_ids(length, seed=length).tolist() for length in (13, 4, 9)]
    ids, positions = left_padded(rows)
    right = torch.tensor([row + [0] * (13 - len(row)) for row in rows])
    right_positions = torch.tensor([list(range(len(row))) + [-1] * (13 - len(row)) for row in rows])
    for padded, places in ((ids, positions), (right, right_positions)):
        found = logits_of(ours, padded, places)
        for index, row in enumerate(rows):
            alone = logits_of_peer(peer, torch.tensor([row]))[0]
            torch.testing.assert_close(found[index][places[index] >= 0], alone, rtol=0, atol=1e-4)


@each_case
def test_in_half_precision_the_error_is_at_most_twice_the_peers(name: str, case: str, folders: Any) -> None:
    ids, peer = random_ids(4, LENGTH), peer_of(name, case)
    exact = logits_of_peer(peer, ids)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folders(name, case), dtype=torch.bfloat16)
    ours = loaded(folders(name, case), torch.bfloat16)
    allowed = (logits_of_peer(theirs.eval(), ids).float() - exact).square().mean().sqrt()
    assert (logits_of(ours, ids).float() - exact).square().mean().sqrt() <= 2 * allowed


@each_case
def test_what_is_saved_the_peer_library_loads(name: str, case: str, folders: Any, tmp_path: Path) -> None:
    save(loaded(folders(name, case)), None, tmp_path, family=name)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    ids = random_ids(2, LENGTH)
    torch.testing.assert_close(
        logits_of_peer(again, ids), logits_of_peer(peer_of(name, case), ids), rtol=0, atol=1e-4
    )
    assert load_model(tmp_path).config == loaded(folders(name, case)).config


@each_case
def test_greedy_text_is_the_peer_librarys(name: str, case: str, folders: Any) -> None:
    ours, peer = loaded(folders(name, case)), peer_of(name, case)
    for seed in range(2):
        ids = random_ids(1, 5 + 8 * seed, seed=seed)
        there = torch.ones_like(ids)
        theirs = peer.generate(ids, attention_mask=there, max_new_tokens=12, do_sample=False, pad_token_id=0)
        assert (
            list(generate_ids(ours, ids[0].tolist(), strategy(temperature=0), 12))
            == theirs[0, ids.shape[1] :].tolist()
        )


def test_every_family_has_its_peer() -> None:
    for name, family in FAMILIES.items():
        assert name == family.model_type
        assert (Path(__file__).parent / "peers" / f"{name}.py").exists()
