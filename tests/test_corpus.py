"""The small bilingual world: it says what it claims to say, as often as it claims."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmref.corpus import FACTS, HEROES, World, english, korean
from llmref.corpus.chain import Chain, State
from llmref.corpus.grammar import (
    END,
    Option,
    Variable,
    Vocabulary,
    build_trie,
    compile_template,
    parse_parts,
    split_units,
)
from llmref.corpus.references import REASONS, VERBS, reference_lines
from llmref.corpus.words import ANIMALS, Word, final_consonant, with_particle, words
from llmref.corpus.world import LANGUAGES, held_out
from llmref.tokenizer import Tokenizer

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def tokenizer(world: World) -> Tokenizer:
    return Tokenizer.train(world.documents(1000, seed=1), 700)


class Bytes:
    """A tokenizer without a vocabulary: a token for each byte, so that many units begin alike."""

    special_tokens: Mapping[str, int] = {"<|endoftext|>": 256}

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


# A world small enough to write out whole.

SMALL = """
[start]
3 - -> en:greeting
1 The {pet} sleeps. -> en:end

[en:greeting]
2 The {pet} meets the {other}. -> en:more
1 The {pet} sings. -> en:more

[en:more]
2 Then the {pet} and the {other} dance! -> en:end
1 - -> en:end
"""
PETS = words("개 dog, 고양이 cat, 소 cow")


def small_chain() -> Chain:
    variables = (
        Variable("pet", 0, {None: ((0, 0.5), (1, 0.3), (2, 0.2))}),
        Variable("other", 1, {0: ((1, 0.25), (2, 0.75)), 1: ((0, 1.0),), 2: ((0, 0.5), (1, 0.5))}, parent=0),
    )
    vocabulary = Vocabulary("en", {"pet": (0, PETS), "other": (1, PETS)})
    return Chain(parse_parts(SMALL), variables, {"en": vocabulary}, "start")


def derivations(
    chain: Chain, state: State, probability: float = 1.0, text: str = ""
) -> Iterator[tuple[str, float]]:
    """Every way through a chain: its text and its probability, with nothing clever."""
    choices = chain.step(state)
    if not choices:
        yield text, probability
    for choice in choices:
        yield from derivations(chain, choice.state, probability * choice.probability, text + choice.unit)


@pytest.fixture(scope="module")
def small_world() -> World:
    world = World()
    world.chain = small_chain()
    return world


@pytest.fixture(scope="module")
def small_documents(small_world: World) -> dict[str, float]:
    found = list(derivations(small_world.chain, small_world.chain.start))
    assert len({text for text, _ in found}) == len(found), "two derivations give one text"
    return dict(found)


def test_probabilities_of_all_documents_sum_to_one(small_documents: dict[str, float]) -> None:
    assert math.fsum(small_documents.values()) == pytest.approx(1.0, abs=1e-12)
    assert small_documents["The dog sleeps."] == pytest.approx(0.25 * 0.5)
    assert small_documents["The dog sings. Then the dog and the cow dance!"] == pytest.approx(
        0.75 / 3 * 0.5 * 2 / 3 * 0.75
    )


def test_exact_figures_equal_those_of_all_documents(
    small_world: World, small_documents: dict[str, float]
) -> None:
    entropy = -math.fsum(p * math.log(p) for p in small_documents.values())
    tokens = math.fsum(p * (len(text.encode()) + 1) for text, p in small_documents.items())
    assert small_world.entropy() == pytest.approx(entropy, abs=1e-12)
    assert small_world.expected_tokens(Bytes()) == pytest.approx(tokens, abs=1e-9)
    for text, probability in small_documents.items():
        assert small_world.probability(text) == pytest.approx(probability, rel=1e-12)


def test_next_token_equals_that_of_all_documents(
    small_world: World, small_documents: dict[str, float]
) -> None:
    encoded = {(*text.encode(), 256): p for text, p in small_documents.items()}
    for prefix in {ids[:length] for ids in encoded for length in range(len(ids))}:
        expected: dict[int, float] = Counter()
        for ids, probability in encoded.items():
            if ids[: len(prefix)] == prefix:
                expected[ids[len(prefix)]] += probability
        total = sum(expected.values())
        found = small_world.next_token(prefix, Bytes())
        assert found == pytest.approx({token: p / total for token, p in expected.items()}, abs=1e-12)


def test_drawn_documents_follow_the_probabilities(
    small_world: World, small_documents: dict[str, float]
) -> None:
    count = 6000
    drawn = Counter(small_world.documents(count, seed=3))
    walked = Counter(
        "".join(choice.unit for _, choice in small_world.chain.walk(random.Random(seed)))
        for seed in range(1500)
    )
    assert set(drawn) | set(walked) <= set(small_documents)
    for found, size in ((drawn, count), (walked, 1500)):
        chi_square = sum((found[text] - size * p) ** 2 / (size * p) for text, p in small_documents.items())
        freedom = len(small_documents) - 1
        assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


# The world itself.


def test_choices_sum_to_one_and_differ_in_every_situation(world: World) -> None:
    met = 0.0
    for share, choices in world.chain.visits():
        units = [unit for _, unit in choices]
        assert len(set(units)) == len(units), f"two choices look alike: {units}"
        assert abs(sum(probability for probability, _ in choices) - 1) < 1e-9
        met += share if units == [END] or END in units else 0.0
    assert met >= 1.0


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_a_text_has_one_derivation(world: World, seed: int) -> None:
    text = world.sample(seed)
    states = [world.chain.start]
    for unit in [*split_units(text), END]:
        states = [
            choice.state for state in states for choice in world.chain.step(state) if choice.unit == unit
        ]
        assert len(states) == 1
    assert not world.chain.step(states[0])
    assert math.isfinite(world.log_probability(text))


def test_entropy_equals_the_mean_over_drawn_documents(world: World) -> None:
    surprises = [-world.log_probability(text) for text in world.documents(500, seed=11)]
    mean = math.fsum(surprises) / len(surprises)
    deviation = math.sqrt(math.fsum((s - mean) ** 2 for s in surprises) / len(surprises))
    assert abs(world.entropy() - mean) < 4 * deviation / math.sqrt(len(surprises))


def test_expected_tokens_equals_the_mean_over_drawn_documents(world: World, tokenizer: Tokenizer) -> None:
    lengths = [len(tokenizer.encode(text)) + 1 for text in world.documents(800, seed=12)]
    mean = sum(lengths) / len(lengths)
    deviation = math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths))
    assert abs(world.expected_tokens(tokenizer) - mean) < 4 * deviation / math.sqrt(len(lengths))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_next_token_multiplies_to_the_probability_of_the_text(
    world: World, tokenizer: Tokenizer, seed: int
) -> None:
    text = world.sample(seed)
    end = tokenizer.special_tokens["<|endoftext|>"]
    ids = [*tokenizer.encode(text), end]
    distributions = list(world.next_tokens(ids, tokenizer))
    assert all(sum(each.values()) == pytest.approx(1.0) for each in distributions[:-1])
    assert distributions[-1] == {}
    found = math.fsum(math.log(each[token]) for each, token in zip(distributions, ids, strict=False))
    assert found == pytest.approx(world.log_probability(text), abs=1e-6)
    assert world.next_token([end, *ids[:3]], tokenizer) == world.next_token(ids[:3], tokenizer)


def test_first_tokens_come_as_often_as_claimed(world: World, tokenizer: Tokenizer) -> None:
    count = 2500
    claimed = world.next_token([], tokenizer)
    found = Counter(tokenizer.encode(text)[0] for text in world.documents(count, seed=21))
    assert set(found) <= set(claimed)
    for token, probability in claimed.items():
        spread = math.sqrt(probability * (1 - probability) / count)
        assert abs(found[token] / count - probability) < 5 * spread + 1 / count


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_tokens_never_cross_a_unit(world: World, tokenizer: Tokenizer, seed: int) -> None:
    text = world.sample(seed)
    apart = [token for unit in split_units(text) for token in tokenizer.encode(unit)]
    assert tokenizer.encode(text) == apart


def test_same_seed_same_documents(world: World) -> None:
    assert list(world.documents(5, seed=7)) == list(World().documents(5, seed=7))
    assert world.sample(7) == next(world.documents(5, seed=7))
    assert len(set(world.documents(200, seed=8))) > 150


def test_the_example_prompt_is_a_likely_beginning(world: World) -> None:
    beginnings = Counter(split_units(text)[0] for text in world.documents(2000, seed=5))
    assert beginnings["옛날에"] > 200
    assert world.next_unit("") == pytest.approx(
        {choice.unit: choice.probability for choice in world.chain.step(world.chain.start)}
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_language_alone(language: str) -> None:
    hangul = [any(map(_is_hangul, text[:3])) for text in World(languages=(language,)).documents(200, seed=2)]
    assert all(hangul) if language == "ko" else not any(hangul)


def _is_hangul(character: str) -> bool:
    return "가" <= character <= "힣"


def test_english_never_writes_a_before_a_vowel(world: World) -> None:
    for text in world.documents(1000, seed=6):
        units = split_units(text)
        for first, second in zip(units, units[1:], strict=False):
            assert not (first in ("A", " A", " a") and second[1] in "aeiou"), text


# Facts


def test_facts_can_be_looked_up(world: World) -> None:
    assert len(FACTS) == 3 * len(HEROES) == len({fact.name for fact in FACTS}) == 72
    for fact in world.facts:
        assert world.fact(fact.name) is fact
        assert fact.value.ko in fact.ko and fact.value.en in fact.en and fact.hero.ko in fact.ko
    with pytest.raises(ValueError, match=r"minji-home.*'minji-shoe'"):
        world.fact("minji-shoe")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fact_is_told_and_certain(world: World, language: str) -> None:
    probes = world.fact_probes(language)
    assert Counter(probe.name for probe in probes) == {fact.name: 2 for fact in FACTS}
    for probe in probes:
        assert world.next_unit(probe.prefix) == {probe.right: pytest.approx(1.0)}
        assert len(probe.wrong) == 11 and probe.right not in probe.wrong


@pytest.mark.parametrize("text", ["Minji lives in the castle.", "없는 말입니다.", "7  times", "", "The dog"])
def test_what_is_not_so_is_never_said(world: World, text: str) -> None:
    assert world.probability(text) == 0
    assert world.log_probability(text) == -math.inf


# References


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("new", [False, True])
def test_reference_probes(language: str, new: bool) -> None:
    world = World("held-out pairs" if new else "train")
    probes = world.reference_probes(language, held_out=new, count=120)
    assert Counter(probe.name for probe in probes) == {"reference-actor": 60, "reference-other": 60}
    forms = {animal.form(language, "였습니다" if language == "ko" else ""): animal for animal in ANIMALS}
    for probe in probes:
        assert world.next_unit(probe.prefix) == {probe.right: pytest.approx(1.0)}
        right, wrong = (ANIMALS.index(forms[word.strip()]) for word in (probe.right, *probe.wrong))
        pair = (right, wrong) if probe.name == "reference-actor" else (wrong, right)
        assert held_out(*pair) == new


def test_held_out_pairs_never_occur_in_training() -> None:
    pairs = {(a, b) for a in range(12) for b in range(12) if a != b}
    new = {pair for pair in pairs if held_out(*pair)}
    assert 0.1 < len(new) / len(pairs) < 0.2
    for role in (0, 1):
        assert {pair[role] for pair in new} == {pair[role] for pair in pairs - new} == set(range(12))
    train, unseen = World(), World("held-out pairs")
    for a, b in pairs:
        text = f"The {ANIMALS[a].en} chased the {ANIMALS[b].en} because it was angry. "
        text += f"The angry one was the {ANIMALS[a].en}."
        assert (train.probability(text) > 0) != held_out(a, b)
        assert (unseen.probability(text) > 0) == held_out(a, b)


def test_meaning_alone_decides() -> None:
    used = [name for verb in VERBS for name in (*verb.actor, *verb.other)]
    assert set(used) == set(REASONS)
    actor = {name for verb in VERBS for name in verb.actor}
    other = {name for verb in VERBS for name in verb.other}
    assert len(actor & other) >= 8, "some reasons must point at either animal, as the verb says"
    for language in LANGUAGES:
        lines = reference_lines(language)
        answers = Counter()
        for weight, line in lines:
            answers["a" if line.rindex("{a") > line.rindex("{b") else "b"] += weight
        assert answers["a"] == answers["b"], "a guess must be right half of the time"
        assert ("그것" if language == "ko" else " it ") in lines[0][1]


# Words and templates


@pytest.mark.parametrize(
    ("word", "particle", "written"),
    [
        ("강아지", "가", "강아지가"),
        ("곰", "가", "곰이"),
        ("여우", "는", "여우는"),
        ("빵", "를", "빵을"),
        ("톰", "라는", "톰이라는"),
        ("사슴", "와", "사슴과"),
        ("강", "로", "강으로"),
        ("우물", "로", "우물로"),
        ("다리", "로", "다리로"),
        ("곰", "였습니다", "곰이었습니다"),
        ("오리", "였습니다", "오리였습니다"),
        ("숲", "에", "숲에"),
        ("곰", "에게", "곰에게"),
    ],
)
def test_particles(word: str, particle: str, written: str) -> None:
    assert with_particle(word, particle) == written


@given(st.integers(0xAC00, 0xD7A3).map(chr))
def test_final_consonants_follow_the_decomposition(syllable: str) -> None:
    import unicodedata

    assert (final_consonant(syllable) > 0) == (len(unicodedata.normalize("NFD", syllable)) == 3)


@pytest.mark.parametrize("word", ["", "dog", "ㄱ", "곰!"])
def test_particles_need_a_syllable(word: str) -> None:
    with pytest.raises(ValueError, match="Hangul syllable"):
        with_particle(word, "는")


def test_english_has_no_particles() -> None:
    assert Word("곰", "bear").form("en", "ko") == "곰"
    with pytest.raises(ValueError, match="no form '는'"):
        Word("곰", "bear").form("en", "는")


@given(st.text(alphabet="ab가. ,!?\"'1\n", max_size=12))
def test_units_are_the_text_or_an_error(text: str) -> None:
    try:
        units = split_units(text)
    except ValueError:
        return
    assert "".join(units) == text
    assert all(unit.strip() and unit.count(" ") <= 1 for unit in units)


@pytest.mark.parametrize("text", ["two  spaces", "7 dogs", "a\nb", "end "])
def test_what_is_no_unit_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="expected words and punctuation"):
        split_units(text)


def test_bad_templates_are_errors() -> None:
    vocabulary = Vocabulary("en", {"pet": (0, PETS)})
    with pytest.raises(ValueError, match="unknown slot 'cat': expected one of pet"):
        compile_template("The {cat} ran.", vocabulary)
    with pytest.raises(ValueError, match="touches"):
        compile_template("The {pet}s ran.", vocabulary)
    with pytest.raises(ValueError, match="expected 'weight template"):
        parse_parts("[start]\nno weight")
    with pytest.raises(ValueError, match="beginning of another"):
        build_trie([Option(1.0, ("Hi",), "x"), Option(1.0, ("Hi", "."), "y")])


def test_bad_arguments_are_errors(world: World) -> None:
    for wrong in ({"split": "test"}, {"languages": ("fr",)}, {"languages": ()}):
        with pytest.raises(ValueError, match="expected"):
            World(**wrong)
    with pytest.raises(ValueError, match="never says ' flies'"):
        world.next_unit("Minji flies")
    with pytest.raises(ValueError, match="never says token 999999 at position 0"):
        world.next_token([999999], Bytes())
    with pytest.raises(ValueError, match="even count"):
        world.reference_probes("en", count=3)


def test_both_languages_tell_the_same_parts() -> None:
    parts = {language: parse_parts(module.STORIES) for language, module in (("ko", korean), ("en", english))}
    assert set(parts["ko"]) == set(parts["en"])
    for name in parts["ko"]:
        assert {after for *_, after in parts["ko"][name]} == {after for *_, after in parts["en"][name]}
