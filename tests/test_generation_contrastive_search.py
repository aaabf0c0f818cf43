"""Contrastive search: the paper's formula in float64 on the peer's states, its naive twin, and its limits."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CONTEXT_LENGTH, VOCAB_SIZE, fresh_model, random_ids, small_config, small_model
from test_model import ours_from, peer_model

from llmref.decoding import strategy
from llmref.generation import contrastive_search, generate_ids, generate_naive
from llmref.generation.contrastive_search import contrastive_search_naive


def by_the_formula(peer: Any, ids: list[int], k: int, alpha: float, steps: int) -> list[int]:
    """Su et al. (2022), the formula of section 3.2, with the last hidden states of the peer library."""
    text = list(ids)
    for _ in range(steps):
        with torch.inference_mode():
            logits = peer(torch.tensor([text])).logits[0, -1].double().numpy()
        p = np.exp(logits - logits.max())
        p /= p.sum()
        best, choice = -math.inf, -1
        for v in np.argsort(-p, kind="stable")[:k]:
            with torch.inference_mode():
                output = peer(torch.tensor([[*text, int(v)]]), output_hidden_states=True)
            h = output.hidden_states[-1][0].double().numpy()
            cosines = [h[-1] @ h_j / np.linalg.norm(h[-1]) / np.linalg.norm(h_j) for h_j in h[:-1]]
            score = (1 - alpha) * p[v] - alpha * max(cosines)
            if score > best:
                best, choice = score, int(v)
        text.append(choice)
    return text[len(ids) :]


@pytest.mark.parametrize(("k", "alpha"), [(1, 0.6), (4, 0.0), (4, 0.3), (8, 0.6), (5, 1.0)])
def test_it_is_the_papers_formula(k: int, alpha: float) -> None:
    peer = peer_model("Llama")
    model = ours_from(peer)
    for seed in range(2):
        ids = random_ids(6, seed=seed).tolist()
        found = list(contrastive_search(model, ids, k, alpha, 8))
        assert found == by_the_formula(peer, ids, k, alpha, 8)
        assert found == contrastive_search_naive(model, ids, k, alpha, 8)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_it_is_its_naive_twin(window: int | None, norm_position: str) -> None:
    model = small_model(small_config(window=window, norm_position=norm_position))
    for length in (1, 9):
        ids = random_ids(length, seed=length).tolist()
        twin = contrastive_search_naive(model, ids, 5, 0.5, 10)
        assert list(contrastive_search(model, ids, 5, 0.5, 10)) == twin
        assert twin != generate_naive(model, ids, 10)


def test_one_candidate_or_no_weight_is_greedy() -> None:
    model, ids = small_model(), random_ids(5).tolist()
    greedy = list(generate_ids(model, ids, strategy(0), 12))
    assert list(contrastive_search(model, ids, 1, 0.6, 12)) == greedy
    assert list(contrastive_search(model, ids, 6, 0.0, 12)) == greedy


def test_of_candidates_that_tie_the_likeliest_and_lowest_comes() -> None:
    model = fresh_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.embedding.weight[:] = model.embedding.weight[3]  # every token has the same hidden state
    assert list(contrastive_search(model, [5], 4, 0.5, 3)) == [0, 0, 0]


def test_where_it_ends() -> None:
    model, ids = small_model(), random_ids(5).tolist()
    endless = list(contrastive_search(model, ids, 5, 0.6, 12))
    place = next(place for place in range(1, 12) if endless[place] not in endless[:place])
    ending = fresh_model(replace(model.config, eos_id=endless[place]))
    assert list(contrastive_search(ending, ids, 5, 0.6, 12)) == endless[:place]
    assert list(contrastive_search(model, ids, 5, 0.6, 0)) == []
    full = random_ids(CONTEXT_LENGTH - 3).tolist()
    assert len(list(contrastive_search(model, full, 5, 0.6, 9))) == 3
    assert list(contrastive_search(model, random_ids(CONTEXT_LENGTH).tolist(), 5, 0.6, 9)) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, f"k must be from 1 to the vocabulary's {VOCAB_SIZE} tokens, found 0"),
        (
            {"k": VOCAB_SIZE + 1},
            f"k must be from 1 to the vocabulary's {VOCAB_SIZE} tokens, found {VOCAB_SIZE + 1}",
        ),
        ({"alpha": -0.1}, "alpha must be from 0 to 1, found -0.1"),
        ({"alpha": math.nan}, "alpha must be from 0 to 1, found nan"),
        ({"max_new_tokens": -1}, "max_new_tokens must be 0 or more, found -1"),
        ({"ids": []}, "the prompt is empty"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"ids": [1], "k": 4, "alpha": 0.6, "max_new_tokens": 3}
    with pytest.raises(ValueError, match=message):
        contrastive_search(small_model(), **{**usual, **settings})
