"""Each step of a strategy against the peer library's on the same logits: the same bits where they can be."""

import math
from collections.abc import Callable
from typing import Any

import helpers  # noqa: F401  # sets how hypothesis runs
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmref.decoding import (
    BannedTokens,
    Constraint,
    Epsilon,
    ForcedTokens,
    MinimumLength,
    MinP,
    NoRepeatNGrams,
    Processor,
    Temperature,
    TopK,
    TopP,
    Typical,
    strategy,
)

VOCAB = 40
Peer = Callable[[Tensor, Tensor], Tensor]


def logits(seed: int, rows: int = 8, size: float = 3.0) -> Tensor:
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * size


def text(seed: int, length: int, entries: int, rows: int = 8) -> Tensor:
    """Ids from the first few entries of the vocabulary, so that they repeat themselves."""
    return torch.randint(0, entries, (rows, length), generator=torch.Generator().manual_seed(seed))


PROCESSORS: list[tuple[Processor, Any]] = [
    *((Temperature(t), transformers.TemperatureLogitsWarper(t)) for t in (0.1, 0.7, 1.0, 3.0)),
    *((TopK(k), transformers.TopKLogitsWarper(k)) for k in (1, 5, VOCAB, 100)),
    *((TopP(p), transformers.TopPLogitsWarper(p)) for p in (1e-6, 0.3, 0.8, 0.95, 1.0)),
    *((MinP(p), transformers.MinPLogitsWarper(p)) for p in (1e-6, 0.1, 0.5, 1.0)),
    *((Typical(p), transformers.TypicalLogitsWarper(p)) for p in (1e-6, 0.2, 0.8, 0.95)),
    *((Epsilon(e), transformers.EpsilonLogitsWarper(e)) for e in (1e-6, 0.01, 0.1, 0.9)),
]


@pytest.mark.parametrize(("ours", "theirs"), PROCESSORS, ids=lambda value: repr(value)[:30])
def test_a_processor_gives_the_peers_bits(ours: Processor, theirs: Peer) -> None:
    for seed in range(6):
        given = logits(seed, size=(0.1, 1, 3, 10)[seed % 4])
        if seed > 3:  # tokens that were ruled out before
            given[:, ::3] = -math.inf
        assert ours(given).equal(theirs(text(0, 4, VOCAB), given))


CONSTRAINTS: list[tuple[Constraint, Any]] = [
    *((NoRepeatNGrams(n), transformers.NoRepeatNGramLogitsProcessor(n)) for n in (1, 2, 3, 4)),
    *(
        (MinimumLength(n, (3, 9)), transformers.MinNewTokensLengthLogitsProcessor(2, n, [3, 9]))
        for n in (0, 1, 5, 30)
    ),
    (BannedTokens((0, 17, 39)), transformers.SuppressTokensLogitsProcessor([0, 17, 39])),
    (BannedTokens((7,)), transformers.NoBadWordsLogitsProcessor([[7]])),
]


@pytest.mark.parametrize(("ours", "theirs"), CONSTRAINTS, ids=lambda value: repr(value)[:30])
def test_a_constraint_gives_the_peers_bits(ours: Constraint, theirs: Peer) -> None:
    for seed in range(8):
        ids = text(seed, length=(2, 3, 7, 30)[seed % 4], entries=(2, 5)[seed // 4])
        given = logits(seed)
        assert ours(given, ids, 2).equal(theirs(ids, given))


def test_a_forced_token_is_the_peers() -> None:
    given = logits(0)
    for length in (1, 2):  # theirs forces the first token after one that begins the text
        ids = text(0, length, VOCAB)
        theirs = transformers.ForcedBOSTokenLogitsProcessor(5)(ids, given)  # type: ignore[arg-type]
        assert ForcedTokens((5,))(given, ids, 1).equal(theirs)
    forced = (4, None, 9)
    theirs = transformers.PrefixConstrainedLogitsProcessor(
        lambda row, ids: [forced[len(ids) - 3]] if len(ids) < 6 and len(ids) != 4 else list(range(VOCAB)), 1
    )
    for length in (3, 4, 5, 6, 9):
        ids = text(0, length, VOCAB)
        found = ForcedTokens(forced)(given, ids, 3).softmax(dim=-1)
        assert found.equal(theirs(ids, given).softmax(dim=-1))  # type: ignore[arg-type]


def test_where_we_differ_from_the_peer() -> None:
    """On ties, and where a sum of rounded numbers meets its border."""
    tied = torch.tensor([[1.0, 3.0, 2.0, 2.0]])
    ids = torch.zeros(1, 1, dtype=torch.long)

    def kept(processed: Tensor) -> list[int]:
        return processed[0].isfinite().nonzero()[:, 0].tolist()

    # Theirs keeps every token as likely as the k-th, so it may keep more than k.
    assert kept(TopK(2)(tied)) == [1, 2]
    assert kept(transformers.TopKLogitsWarper(2)(ids, tied)) == [1, 2, 3]  # type: ignore[arg-type]
    # Theirs sums from the unlikeliest up, and of equals keeps the higher id.
    equal = torch.zeros(1, 4)
    assert kept(TopP(0.5)(equal)) == [0, 1]
    assert kept(transformers.TopPLogitsWarper(0.5)(ids, equal)) == [2, 3]  # type: ignore[arg-type]
    # Theirs keeps every token as typical as the one that crosses.
    assert kept(Typical(0.5)(equal)) == [0, 1]
    assert kept(transformers.TypicalLogitsWarper(0.5)(ids, equal)) == [0, 1, 2, 3]  # type: ignore[arg-type]


ORDER: dict[str, Any] = {
    "repetition_penalty": 1.3,
    "no_repeat_ngram": 2,
    "banned_ids": [3, 4],
    "min_new_tokens": 6,
    "temperature": 0.7,
    "top_k": 20,
    "top_p": 0.9,
    "min_p": 0.02,
    "typical_p": 0.95,
    "epsilon": 0.01,
}


@given(st.sets(st.sampled_from(sorted(ORDER))), st.integers(0, 99))
def test_the_order_of_the_steps_is_the_peers(chosen: set[str], seed: int) -> None:
    settings = {name: value for name, value in ORDER.items() if name in chosen}
    ids = text(seed, 9, 6, rows=3)
    given = logits(seed, rows=3)
    peer = peer_processors(settings, prompt_length=5)
    expected = peer(ids, given).softmax(dim=-1)  # type: ignore[arg-type]
    found = strategy(**settings, end_ids=[8]).probabilities(given, ids, prompt_length=5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (found > 0).equal(expected > 0)


def peer_processors(settings: dict[str, Any], prompt_length: int) -> transformers.LogitsProcessorList:
    """The peer's processors, in the order that its own `generate` puts them in."""
    names = {"no_repeat_ngram": "no_repeat_ngram_size", "epsilon": "epsilon_cutoff"}
    config = transformers.GenerationConfig(
        do_sample=True,
        eos_token_id=8,
        **{names.get(name, name): value for name, value in settings.items() if name != "banned_ids"},
        **(
            {"bad_words_ids": [[token] for token in settings["banned_ids"]]}
            if "banned_ids" in settings
            else {}
        ),
        **({} if "top_k" in settings else {"top_k": 0}),
    )
    config._eos_token_tensor = torch.tensor([8])  # type: ignore[attr-defined]
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCAB, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
        )
    )
    return model._get_logits_processor(config, input_ids_seq_length=prompt_length, device="cpu")
