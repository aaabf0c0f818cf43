"""Beam search: what the peer library finds, the best of all texts, and greedy decoding with one beam."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import CONTEXT_LENGTH, VOCAB_SIZE, fresh_model, logits_of, random_ids, small_config, small_model
from test_model import config_of, ours_from, peer_model

from llmref.decoding import BannedTokens, ForcedTokens, MinimumLength, NoRepeatNGrams, strategy
from llmref.generation import beam_search, generate_ids, generate_naive
from llmref.model import Transformer

GREEDY = strategy(temperature=0)


def peer_with_an_end(eos_id: int | None) -> Any:
    """A tiny random model of the peer library, and ours with its weights."""
    peer = peer_model("Llama")
    peer.config.eos_token_id = peer.generation_config.eos_token_id = eos_id  # type: ignore[union-attr]
    return peer, ours_from(peer, replace(config_of(peer), eos_id=eos_id))


def compare(peer: Any, model: Transformer, ids: torch.Tensor, beams: int, ours: Any, theirs: Any) -> int:
    """Both find the same texts with the same scores; gives how many of them ended."""
    found = beam_search(model, ids[0].tolist(), beams, 10, **ours)
    answer = peer.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=10,
        num_beams=beams,
        num_return_sequences=beams,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **theirs,
    )
    expected = []
    for row in answer.sequences[:, ids.shape[1] :].tolist():
        ends = [place for place, token in enumerate(row) if token in model.config.end_ids]
        expected.append(row[: min(ends) + 1] if ends else row)
    assert [beam.ids for beam in found] == expected
    scores = torch.tensor([beam.score for beam in found])
    torch.testing.assert_close(scores, answer.sequences_scores, rtol=1e-4, atol=1e-4)
    return sum(beam.ids[-1] in model.config.end_ids for beam in found)


@pytest.mark.parametrize("early_stopping", ["never", False, True])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -0.7, 2.0])
@pytest.mark.parametrize("beams", [2, 5])
def test_beam_search_finds_what_the_peer_library_finds(
    beams: int, length_penalty: float, early_stopping: Any
) -> None:
    ended = 0
    for seed in range(2):
        ids = random_ids(1, 5, seed=seed)
        first = generate_naive(ours_from(peer_model("Llama")), ids[0].tolist(), 4)
        for eos_id in (None, first[-1]):
            settings = {"length_penalty": length_penalty, "early_stopping": early_stopping}
            ended += compare(*peer_with_an_end(eos_id), ids, beams, settings, settings)
    assert ended or length_penalty > 1  # which favours the longest texts


def test_several_tokens_may_end_a_text() -> None:
    ids, ended = random_ids(1, 5), 0
    for beams, stop_ids in ((2, (3, 9, 20)), (3, tuple(range(0, 60, 2))), (4, tuple(range(55)))):
        peer, model = peer_with_an_end(1)
        peer.generation_config.eos_token_id = [1, *stop_ids]
        model.config = replace(model.config, stop_ids=stop_ids)
        ended += compare(peer, model, ids, beams, {}, {"early_stopping": "never"})
    assert ended


@pytest.mark.parametrize(
    ("constraint", "theirs"),
    [
        (NoRepeatNGrams(1), {"no_repeat_ngram_size": 1}),
        (NoRepeatNGrams(2), {"no_repeat_ngram_size": 2}),
        (BannedTokens((5, 40)), {"suppress_tokens": [5, 40]}),
    ],
)
def test_constraints_hold_in_every_beam(constraint: Any, theirs: Any) -> None:
    peer, model = peer_with_an_end(None)
    for seed in range(3):
        ids = random_ids(1, 5, seed=seed)
        compare(peer, model, ids, 4, {"constraints": [constraint]}, {"early_stopping": "never", **theirs})


def test_a_minimum_length_and_forced_tokens_hold_too() -> None:
    ids = random_ids(5).tolist()
    end = beam_search(small_model(), ids, 3, 6)[0].ids[1]
    model = fresh_model(small_config(eos_id=end))
    assert min(len(beam.ids) for beam in beam_search(model, ids, 3, 6, 0.0)) < 5
    assert (
        min(len(each.ids) for each in beam_search(model, ids, 3, 6, constraints=[MinimumLength(4, (end,))]))
        >= 5
    )
    forced = beam_search(small_model(), ids, 3, 6, constraints=[ForcedTokens((7, None, 8))])
    assert {(beam.ids[0], beam.ids[2]) for beam in forced} == {(7, 8)}


@pytest.mark.parametrize("eos_id", [None, 2])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 3.0, -1.0])
def test_with_a_beam_for_each_token_two_steps_miss_no_text(length_penalty: float, eos_id: int | None) -> None:
    vocab, steps = 7, 2
    texts = list(itertools.product(range(vocab), repeat=steps))
    for seed in range(4):
        model = small_model(small_config(vocab_size=vocab, n_blocks=1, eos_id=eos_id), seed=seed)
        logits = logits_of(model, torch.tensor([[1, 3, *text] for text in texts]))
        logs = logits[:, 1:-1].log_softmax(dim=-1)
        best = (-math.inf, [0])
        for row, text in enumerate(texts):
            new = list(text[: text.index(eos_id) + 1]) if eos_id in text else list(text)
            total = sum(logs[row, place, token].item() for place, token in enumerate(new))
            best = max(best, (total / len(new) ** length_penalty, new))
        found = beam_search(model, [1, 3], vocab, steps, length_penalty)[0]
        assert found.ids == best[1]
        assert found.score == pytest.approx(best[0], abs=1e-4)
        assert found.score == pytest.approx(found.log_probability / len(found.ids) ** length_penalty)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy(seed: int, window: int | None) -> None:
    ids = random_ids(3 * seed + 1, seed=seed).tolist()
    endless = generate_naive(small_model(small_config(window=window)), ids, 12)
    for eos_id in (None, endless[seed]):
        model = small_model(small_config(window=window, eos_id=eos_id))
        (beam,) = beam_search(model, ids, 1, 12, length_penalty=0)
        greedy = list(generate_ids(model, ids, GREEDY, 12))
        assert beam.ids == greedy + ([eos_id] if len(greedy) < 12 else [])


def test_beams_are_different_texts_the_best_first() -> None:
    found = beam_search(small_model(), random_ids(5).tolist(), 6, 8)
    assert len({tuple(beam.ids) for beam in found}) == 6
    assert [beam.score for beam in found] == sorted((beam.score for beam in found), reverse=True)
    assert len(beam_search(small_model(), [1], VOCAB_SIZE, 1)) == VOCAB_SIZE
    assert beam_search(small_model(), [1], 3, 0)[0].ids == []
    full = beam_search(small_model(), random_ids(CONTEXT_LENGTH - 2).tolist(), 3, 100)
    assert [len(beam.ids) for beam in full] == [2, 2, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beams": 0}, f"beam search needs from 1 beam to the vocabulary's {VOCAB_SIZE}, found 0"),
        ({"beams": VOCAB_SIZE + 1}, f"the vocabulary's {VOCAB_SIZE}, found {VOCAB_SIZE + 1}"),
        ({"max_new_tokens": -1}, "max_new_tokens must be 0 or more, found -1"),
        ({"length_penalty": math.nan}, "the length penalty must be a finite number, found nan"),
        ({"early_stopping": "soon"}, "early_stopping must be True, False or \"never\", found 'soon'"),
        ({"ids": []}, "the prompt is empty"),
        ({"constraints": [BannedTokens((VOCAB_SIZE,))]}, f"from 0 to {VOCAB_SIZE - 1}, found {VOCAB_SIZE}"),
        ({"constraints": [BannedTokens(tuple(range(VOCAB_SIZE)))]}, "tokens is banned"),
        (
            {"constraints": [BannedTokens(tuple(range(1, VOCAB_SIZE))), BannedTokens((0,))]},
            "no text is left to choose: .* rule out every one",
        ),
    ],
)
def test_bad_beam_settings(settings: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"ids": [1], "beams": 2, "max_new_tokens": 5}
    with pytest.raises(ValueError, match=message):
        beam_search(small_model(), **{**usual, **settings})
