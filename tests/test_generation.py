"""The loop: cached or not, streamed or whole, the same ids and the same text; and where it ends."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    CACHES,
    CONTEXT_LENGTH,
    VOCAB_SIZE,
    fresh_model,
    logits_of,
    make_cache,
    random_ids,
    small_config,
    small_model,
    small_tokenizer,
    text_config,
)
from hypothesis import given
from hypothesis import strategies as st
from published import Recipe, document_of, gemma, llama2, llama3, mistral, qwen, write
from test_model import config_of, ours_from, peer_model

from llmref.decoding import strategy
from llmref.generation import (
    beam_search,
    generate,
    generate_ids,
    generate_naive,
    prompt_ids,
    stream,
)
from llmref.generation.text import until
from llmref.model import Transformer
from llmref.tokenizer import Tokenizer, load_tokenizer

GREEDY = strategy(temperature=0)
ENDLESS = text_config(eos_id=None)


def passes(model: Transformer) -> list[int]:
    """The sizes of the forward passes that happen from now on."""
    sizes: list[int] = []
    model.embedding.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[1]))
    return sizes


@given(
    window=st.sampled_from([None, 1, 4]),
    norm_position=st.sampled_from(["pre", "post"]),
    length=st.integers(1, 20),
    new=st.integers(0, 12),
    seed=st.integers(0, 9),
)
def test_with_any_cache_the_ids_are_those_without(
    window: int | None, norm_position: str, length: int, new: int, seed: int
) -> None:
    config = small_config(window=window, norm_position=norm_position)
    model, ids = small_model(config), random_ids(length, seed=seed).tolist()
    naive = generate_naive(model, ids, new)
    assert len(naive) == new
    for cache in (None, *(make_cache(kind, config) for kind in CACHES)):
        assert list(generate_ids(model, ids, GREEDY, new, cache=cache)) == naive


def test_each_new_token_is_one_pass() -> None:
    model, ids = fresh_model(), random_ids(7).tolist()
    sizes = passes(model)
    assert len(list(generate_ids(model, ids, GREEDY, 5))) == 5
    assert sizes == [7, 1, 1, 1, 1]
    sizes.clear()
    assert list(generate_ids(model, ids, GREEDY, 0)) == []
    assert sizes == []


def test_it_ends_before_the_end_of_text_token() -> None:
    ids = random_ids(7).tolist()
    varied = strategy(temperature=5.0)
    endless = list(generate_ids(small_model(), ids, varied, 12, seed=0))
    place = next(place for place in range(2, 12) if endless[place] not in endless[:place])
    model = fresh_model(small_config(eos_id=endless[place]))
    sizes = passes(model)
    assert list(generate_ids(model, ids, varied, 12, seed=0)) == endless[:place]
    assert len(sizes) == place + 1  # and the pass that gave the end


def test_it_ends_when_the_context_is_full() -> None:
    model = small_model()
    assert len(list(generate_ids(model, random_ids(40).tolist(), GREEDY, 100))) == CONTEXT_LENGTH - 40
    assert list(generate_ids(model, random_ids(CONTEXT_LENGTH).tolist(), GREEDY, 100)) == []


def test_a_seed_repeats_the_text_and_no_seed_does_not() -> None:
    model, ids = small_model(), random_ids(5).tolist()

    def draw(seed: int | None) -> list[int]:
        return list(generate_ids(model, ids, strategy(temperature=5.0), 20, seed=seed))

    assert draw(1) == draw(1) != draw(2)
    assert draw(None) != draw(None)


def test_generating_leaves_no_gradients_behind() -> None:
    model = fresh_model()
    list(generate_ids(model, [1, 2], GREEDY, 3))
    assert all(parameter.grad is None for parameter in model.parameters())


SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 2.0, "seed": 1},
    {"temperature": 1.0, "top_k": 20, "top_p": 0.9, "seed": 2},
    {"temperature": 0.9, "min_p": 0.05, "repetition_penalty": 1.3, "seed": 3},
    {"temperature": 0, "frequency_penalty": 1.0, "presence_penalty": 0.5},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("prompt", ["the dog", "강아지", "<|endoftext|>", " "])
def test_the_pieces_join_to_the_text(settings: dict[str, Any], prompt: str) -> None:
    model, tokenizer = small_model(ENDLESS), small_tokenizer()
    pieces = list(stream(model, tokenizer, prompt, max_new_tokens=20, **settings))
    whole = generate(model, tokenizer, prompt, max_new_tokens=20, **settings)
    assert "".join(pieces) == whole
    assert "" not in pieces
    ids = [0, *tokenizer.encode(prompt)]
    settings = dict(settings)
    seed = settings.pop("seed", None)
    new = generate_ids(model, ids, strategy(**settings), 20, seed=seed)
    assert whole == tokenizer.decode(new)


def test_the_prompt_begins_with_the_begin_token_where_there_is_one() -> None:
    tokenizer = small_tokenizer()
    for bos_id, first in ((0, [0]), (None, [])):
        model = fresh_model(replace(ENDLESS, bos_id=bos_id))
        sizes = passes(model)
        generate(model, tokenizer, "the dog", max_new_tokens=1)
        assert sizes == [len(first + tokenizer.encode("the dog"))]


@pytest.mark.parametrize(
    ("bos_id", "begins_with", "first"),
    [(0, None, [0]), (None, None, []), (0, [], []), (7, [0], [0]), (None, [0], [0])],
)
def test_what_begins_a_text_is_said_by_the_tokenizer_first(
    bos_id: int | None, begins_with: list[int] | None, first: list[int]
) -> None:
    ours = small_tokenizer()
    tokenizer = Tokenizer(ours.tokens, ours.merges, ours.special_tokens, begins_with=begins_with)
    model = fresh_model(replace(ENDLESS, bos_id=bos_id))
    assert prompt_ids(model, tokenizer, "the dog") == first + ours.encode("the dog")


@pytest.mark.parametrize("recipe", [llama2, mistral, gemma, llama3, qwen])
def test_a_text_goes_on_as_one_text(recipe: Recipe, tmp_path: Path) -> None:
    """In SentencePiece's style a text's first token has no space before it, and the next ones have."""
    tokenizer = load_tokenizer(write(tmp_path, document_of(recipe)))
    model = small_model(small_config(vocab_size=tokenizer.vocab_size + 40))  # with room that no token fills
    for prompt in ("the dog", "강아지는 ", "a<s>"):
        for seed in range(3):
            ids = prompt_ids(model, tokenizer, prompt)
            assert tuple(ids[:1]) == (tokenizer.begins_with or tuple(ids[:1]))
            new = list(generate_ids(model, ids, strategy(2.0), 20, seed=seed))
            pieces = stream(model, tokenizer, prompt, temperature=2.0, max_new_tokens=20, seed=seed)
            spelled = [token_id for token_id in new if token_id < tokenizer.vocab_size]
            assert tokenizer.decode(ids) + "".join(pieces) == tokenizer.decode(ids + spelled)


def test_a_prompt_of_ids_is_taken_as_it_is() -> None:
    model, tokenizer = small_model(ENDLESS), small_tokenizer()
    ids = prompt_ids(model, tokenizer, "the dog")
    greedy: dict[str, Any] = {"max_new_tokens": 9, "temperature": 0}
    assert generate(model, tokenizer, ids, **greedy) == generate(model, tokenizer, "the dog", **greedy)
    assert generate(model, tokenizer, ids[1:], **greedy) != generate(model, tokenizer, "the dog", **greedy)
    with pytest.raises(ValueError, match="the prompt is empty: give at least one token"):
        generate(model, tokenizer, [], **greedy)


def test_a_stop_text_ends_it_also_across_tokens() -> None:
    model, tokenizer = small_model(ENDLESS), small_tokenizer()
    settings: dict[str, Any] = {"max_new_tokens": 30, "temperature": 0}
    text = generate(model, tokenizer, "the cat", **settings)
    ids = list(generate_ids(model, [0, *tokenizer.encode("the cat")], GREEDY, 30))
    edges = [len(tokenizer.decode(ids[:n])) for n in range(1, len(ids))]
    tried = 0
    for edge in edges[::4]:
        stop = text[max(edge - 2, 0) : edge + 2]
        if "�" in stop or len(stop) < 3:
            continue
        tried += 1
        for stops in (stop, [stop], ("never there", stop), [stop, stop + "more"]):
            assert generate(model, tokenizer, "the cat", stop=stops, **settings) == text[: text.index(stop)]
            pieces = stream(model, tokenizer, "the cat", stop=stops, **settings)
            assert "".join(pieces) == text[: text.index(stop)]
    assert tried
    assert generate(model, tokenizer, "the cat", stop="never there", **settings) == text


def test_a_stop_text_saves_the_passes_after_it() -> None:
    model, tokenizer = fresh_model(ENDLESS), small_tokenizer()
    text = generate(model, tokenizer, "the cat", max_new_tokens=30, temperature=0)
    sizes = passes(model)
    generate(model, tokenizer, "the cat", max_new_tokens=30, temperature=0, stop=text[0])
    assert len(sizes) < 30


@given(
    st.text("abc", max_size=20),
    st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(0, 20), max_size=8),
)
def test_stop_texts_mean_the_same_whatever_the_pieces(text: str, stops: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    expected = text
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            expected = text[: min(starts)]
            break
    assert "".join(until(tuple(stops), iter(pieces))) == expected


def test_a_stream_keeps_back_no_more_than_it_must() -> None:
    pieces = iter(["ab", "cx", "ab", "d"])
    assert list(until(("abcd",), pieces)) == ["abcx", "abd"]
    assert list(until((), iter(["ab", "", "c"]))) == ["ab", "c"]


@pytest.mark.parametrize("run", [generate, stream])
@pytest.mark.parametrize(
    ("prompt", "settings", "message"),
    [
        ("", {}, "the prompt is empty"),
        ("dog " * 100, {}, r"the prompt has \d+ tokens, and this model's context length is 48"),
        ("dog", {"max_new_tokens": -1}, "max_new_tokens must be 0 or more, found -1"),
        ("dog", {"temperature": -1.0}, "temperature must be 0 or a positive number, found -1.0"),
        ("dog", {"top_p": 0.0}, "top-p must be over 0 and at most 1, found 0.0"),
        ("dog", {"top_p": 1.5}, "top-p must be over 0 and at most 1, found 1.5"),
        ("dog", {"top_k": 0}, "top-k must be a whole number of at least 1, found 0"),
        ("dog", {"min_p": 0.0}, "min-p must be over 0 and at most 1, found 0.0"),
        ("dog", {"repetition_penalty": 0.0}, "the repetition penalty must be a positive number, found 0.0"),
        ("dog", {"stop": ""}, "a stop text must not be empty"),
        ("dog", {"stop": ["x", ""]}, "a stop text must not be empty"),
    ],
)
def test_bad_input_is_an_error_at_once(
    run: Callable[..., Any], prompt: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(small_model(ENDLESS), small_tokenizer(), prompt, **settings)


def test_bad_ids_are_errors() -> None:
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate_ids(small_model(), [], GREEDY, 3)
    with pytest.raises(ValueError, match="token ids must be from 0 to 60, found 61"):
        list(generate_ids(small_model(), [61], GREEDY, 3))
    for kind in CACHES:
        cache = make_cache(kind, small_config())
        small_model()(torch.tensor([[1, 2]]), torch.tensor([[0, 1]]), cache)
        with pytest.raises(ValueError, match="needs an empty cache, found one that holds 2 tokens"):
            generate_ids(small_model(), [1, 2], GREEDY, 3, cache=cache)
    with torch.no_grad():
        broken = fresh_model()
        broken.final_norm.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="found NaN or infinity"):
        list(generate_ids(broken, [1], GREEDY, 3))


# Penalties see the text so far


def test_penalties_see_the_prompt_and_the_new_ids() -> None:
    model, ids = small_model(), random_ids(7).tolist()
    settings: list[dict[str, Any]] = [
        {"repetition_penalty": 1e6},  # greedy never takes an id twice, whether it was read or written
        {"presence_penalty": 1e6},  # nor one that it has written
    ]
    for setting in settings:
        new = list(generate_ids(model, ids, strategy(0, **setting), 20))
        assert len(set(new)) == len(new)
    once = list(generate_ids(model, ids, strategy(0, **settings[0]), 20))
    assert not set(once) & set(ids)
    # The first token is chosen before any was written: these penalties leave it alone, although it was read.
    first = generate_naive(model, ids, 1)
    ids = [*ids, *first]
    for chooser in (strategy(0, frequency_penalty=1e6), strategy(0, presence_penalty=1e6)):
        assert list(generate_ids(model, ids, chooser, 1)) == generate_naive(model, ids, 1)


# Beam search


def peer_with_an_end(eos_id: int | None) -> Any:
    """A tiny random model of the peer library, and ours with its weights."""
    peer = peer_model("Llama")
    peer.config.eos_token_id = peer.generation_config.eos_token_id = eos_id  # type: ignore[union-attr]
    return peer, ours_from(peer, replace(config_of(peer), eos_id=eos_id))


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -0.7, 2.0])
@pytest.mark.parametrize("beams", [2, 5])
def test_beam_search_finds_what_the_peer_library_finds(beams: int, length_penalty: float) -> None:
    ended = 0
    for seed in range(2):
        ids = random_ids(1, 5, seed=seed)
        first = generate_naive(ours_from(peer_model("Llama")), ids[0].tolist(), 4)
        for eos_id in (None, first[-1]):
            peer, model = peer_with_an_end(eos_id)
            theirs = peer.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=10,
                num_beams=beams,
                num_return_sequences=beams,
                length_penalty=length_penalty,
                early_stopping="never",
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
            )
            found = beam_search(model, ids[0].tolist(), beams, 10, length_penalty)
            expected = []
            for row in theirs.sequences[:, 5:].tolist():
                ended += eos_id in row
                expected.append(row[: row.index(eos_id) + 1] if eos_id in row else row)
            assert [beam.ids for beam in found] == expected
            scores = torch.tensor([beam.score for beam in found])
            torch.testing.assert_close(scores, theirs.sequences_scores, rtol=1e-4, atol=1e-4)
    assert ended or length_penalty > 1  # which favours the longest texts


@pytest.mark.parametrize("eos_id", [None, 2])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 3.0, -1.0])
def test_with_enough_beams_it_finds_the_best_of_all_texts(length_penalty: float, eos_id: int | None) -> None:
    steps = 3
    texts = list(itertools.product(range(4), repeat=steps))
    for seed in range(4):
        model = small_model(small_config(vocab_size=4, n_blocks=1, eos_id=eos_id), seed=seed)
        logits = logits_of(model, torch.tensor([[1, 3, *text] for text in texts]))
        logs = logits[:, 1:-1].log_softmax(dim=-1)
        best = (-math.inf, [0])
        for row, text in enumerate(texts):
            new = list(text[: text.index(eos_id) + 1]) if eos_id in text else list(text)
            total = sum(logs[row, place, token].item() for place, token in enumerate(new))
            best = max(best, (total / len(new) ** length_penalty, new))
        found = beam_search(model, [1, 3], 4**steps, steps, length_penalty)[0]
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
    assert len(beam_search(small_model(), [1], 100, 1)) == VOCAB_SIZE  # there are no more texts than this
    assert beam_search(small_model(), [1], 3, 0)[0].ids == []
    full = beam_search(small_model(), random_ids(CONTEXT_LENGTH - 2).tolist(), 3, 100)
    assert [len(beam.ids) for beam in full] == [2, 2, 2]


@pytest.mark.parametrize(
    ("beams", "new", "length_penalty", "message"),
    [
        (0, 5, 1.0, "beam search needs at least 1 beam, found 0"),
        (2, -1, 1.0, "max_new_tokens must be 0 or more, found -1"),
        (2, 5, math.nan, "the length penalty must be a finite number, found nan"),
    ],
)
def test_bad_beam_settings(beams: int, new: int, length_penalty: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        beam_search(small_model(), [1], beams, new, length_penalty)
    with pytest.raises(ValueError, match="the prompt is empty"):
        beam_search(small_model(), [], 2, 5)
