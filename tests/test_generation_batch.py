"""A batch: each row gets what it would get alone, ends for itself, and costs nothing after that."""

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import (
    ANY_CACHES,
    CONTEXT_LENGTH,
    any_cache,
    fresh_model,
    latent_mixture_config,
    random_ids,
    small_config,
    small_model,
    small_tokenizer,
    text_config,
    with_windows,
)
from hypothesis import given
from hypothesis import strategies as st

from llmref.cache import GrowingCache, StaticCache
from llmref.cost import memory, size
from llmref.decoding import strategy
from llmref.fast import prepare
from llmref.generation import (
    generate,
    generate_batch,
    generate_batch_ids,
    generate_ids,
    generate_naive,
    stream_batch,
)
from llmref.generation import memory as memory_functions
from llmref.generation import text as text_functions
from llmref.generation.memory import available_memory, check_memory
from llmref.model import Transformer, sequential_positions

GREEDY = strategy(temperature=0)
WARM = strategy(temperature=2.0)
ENDLESS = text_config(eos_id=None)
PROMPTS = [random_ids(length, seed=length).tolist() for length in (11, 3, 17, 8)]
LIMITS = [9, 14, 5, 12]


def passes(model: Transformer) -> list[tuple[int, int]]:
    """The rows and tokens of the forward passes that happen from now on."""
    shapes: list[tuple[int, int]] = []
    model.embedding.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[:2]))
    return shapes


# Each row as it would be alone


@pytest.mark.parametrize("kind", ANY_CACHES)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    data=st.data(),
    window=st.sampled_from([None, 1, 4]),
    seed=st.integers(0, 99),
)
def test_each_row_gets_what_it_gets_alone(
    kind: str, lengths: list[int], data: st.DataObject, window: int | None, seed: int
) -> None:
    limits = data.draw(st.lists(st.integers(1, 12), min_size=len(lengths), max_size=len(lengths)))
    settings = data.draw(st.sampled_from(SETTINGS))
    config = with_windows(small_config(eos_id=seed % 61), window, None)
    model, chooser = small_model(config), strategy(**settings)
    prompts = [random_ids(length, seed=length).tolist() for length in lengths]
    seeds = [seed + row for row in range(len(prompts))]
    found = generate_batch_ids(
        model, prompts, chooser, limits, seed=seeds, cache=any_cache(kind, config, len(prompts))
    )
    for text, prompt, limit, own_seed in zip(found, prompts, limits, seeds, strict=True):
        alone = generate_ids(model, prompt, chooser, limit, seed=own_seed, cache=any_cache(kind, config))
        assert text.ids == list(alone)
        assert text.ended_by == ("length" if len(text.ids) == limit else "end")


SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 2.0},
    {"temperature": 1.0, "top_k": 20, "top_p": 0.9},
    {"temperature": 1.0, "repetition_penalty": 1.5},
    {"temperature": 1.0, "no_repeat_ngram": 2, "banned_ids": [3], "forced_ids": [None, 7]},
    {"temperature": 0, "frequency_penalty": 1.0, "presence_penalty": 0.5},
]


def test_latent_attention_and_experts_too() -> None:
    model = small_model(latent_mixture_config())
    for text, prompt, limit in zip(
        generate_batch_ids(model, PROMPTS, GREEDY, LIMITS), PROMPTS, LIMITS, strict=True
    ):
        assert text.ids == generate_naive(model, prompt, limit)


def test_a_prepared_model_writes_the_same() -> None:
    model = small_model(small_config(window=4))
    decoder = prepare(model, backend=None)
    limits = [1, 4, 0, 9]
    found = generate_batch_ids(decoder, PROMPTS, GREEDY, limits)
    assert [text.ids for text in found] == [
        generate_naive(model, prompt, limit) for prompt, limit in zip(PROMPTS, limits, strict=True)
    ]
    assert found[1].log_probabilities == pytest.approx(
        generate_batch_ids(model, PROMPTS, GREEDY, limits)[1].log_probabilities, abs=1e-4
    )


def test_a_seed_gives_the_same_text_in_any_batch() -> None:
    model = small_model()
    alone = list(generate_ids(model, PROMPTS[0], WARM, 12, seed=3))
    for others in ([], PROMPTS[1:], [PROMPTS[0]] * 3, PROMPTS[:0:-1]):
        first = generate_batch_ids(model, [PROMPTS[0], *others], WARM, 12, seed=3)[0]
        seeds = [*range(10, 10 + len(others)), 3]
        last = generate_batch_ids(model, [*others, PROMPTS[0]], WARM, 20, seed=seeds)[-1]
        assert first.ids == last.ids[:12] == alone


def test_without_a_seed_equal_prompts_differ() -> None:
    texts = generate_batch_ids(small_model(), [PROMPTS[0]] * 4, strategy(5.0), 12)
    assert len({tuple(text.ids) for text in texts}) == 4


# What leaves


def test_rows_that_end_leave_the_batch() -> None:
    model = fresh_model()
    shapes = passes(model)
    generate_batch_ids(model, PROMPTS, GREEDY, [1, 4, 2, 4])
    assert shapes == [(4, 17), (3, 1), (2, 1), (2, 1)]
    shapes.clear()
    generate_batch_ids(model, PROMPTS, GREEDY, [0, 0, 2, 0])
    assert shapes == [(1, 17), (1, 1)]
    shapes.clear()
    assert [text.ended_by for text in generate_batch_ids(model, PROMPTS, GREEDY, 0)] == ["length"] * 4
    assert shapes == []


@pytest.mark.parametrize("kind", ["growing", "rolling", "quantized"])
def test_what_they_had_read_leaves_with_them(kind: str) -> None:
    config = small_config()
    cache, alone = any_cache(kind, config), any_cache(kind, config)
    model = small_model(config)
    generate_batch_ids(model, PROMPTS, GREEDY, [1, 9, 2, 1], cache=cache)
    list(generate_ids(model, PROMPTS[1], GREEDY, 9, cache=alone))
    assert cache.n_bytes == alone.n_bytes


def test_each_ending_is_named() -> None:
    ids = random_ids(7).tolist()
    endless = list(generate_ids(small_model(), ids, WARM, 12, seed=0))
    place = next(place for place in range(2, 12) if endless[place] not in endless[:place])
    model = fresh_model(small_config(eos_id=endless[place]))
    full = random_ids(CONTEXT_LENGTH, seed=1).tolist()
    found = generate_batch_ids(model, [ids, ids, full], WARM, [12, place, 1], seed=0)
    assert [text.ended_by for text in found] == ["end", "length", "context"]
    assert [text.ids for text in found] == [endless[:place], endless[:place], []]
    (nearly,) = generate_batch_ids(small_model(), [full[2:]], GREEDY, 3)
    assert (nearly.ended_by, len(nearly.ids)) == ("context", 2)


# Log-probabilities


@pytest.mark.parametrize("settings", SETTINGS)
def test_log_probabilities_are_the_models_own(settings: dict[str, Any]) -> None:
    model = small_model()
    for text, prompt in zip(
        generate_batch_ids(model, PROMPTS, strategy(**settings), LIMITS, seed=1), PROMPTS, strict=True
    ):
        ids = torch.tensor([[*prompt, *text.ids]])
        with torch.no_grad():
            whole = model(ids, sequential_positions(ids)).log_softmax(dim=-1)[0]
        expected = [float(whole[len(prompt) - 1 + n, token_id]) for n, token_id in enumerate(text.ids)]
        assert text.log_probabilities == pytest.approx(expected, abs=1e-4)


# Texts


@pytest.mark.parametrize("settings", SETTINGS)
def test_each_text_is_the_one_it_is_alone(settings: dict[str, Any]) -> None:
    model, tokenizer = small_model(ENDLESS), small_tokenizer()
    prompts = ["the dog", "강아지", " ", [0, 1, 2]]
    for stop in ((), "t", ["e", "th"]):
        found = generate_batch(
            model,
            tokenizer,
            prompts,
            max_new_tokens=[20, 9, 14, 20],
            seed=[4, 5, 6, 7],
            stop=stop,
            **settings,
        )
        for text, prompt, limit, seed in zip(found, prompts, (20, 9, 14, 20), (4, 5, 6, 7), strict=True):
            alone = generate(model, tokenizer, prompt, max_new_tokens=limit, seed=seed, stop=stop, **settings)
            assert text.text == alone
            assert text.ended_by == "stop" or (text.ended_by, len(text.ids)) == ("length", limit)


def test_a_row_that_meets_its_stop_text_leaves() -> None:
    model, tokenizer = fresh_model(ENDLESS), small_tokenizer()
    prompts = ["the cat", "the dog saw"]
    whole = generate_batch(model, tokenizer, prompts, max_new_tokens=30, temperature=0)
    stop = whole[0].text[:6]
    assert stop not in whole[1].text
    shapes = passes(model)
    found = generate_batch(model, tokenizer, prompts, max_new_tokens=30, temperature=0, stop=stop)
    assert [text.ended_by for text in found] == ["stop", "length"]
    assert [text.text for text in found] == ["", whole[1].text]
    written = len(found[0].ids)
    assert found[0].ids == whole[0].ids[:written]
    assert len(found[0].log_probabilities) == written
    assert [rows for rows, _ in shapes] == [2] * written + [1] * (30 - written)


@pytest.mark.parametrize("stop", [(), "e", "the"])
def test_a_text_that_grows_never_takes_anything_back(stop: str) -> None:
    model, tokenizer = small_model(ENDLESS), small_tokenizer()
    settings: dict[str, Any] = {"max_new_tokens": 40, "temperature": 3.0, "seed": [1, 2, 3], "stop": stop}
    prompts = ["강아지가", "고양", "the"]
    whole = [text.text for text in generate_batch(model, tokenizer, prompts, **settings)]
    before = [""] * 3
    for texts in stream_batch(model, tokenizer, prompts, **settings):
        now = [text.text for text in texts]
        assert all(after.startswith(text) for text, after in zip(before, now, strict=True))
        before = now
    assert before == whole
    (nothing,) = stream_batch(model, tokenizer, prompts, max_new_tokens=0)
    assert [text.ended_by for text in nothing] == ["length"] * 3


# Where it takes long, a terminal shows how far it is


def test_a_bar_is_shown_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(stream: io.StringIO) -> str:
        monkeypatch.setattr(sys, "stderr", stream)
        generate_batch(small_model(ENDLESS), small_tokenizer(), ["the"], max_new_tokens=3)
        return stream.getvalue()

    bar = text_functions.tqdm
    monkeypatch.setattr(text_functions, "tqdm", lambda *given, **more: bar(*given, **(more | {"delay": 0})))
    assert shown(io.StringIO()) == ""
    assert "writing" in shown(Terminal())
    monkeypatch.setattr(text_functions, "tqdm", bar)
    assert shown(Terminal()) == ""  # it did not take long


# Memory is known before it starts


def test_memory_is_what_the_caches_and_the_logits_take() -> None:
    for config in (small_config(), small_config(window=4), latent_mixture_config()):
        model, prompts = small_model(config), [random_ids(9, seed=row).tolist() for row in range(3)]
        needed = memory(config, batch=3, context=14, bytes_per_number=4)
        cache = GrowingCache()
        generate_batch_ids(model, prompts, GREEDY, 6, cache=cache)
        assert cache.n_bytes == needed.cache  # 14 of its 15 tokens: the last is not read
        assert needed.weights == sum(p.numel() * p.element_size() for p in model.parameters())
        assert needed.logits == 3 * config.vocab_size * 8
        assert needed.total == needed.weights + needed.cache + needed.logits
    assert memory(config, 3, 14, 2).cache * 2 == needed.cache


def test_what_cannot_fit_is_refused_with_the_figures_before_anything_is_made() -> None:
    model, tokenizer = fresh_model(ENDLESS), small_tokenizer()
    shapes = passes(model)
    needed = memory(ENDLESS, 3, 30, 4)
    for free in (0, needed.cache + needed.logits - 1):
        request: Callable[..., Any] = lambda: generate_batch_ids(  # noqa: E731
            model,
            [[1] * 10, [2] * 25, [3]],
            GREEDY,
            [20, 5, 1],
            memory_limit=free,  # noqa: B023
        )
        with pytest.raises(ValueError, match="not enough memory") as error:
            request()
        for figure in ("3 texts of up to 30 tokens", size(needed.weights), size(needed.cache), size(free)):
            assert figure in str(error.value)
    with pytest.raises(ValueError, match="not enough memory"):
        generate_batch(model, tokenizer, ["the"], memory_limit=100)
    assert shapes == []
    generate_batch_ids(model, [[1] * 10, [2] * 25, [3]], GREEDY, [20, 5, 1], memory_limit=free + 1)
    assert shapes


def test_a_single_text_is_held_to_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_functions, "available_memory", lambda device: 1000)
    with pytest.raises(
        ValueError, match="memory for a text of up to 8 tokens.*; there is room for 0.977 KiB"
    ):
        generate_ids(small_model(), [1, 2, 3], GREEDY, 5)


def test_what_is_free_is_asked_of_the_system() -> None:
    free = available_memory(torch.device("cpu"))
    assert free is None or 1_000_000 < free < 1 << 50
    assert available_memory(torch.device("meta")) is None
    check_memory(small_model(), 1, 10)


# Bad input: said before any token is written


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([], {}, "a batch needs at least one prompt, found none"),
        ("the dog", {}, "a batch needs a list of prompts, found one text: 'the dog'"),
        (["dog", ""], {}, "row 1: the prompt is empty: give at least one character"),
        (["dog", []], {}, "row 1: the prompt is empty: give at least one token"),
        (
            ["dog", "dog " * 99],
            {},
            r"row 1: the prompt has \d+ tokens, and this model's context length is 48",
        ),
        (["dog", [1, 9999]], {}, r"row 1: token ids must be from 0 to \d+, found 9999"),
        (["dog", [-1]], {}, r"row 1: token ids must be from 0 to \d+, found -1"),
        (["dog"], {"max_new_tokens": -1}, "row 0: max_new_tokens must be 0 or more, found -1"),
        (["dog", "cat"], {"max_new_tokens": [3, -2]}, "row 1: max_new_tokens must be 0 or more, found -2"),
        (["dog", "cat"], {"max_new_tokens": [3]}, "max_new_tokens must be one .* or one for each, found 1"),
        (["dog", "cat"], {"seed": [1, 2, 3]}, "seed must be one for all 2 rows or one for each, found 3"),
        (["dog", "cat"], {"seed": []}, "seed must be one for all 2 rows or one for each, found 0"),
        (["dog"], {"stop": ""}, "a stop text must not be empty"),
        (["dog"], {"stop": ["x", ""]}, "a stop text must not be empty"),
        (["dog"], {"banned_ids": [9999]}, r"token ids must be from 0 to \d+, found 9999 in BannedTokens"),
        (["dog"], {"temperature": -1.0}, "temperature must be 0 or a positive number, found -1.0"),
    ],
)
@pytest.mark.parametrize("run", [generate_batch, stream_batch])
def test_bad_input_is_an_error_at_once(
    run: Callable[..., Any], prompts: list[Any], settings: dict[str, Any], message: str
) -> None:
    model = fresh_model(ENDLESS)
    shapes = passes(model)
    with pytest.raises(ValueError, match=message):
        run(model, small_tokenizer(), prompts, **settings)
    assert shapes == []


def test_a_cache_must_be_empty_and_large_enough() -> None:
    model = fresh_model()
    shapes = passes(model)
    for run in (
        lambda cache: generate_batch_ids(model, [[1, 2], [3]], GREEDY, [3, 9], cache=cache),
        lambda cache: generate_ids(model, [1, 2], GREEDY, 9, cache=cache),
    ):
        used = GrowingCache()
        used.extend(torch.tensor([[0, 1], [0, 1]]))
        with pytest.raises(ValueError, match="needs an empty cache, found one that holds 2 tokens"):
            run(used)
        with pytest.raises(ValueError, match="this cache holds 9 tokens, and the request may need 10"):
            run(StaticCache(model.config, 9, batch=2))
    assert shapes == []
    generate_batch_ids(model, [[1, 2], [3]], GREEDY, [3, 9], cache=StaticCache(model.config, 10, batch=2))
    with pytest.raises(ValueError, match="this cache holds 3 rows, found a batch of 2"):
        generate_batch_ids(model, [[1], [3]], GREEDY, 3, cache=StaticCache(model.config, 10, batch=3))


def test_logits_that_say_nothing_are_an_error() -> None:
    broken = fresh_model()
    with torch.no_grad():
        broken.final_norm.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="found NaN or infinity"):
        generate_batch_ids(broken, [[1], [2]], GREEDY, 3)
