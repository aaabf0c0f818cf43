"""Speculative decoding: whatever the draft, the text is the model's own."""

import itertools
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    CONTEXT_LENGTH,
    fresh_model,
    logits_of,
    make_cache,
    random_ids,
    small_config,
    small_model,
    small_tokenizer,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from test_families import PEERS, made_peer
from test_generation import passes
from test_model import ours_from, peer_model
from torch import Tensor

import llmref
from llmref.cache import QuantizedCache, RollingCache
from llmref.checkpoint import load_model
from llmref.config import DynamicNtkScaling, LongRopeScaling, RopeConfig
from llmref.decoding import Strategy, strategy, uniforms
from llmref.generation import (
    Draft,
    DraftModel,
    PromptLookup,
    Proposal,
    SpeculationReport,
    accept,
    generate_ids,
    speculate,
    speculate_naive,
)
from llmref.generation.draft import check_same_tokens
from llmref.generation.speculative import room_in_a_pass
from llmref.model import Transformer
from llmref.tokenizer import Tokenizer

GREEDY = strategy(temperature=0)
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # no shared expert


def another(token_id: int) -> int:
    return token_id - 1 if token_id else 1


class Scripted:
    """A draft that knows a text, and says every third token of it wrong."""

    vocab_size = None

    def __init__(self, ids: list[int]) -> None:
        self.ids = [token_id if place % 3 else another(token_id) for place, token_id in enumerate(ids)]

    def propose(self, ids: list[int], prompt_length: int, strategy: Strategy, uniforms: Tensor) -> Proposal:
        return Proposal(self.ids[len(ids) : len(ids) + len(uniforms)])


# One step, exactly: every outcome with its probability


def weights(numbers: list[int]) -> Tensor:
    """A distribution out of whole numbers."""
    return torch.tensor(numbers, dtype=torch.float64) / sum(numbers)


distributions = st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any).map(weights)


def outcomes(p: Tensor, q: Tensor, drafted: Tensor) -> dict[tuple[int, ...], float]:
    """What `accept` makes of drafted tokens, each with the share of all uniform numbers that leads to it.

    It decides by thresholds, so between two of them one number stands for all.
    """
    rows = len(drafted)
    edges = [
        [0.0, min(1.0, float(p[row, token] / q[row, token])), 1.0]
        for row, token in enumerate(drafted.tolist())
    ]
    rests = [(p[row] - (q[row] if row < rows else 0)).clamp(min=0) for row in range(rows + 1)]
    ends = {0.0, 1.0}.union(*((rest / rest.sum()).cumsum(0).tolist() for rest in rests if rest.any()))
    edges.append(sorted(ends))
    found: Counter[tuple[int, ...]] = Counter()
    for cell in itertools.product(*(list(itertools.pairwise(places)) for places in edges)):
        share = math.prod(high - low for low, high in cell)
        if share > 1e-15:
            accepted, following = accept(
                p, q, drafted, torch.tensor([(low + high) / 2 for low, high in cell])
            )
            found[(*drafted[:accepted].tolist(), following)] += share
    return found


@given(p=distributions, q=distributions)
def test_the_token_of_one_step_is_distributed_as_the_models(p: Tensor, q: Tensor) -> None:
    total = torch.zeros(3, dtype=torch.float64)
    for token in q.nonzero()[:, 0].tolist():
        bonus = torch.eye(3, dtype=torch.float64)[:1]
        for text, share in outcomes(torch.cat([p[None], bonus]), q[None], torch.tensor([token])).items():
            total[text[0]] += q[token] * share
    torch.testing.assert_close(total, p, rtol=0, atol=1e-12)


@given(data=st.data(), draft_tokens=st.integers(1, 3))
def test_a_text_is_distributed_as_the_models(data: st.DataObject, draft_tokens: int) -> None:
    """Two tokens to choose from, three places, each with distributions that depend on the text before."""
    pairs = st.lists(st.integers(0, 9), min_size=2, max_size=2).filter(any).map(weights)
    texts = [text for length in range(4) for text in itertools.product(range(2), repeat=length)]
    p, q = ({text: data.draw(pairs) for text in texts} for _ in range(2))
    whole = {text: 0.0 for text in texts if len(text) == 3}

    def write(text: tuple[int, ...], share: float) -> None:
        if len(text) >= 3:
            whole[text[:3]] += share
            return
        for drafted in itertools.product(range(2), repeat=min(draft_tokens, 3 - len(text) - 1)):
            before = [text + drafted[:place] for place in range(len(drafted) + 1)]
            drawn = math.prod(float(q[place][token]) for place, token in zip(before, drafted, strict=False))
            if drawn:
                given = [q[place] for place in before[:-1]]
                rows = torch.stack(given) if given else torch.zeros(0, 2, dtype=torch.float64)
                expected = torch.stack([p[place] for place in before])
                for new, chance in outcomes(expected, rows, torch.tensor(drafted, dtype=torch.long)).items():
                    write(text + new, share * drawn * chance)

    write((), 1.0)
    for text, share in whole.items():
        own = math.prod(float(p[text[:place]][token]) for place, token in enumerate(text))
        assert share == pytest.approx(own, rel=0, abs=1e-12)


def test_a_token_that_the_model_rules_out_is_never_kept() -> None:
    p, q = torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    assert accept(p, q, torch.tensor([0]), torch.tensor([0.0, 0.0])) == (0, 1)


def test_distributions_that_differ_by_rounding_alone_still_give_a_token() -> None:
    p = torch.tensor([[0.25, 0.75 - 1e-7], [1.0, 0.0]])
    q = torch.tensor([[0.25, 0.75]])
    assert accept(p, q, torch.tensor([1]), torch.tensor([1 - 1e-9, 0.5], dtype=torch.float64)) == (0, 1)


# Many texts of a model


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"temperature": 0.7, "top_k": 3, "frequency_penalty": 1.0, "repetition_penalty": 2.0},
    ],
)
def test_many_texts_are_distributed_as_the_models(chosen: Any) -> None:
    config = small_config(vocab_size=4, n_blocks=1)
    model, draft = small_model(config), DraftModel(small_model(config, seed=1))
    chooser, prompt, count = strategy(**chosen), [1, 3], 300
    texts = torch.tensor(list(itertools.product(range(4), repeat=3)))
    expected = torch.ones(len(texts), dtype=torch.float64)
    logits = logits_of(model, torch.cat([torch.tensor(prompt).expand(len(texts), -1), texts], 1))
    for row, text in enumerate(texts):
        for place, token in enumerate(text):
            so_far = torch.cat([torch.tensor(prompt), text[:place]])
            expected[row] *= chooser.probabilities(logits[row, place + 1], so_far, 2)[token]
    expected *= count
    report, found = SpeculationReport(), Counter[tuple[int, ...]]()
    for seed in range(count):
        new = speculate(model, prompt, chooser, 3, draft=draft, draft_tokens=2, seed=seed, report=report)
        found[tuple(new)] += 1
    counted = torch.tensor([found[tuple(text.tolist())] for text in texts], dtype=torch.float64)
    assert not counted[expected == 0].any()
    often = expected >= 5
    pooled = [torch.cat([each[often], each[~often].sum()[None]]) for each in (counted, expected)]
    statistic = ((pooled[0] - pooled[1]) ** 2 / pooled[1].clamp(min=1e-9)).sum()
    p = torch.special.gammaincc(torch.tensor((len(pooled[0]) - 1) / 2).double(), statistic / 2)
    assert p > 0.01
    assert 0.2 < report.acceptance_rate < 0.9  # so both ends of a step were tried


# Greedy text is the same


@settings(max_examples=15)
@given(
    window=st.sampled_from([None, 1, 4]),
    length=st.integers(1, 20),
    new=st.integers(0, 14),
    draft_tokens=st.integers(1, 5),
    seed=st.integers(0, 3),
)
def test_greedy_text_is_the_same_with_any_draft(
    window: int | None, length: int, new: int, draft_tokens: int, seed: int
) -> None:
    config = small_config(window=window)
    model, ids = small_model(config), random_ids(length, high=9, seed=seed).tolist()
    expected = list(generate_ids(model, ids, GREEDY, new))
    drafts: list[Draft] = [
        DraftModel(small_model(config, seed=seed)),
        DraftModel(small_model(replace(config, context_length=10), seed=seed)),
        DraftModel(small_model(config, seed=seed), make_cache("static", config)),
        PromptLookup(),
        Scripted(ids + expected),
    ]
    for draft in drafts:
        for cache in (None, make_cache("static", config)):
            found = speculate(model, ids, GREEDY, new, draft=draft, draft_tokens=draft_tokens, cache=cache)
            assert list(found) == expected


@pytest.mark.parametrize("name", PEERS)
def test_greedy_text_of_every_family_is_the_same(name: str, tmp_path: Path) -> None:
    for number, case in enumerate(PEERS[name].PEERS):
        made_peer(name, case).save_pretrained(tmp_path / str(number))
        model, ids = load_model(tmp_path / str(number)), random_ids(9).tolist()
        expected = list(generate_ids(model, ids, GREEDY, 16))
        report = SpeculationReport()
        found = speculate(model, ids, GREEDY, 16, draft=Scripted(ids + expected), report=report)
        assert list(found) == expected
        assert report.accepted > 0 or room_in_a_pass(model.config, 10) == 0


@pytest.mark.parametrize(
    "penalty", [{"frequency_penalty": 1.0}, {"repetition_penalty": 1.5}, {"no_repeat_ngram": 1}]
)
def test_greedy_text_with_penalties_is_the_same(penalty: Any) -> None:
    chooser = strategy(0, **penalty)
    for seed in range(4):
        ids = random_ids(7, seed=seed).tolist()
        expected = list(generate_ids(small_model(), ids, chooser, 20))
        for draft in (DraftModel(small_model()), Scripted(ids + expected), PromptLookup()):
            assert list(speculate(small_model(), ids, chooser, 20, draft=draft)) == expected


def test_with_a_quantized_cache_too() -> None:
    ids = random_ids(7).tolist()
    expected = list(generate_ids(small_model(), ids, GREEDY, 20, cache=QuantizedCache()))
    draft = Scripted(ids + expected)
    assert list(speculate(small_model(), ids, GREEDY, 20, draft=draft, cache=QuantizedCache())) == expected


def test_greedy_text_of_the_tiny_model_is_the_same() -> None:
    model, tokenizer = llmref.load_tiny()
    blocks = model.config.blocks[:4]
    first = Transformer(replace(model.config, blocks=blocks))
    first.load_state_dict(model.state_dict(), strict=False)
    draft = DraftModel(first)  # one draft for all texts
    for prompt in ("옛날에 민지라는", "Once upon a time, a"):
        ids = llmref.prompt_ids(model, tokenizer, prompt)
        report = SpeculationReport()
        expected = list(generate_ids(model, ids, GREEDY, 60))
        assert list(speculate(model, ids, GREEDY, 60, draft=draft, report=report)) == expected
        assert report.acceptance_rate > 0.5 and report.passes < 45


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
def test_the_peer_librarys_assisted_generation_gives_the_same_ids(name: str, tmp_path: Path) -> None:
    peer, assistant = made_peer(name, next(iter(PEERS[name].PEERS))), peer_model("Llama")
    peer.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    for seed in range(3):
        ids = random_ids(1, 12, high=7, seed=seed)
        for draft, theirs in (
            (DraftModel(ours_from(assistant)), {"assistant_model": assistant}),
            (PromptLookup(), {"prompt_lookup_num_tokens": 3}),
        ):
            found = list(speculate(model, ids[0].tolist(), GREEDY, 16, draft=draft))
            there = torch.ones_like(ids)
            expected = peer.generate(
                ids, attention_mask=there, max_new_tokens=16, do_sample=False, pad_token_id=0, **theirs
            )
            assert found == expected[0, ids.shape[1] :].tolist()


# What is counted


def test_a_draft_that_is_always_right_saves_passes() -> None:
    model, ids = fresh_model(), random_ids(7).tolist()
    sizes, report = passes(model), SpeculationReport()
    draft = DraftModel(fresh_model())
    assert len(list(speculate(model, ids, GREEDY, 11, draft=draft, draft_tokens=3, report=report))) == 11
    assert sizes == [7 + 3, 1 + 3, 1 + 2]  # 4 tokens come of each pass, and 3 of the last
    assert report == SpeculationReport(passes=3, drafted=8, checked=8, accepted=8, new_tokens=11)
    assert report.acceptance_rate == 1 and report.tokens_per_pass == 11 / 3


def test_a_draft_that_is_always_wrong_costs_no_pass_more() -> None:
    model, ids = fresh_model(), random_ids(7).tolist()
    expected = list(generate_ids(model, ids, GREEDY, 11))
    sizes, report, draft = passes(model), SpeculationReport(), Scripted([])
    draft.ids = [another(token_id) for token_id in ids + expected]
    assert list(speculate(model, ids, GREEDY, 11, draft=draft, draft_tokens=2, report=report)) == expected
    assert sizes == [7 + 2] + [1 + 2] * 8 + [1 + 1, 1]
    assert report == SpeculationReport(passes=11, drafted=19, checked=10, accepted=0, new_tokens=11)


def test_before_anything_was_drafted_there_is_no_rate() -> None:
    assert math.isnan(SpeculationReport().acceptance_rate)
    assert math.isnan(SpeculationReport().tokens_per_pass)


def test_it_ends_before_the_end_of_text_token() -> None:
    ids = random_ids(7).tolist()
    endless = list(generate_ids(small_model(), ids, GREEDY, 12))
    for place in range(12):
        model = small_model(small_config(eos_id=endless[place]))
        expected = list(generate_ids(model, ids, GREEDY, 12))
        draft, report = DraftModel(small_model()), SpeculationReport()
        assert list(speculate(model, ids, GREEDY, 12, draft=draft, report=report)) == expected
        assert report.new_tokens == len(expected)


def test_it_ends_when_the_context_is_full() -> None:
    ids = random_ids(CONTEXT_LENGTH - 7).tolist()
    found = list(speculate(small_model(), ids, GREEDY, 100, draft=DraftModel(small_model())))
    assert found == list(generate_ids(small_model(), ids, GREEDY, 100)) and len(found) == 7


def test_a_seed_repeats_the_text_and_it_is_the_naive_twins() -> None:
    model, small, ids = small_model(), small_model(small_config(n_blocks=1), seed=0), [4, 9, 2]
    draft = DraftModel(small)
    found = {}
    for seed in range(6):
        new = [
            list(speculate(model, ids, strategy(), 9, draft=draft, draft_tokens=3, seed=seed)) for _ in "ab"
        ]
        assert new[0] == new[1]
        numbers = uniforms(seed, 9 * 7).reshape(9, 7)
        with torch.no_grad():
            assert speculate_naive(model, small, ids, 9, 3, numbers) == new[0]
        found[seed] = tuple(new[0])
    assert len(set(found.values())) == 6
    unseeded = [list(speculate(model, ids, strategy(2.0), 20, draft=draft)) for _ in "ab"]
    assert unseeded[0] != unseeded[1]


def test_text_with_a_draft_is_the_same() -> None:
    model, tokenizer = llmref.load_tiny()
    for chosen in ({"temperature": 0}, {"temperature": 1.0, "top_k": 1}, {"temperature": 0, "stop": "."}):
        text = llmref.generate(model, tokenizer, "Once upon a time", max_new_tokens=20, **chosen)
        report = SpeculationReport()
        more = {"draft": DraftModel(model), "draft_tokens": 3, "report": report, "max_new_tokens": 20}
        assert llmref.generate(model, tokenizer, "Once upon a time", **chosen, **more) == text
        assert 0 < report.passes < 20
        pieces = llmref.stream(model, tokenizer, "Once upon a time", **chosen, **more)
        assert "".join(pieces) == text


# The drafts


def test_a_draft_model_reads_each_token_once_and_goes_back() -> None:
    draft_model = fresh_model()
    draft, sizes = DraftModel(draft_model), passes(draft_model)
    ids, three = random_ids(6).tolist(), torch.zeros(3)
    first = draft.propose(ids, 6, GREEDY, three)
    assert sizes == [6, 1, 1]
    fresh = DraftModel(small_model())
    for text in (
        [*ids, *first.ids, 5],  # all were accepted
        [*ids, first.ids[0], another(first.ids[1])],  # the second was not
        ids,  # the same text again
        [7, 8],  # another text
    ):
        expected = fresh.propose(text, 6, GREEDY, three)
        fresh = DraftModel(small_model())
        sizes.clear()
        found = draft.propose(text, 6, GREEDY, three)
        assert found.ids == expected.ids
        torch.testing.assert_close(found.probabilities, expected.probabilities)
    assert sizes == [2, 1, 1]


def naive_lookup(ids: list[int], longest: int) -> int | None:
    """Where the text goes on from the latest place of its longest ending that was there before."""
    places = [
        (length, after)
        for after in range(1, len(ids))
        for length in range(1, longest + 1)
        if after >= length and ids[after - length : after] == ids[len(ids) - length :]
    ]
    return max(places)[1] if places else None


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 5))
def test_prompt_look_up_proposes_what_followed_before(ids: list[int], longest: int, count: int) -> None:
    found = PromptLookup(longest).propose(ids, 1, GREEDY, torch.zeros(count))
    place = naive_lookup(ids, longest)
    assert found == Proposal([] if place is None else ids[place : place + count])


# Where rotations move with the text's length


@pytest.mark.parametrize(
    ("scaling", "rooms"),
    [
        (DynamicNtkScaling(2.0, 20), {18: 2, 20: 0, 21: 0}),
        (LongRopeScaling((1.0,) * 3, (2.0,) * 3, 20), {18: 2, 20: 0, 21: CONTEXT_LENGTH - 21}),
        (None, {18: CONTEXT_LENGTH - 18}),
    ],
)
def test_drafts_end_where_the_rotation_changes(scaling: Any, rooms: dict[int, int]) -> None:
    config = small_config()
    block = config.blocks[0]
    rope = RopeConfig(base=100.0, scaling=scaling)
    config = replace(config, blocks=(replace(block, attention=replace(block.attention, rope=rope)),) * 2)
    assert {length: room_in_a_pass(config, length) for length in rooms} == rooms
    model, ids = small_model(config), random_ids(12).tolist()
    expected = list(generate_ids(model, ids, GREEDY, 30))
    assert list(speculate(model, ids, GREEDY, 30, draft=Scripted(ids + expected))) == expected


# Bad input


def test_bad_input_is_an_error_at_once() -> None:
    model, draft = small_model(), DraftModel(small_model())
    other = DraftModel(small_model(small_config(vocab_size=60)))
    for error, arguments, more in (
        ("must have the model's vocabulary: expected 61 tokens, found 60", ([1], 3), {"draft": other}),
        ("draft_tokens must be at least 1, found 0", ([1], 3), {"draft_tokens": 0}),
        ("a rolling cache cannot be cut back", ([1], 3), {"cache": RollingCache(model.config)}),
        ("the prompt is empty", ([], 3), {}),
        ("max_new_tokens must be 0 or more, found -1", ([1], -1), {}),
    ):
        ids, new = arguments
        with pytest.raises(ValueError, match=error):
            speculate(model, ids, GREEDY, new, **({"draft": draft} | more))
    cache = make_cache("growing", model.config)
    model(torch.tensor([[1, 2]]), torch.tensor([[0, 1]]), cache)
    with pytest.raises(ValueError, match="needs an empty cache, found one that holds 2 tokens"):
        speculate(model, [1], GREEDY, 3, draft=draft, cache=cache)
    with pytest.raises(ValueError, match="a draft needs an empty cache, found one that holds 2 tokens"):
        DraftModel(model, cache)
    with pytest.raises(ValueError, match="a rolling cache cannot be cut back"):
        DraftModel(model, RollingCache(model.config))
    with pytest.raises(ValueError, match="token ids must be from 0 to 60, found 99 in BannedTokens"):
        speculate(model, [1], strategy(banned_ids=[99]), 3, draft=draft)
    with pytest.raises(ValueError, match="a run of at least 1 token, found 0"):
        PromptLookup(0)


def test_a_draft_with_another_tokenizer_is_an_error() -> None:
    ours = small_tokenizer()
    check_same_tokens(ours, small_tokenizer())
    with pytest.raises(ValueError, match="expected 300 tokens, found 299"):
        check_same_tokens(ours, Tokenizer(ours.tokens[:-1], ours.merges[:-1], ours.special_tokens))
    other = Tokenizer.train(["a bird sang to a bird that sang to a bird, and a bird sang"], vocab_size=300)
    other = Tokenizer([*other.tokens, *ours.tokens[other.vocab_size :]], other.merges, other.special_tokens)
    with pytest.raises(ValueError, match=r"expected token \d+ to be b'.+', found b'.+'"):
        check_same_tokens(ours, other)


def test_each_is_a_draft() -> None:
    for draft in (DraftModel(small_model()), PromptLookup(), Scripted([])):
        assert isinstance(draft, Draft)
