"""Every family, held to the peer library's own models: made by it, saved by it, loaded here, and back."""

import importlib
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from helpers import left_padded, make_cache, published_models, random_ids
from peer_library import said_by_peer, settle_choices
from torch import Tensor

from llmref.checkpoint import load_model, save
from llmref.config import DynamicNtkScaling, LongRopeScaling, RopeConfig
from llmref.cost import cost
from llmref.decoding import strategy
from llmref.families import FAMILIES, family_of
from llmref.families.values import read_activation, read_rope, write_activation, write_rope
from llmref.feedforward import ACTIVATIONS
from llmref.generation import generate_ids
from llmref.model import Transformer, sequential_positions

PEERS = {name: importlib.import_module(f"peers.{name}") for name in sorted(FAMILIES)}
CASES = [(name, case) for name, peers in PEERS.items() for case in peers.PEERS]
# The peer library's plain code: its kernel for experts asks for sizes that are no odd ones.
PLAIN = {"attn_implementation": "eager", "experts_implementation": "eager"}
LENGTH = 40  # longer than every window, and than the original context of every scaling
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # no shared expert
each_case = pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case}" for name, case in CASES])


def peer_of(name: str, case: str) -> Any:
    """The peer library's model, a new one each time: with dynamic NTK it remembers its longest text."""
    return deepcopy(made_peer(name, case))


@cache
def made_peer(name: str, case: str) -> Any:
    """The peer library's model with large random weights, so that nothing hides in small numbers."""
    config = PEERS[name].PEERS[case]
    torch.manual_seed(1)
    peer = transformers.AutoModelForCausalLM.from_config(config, **PLAIN)
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


def logits_of_peer_in_parts(peer: Any, ids: Tensor, sizes: list[int]) -> Tensor:
    """Part after part, with the peer library's own cache."""
    store, logits = transformers.DynamicCache(config=peer.config), []
    with torch.no_grad():
        for part in ids.split(sizes, dim=1):
            logits.append(peer(part, past_key_values=store, use_cache=True).logits)
    return torch.cat(logits, dim=1)


def turns_by_length(model: Transformer) -> bool:
    """Whether the frequencies depend on how long the text is so far.

    A cache keeps the keys as they were turned when the text was shorter, so a run in parts differs from one
    whole pass, in the peer library as here.
    """
    ropes = [block.attention.rope for block in model.config.blocks]
    return any(rope and isinstance(rope.scaling, DynamicNtkScaling | LongRopeScaling) for rope in ropes)


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
@pytest.mark.parametrize(
    ("kind", "sizes"),
    [("growing", [1] * LENGTH), ("rolling", [17, 1, 1, 9, 12]), ("static", [LENGTH - 1, 1])],
)
def test_with_a_cache_too(name: str, case: str, kind: str, sizes: list[int], folders: Any) -> None:
    ours, ids = loaded(folders(name, case)), random_ids(2, LENGTH)
    cached, store = [], make_cache(kind, ours.config, batch=2)
    with torch.no_grad():
        for part, places in zip(
            ids.split(sizes, dim=1), sequential_positions(ids).split(sizes, dim=1), strict=True
        ):
            cached.append(ours(part, places, store))
    peer = peer_of(name, case)
    expected = (
        logits_of_peer_in_parts(peer, ids, sizes) if turns_by_length(ours) else logits_of_peer(peer, ids)
    )
    torch.testing.assert_close(torch.cat(cached, dim=1), expected, rtol=0, atol=1e-4)


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
def test_in_half_precision_the_error_is_at_most_twice_the_peers(name: str, case: str, tmp_path: Path) -> None:
    ids, peer = random_ids(4, LENGTH), peer_of(name, case)
    settle_choices(peer)
    peer.save_pretrained(tmp_path)
    exact = logits_of_peer(peer, ids)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16, **PLAIN)
    ours = load_model(tmp_path, dtype=torch.bfloat16)
    allowed = (logits_of_peer(theirs.eval(), ids).float() - exact).square().mean().sqrt()
    assert (logits_of(ours, ids).float() - exact).square().mean().sqrt() <= 2 * allowed


@each_case
def test_what_is_saved_the_peer_library_loads(name: str, case: str, folders: Any, tmp_path: Path) -> None:
    save(loaded(folders(name, case)), None, tmp_path, family=name)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, **PLAIN).eval()
    ids = random_ids(2, LENGTH)
    torch.testing.assert_close(
        logits_of_peer(again, ids), logits_of_peer(peer_of(name, case), ids), rtol=0, atol=1e-4
    )
    assert load_model(tmp_path).config == loaded(folders(name, case)).config


@each_case
def test_greedy_text_is_the_peer_librarys(name: str, case: str, folders: Any) -> None:
    ours = loaded(folders(name, case))
    for seed in range(2):
        peer, ids = peer_of(name, case), random_ids(1, 5 + 8 * seed, seed=seed)
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


@pytest.mark.parametrize("name", published_models())
def test_published_configs_are_read(name: str) -> None:
    published = published_models()[name]
    family = family_of(published["config"])
    config = family.read(published["config"])
    with torch.device("meta"):
        model = Transformer(config)
    assert model.n_parameters == cost(config).total.parameters == published["parameters"]
    assert family.stored(config, model.state_dict())
    assert family.read(family.to_json(config)) == config
    # What the file leaves out, and how older files say it, is read as the peer library reads it.
    assert family.read(said_by_peer(**published["config"])) == config


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_what_a_file_leaves_out_is_the_peer_librarys_default(name: str) -> None:
    # What the peer library knows no value for, and runs into an error without, is said.
    values = said_by_peer(name, **getattr(PEERS[name], "NEEDED", {}))
    config = FAMILIES[name].read(values)
    for left_out in values:
        try:
            found = FAMILIES[name].read({key: value for key, value in values.items() if key != left_out})
        except ValueError as error:
            assert "missing" in str(error)
            continue
        assert found == config, left_out


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_config_that_the_family_cannot_say_is_refused(name: str) -> None:
    config = FAMILIES[name].read(next(iter(PEERS[name].PEERS.values())).to_dict())
    with pytest.raises(ValueError, match="a config.json of .* cannot say this config: logit_"):
        FAMILIES[name].to_json(replace(config, logit_soft_cap=2.5, logit_multiplier=3.5))


@pytest.mark.parametrize(
    ("name", "found"),
    [(name, found) for name, peers in PEERS.items() for found in getattr(peers, "REFUSED", {})],
)
def test_what_would_not_be_carried_out_is_refused(name: str, found: str) -> None:
    values = next(iter(PEERS[name].PEERS.values())).to_dict()
    FAMILIES[name].read(values)
    with pytest.raises(ValueError, match=found):
        FAMILIES[name].read({**values, **PEERS[name].REFUSED[found]})


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, peers in PEERS.items() for case in getattr(peers, "OLDER", {})]
)
def test_older_names_say_the_same(name: str, case: str) -> None:
    peers, read = PEERS[name], FAMILIES[name].read
    assert read(peers.OLDER[case]) == read(peers.PEERS[case].to_dict())


@each_case
def test_a_family_ignores_nothing_that_a_model_needs(name: str, case: str, folders: Any) -> None:
    family, model = FAMILIES[name], loaded(folders(name, case))
    needed = [each.name for each in family.stored(model.config, model.state_dict())]
    needed += [each.removeprefix(family.prefix) for each in needed]
    assert not [each for each in needed if family.ignores(each, model.config)]
    for each in getattr(PEERS[name], "IGNORED", ()):
        assert family.ignores(each, model.config)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.prefix])
def test_a_checkpoint_may_leave_out_the_prefix(name: str, folders: Any) -> None:
    family, case = FAMILIES[name], next(iter(PEERS[name].PEERS))
    model, whole = loaded(folders(name, case)), peer_of(name, case)
    stored = family.stored(model.config, dict(model.named_parameters()))
    # The peer library's model without its LM head has the names that such a checkpoint has.
    with_head, without = whole.state_dict(), whole.base_model.state_dict()
    assert {each.name for each in family.as_found(stored, with_head)} <= set(with_head)
    assert {each.name for each in family.as_found(stored, without)} == set(without)


@pytest.mark.parametrize("head_dim", [44, 47, 49, 64])
def test_every_part_of_a_head_that_rotates_can_be_said(head_dim: int) -> None:
    for dims in range(2, head_dim, 2):
        rope = RopeConfig(dims=dims)
        assert read_rope(write_rope(rope, head_dim, 2048), head_dim) == rope


@pytest.mark.parametrize(
    "theirs", ["silu", "swish", "gelu", "gelu_new", "gelu_fast", "quick_gelu", "relu", "relu2"]
)
def test_nonlinearities_are_the_peer_librarys(theirs: str) -> None:
    numbers, ours = torch.linspace(-6, 6, 1001), read_activation({"act": theirs}, "act", "gelu")
    for name in (theirs, write_activation(ours)):
        found = transformers.activations.ACT2FN[name](numbers)
        torch.testing.assert_close(ACTIVATIONS[ours](numbers), found, rtol=0, atol=1e-6)
