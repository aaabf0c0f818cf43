"""The live lab in a real browser, beside the package: the same ids, logits, choices and text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Response, expect

import llmref
from llmref.decoding import strategy
from llmref.generation import generate_ids
from llmref.model import Transformer, sequential_positions
from llmref.tokenizer import Tokenizer

PROMPTS = {
    "ko": ("옛날에", "어느 날 강아지가", "강아지가 다람쥐를 쫓아갔습니다. 그것이", "a"),
    "en": ("Once upon a time", "The dog chased the squirrel because it", "One day", "한글 and English 🐕"),
}
HARD_TEXTS = (
    "",
    " ",
    "옛날에 옛날에",
    "각각 가각힣뷁",
    "\u1100\u1161\u11a8 \u1112\u1161\u11ab\u1100\u1173\u11af",  # Jamo, decomposed
    "ㄱㄴㄷ ㅏㅑㅓ",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇰🇷",
    "שלום עולם مرحبا بالعالم",
    "\x00\x01\x1b\x7f\x85 \u2028\u2029\ufeff\u200b",
    "  two  spaces\t\ttabs\r\n\r\nlines   ",
    "def f(x: int) -> str:\n    return f'{x!r:>10}'  # 주석",
    "<|endoftext|> is text here",
    "3.14159 1234567 ١٢٣ ⅷ ²",
    "naïve café e\u0301 ﬁ Straße İ",
    "\U0001f9ff\U0002070e\U000e0001",
    "가" * 2000,
    "ab" * 1000,
    "x" * 2000,
)
STRATEGIES: tuple[dict[str, float | int | None], ...] = (
    {"temperature": 0.0, "top_k": None, "top_p": None},
    {"temperature": 1.0, "top_k": None, "top_p": None},
    {"temperature": 0.8, "top_k": None, "top_p": None},
    {"temperature": 2.0, "top_k": 40, "top_p": None},
    {"temperature": 0.8, "top_k": 5, "top_p": 0.9},
    {"temperature": 1.3, "top_k": 1, "top_p": None},
    {"temperature": 1.0, "top_k": None, "top_p": 0.95},
    {"temperature": 0.5, "top_k": None, "top_p": 0.05},
)
PAGES = [(language, path) for language in ("ko", "en") for path in ("index", "generation")]
LIMIT_BYTES = 2_500_000
expect.set_options(timeout=60_000)

Modules = Callable[[str, Any], Any]
Count = Callable[..., None]
Tiny = tuple[Transformer, Tokenizer]


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    """The package's model, which is the oracle."""
    torch.set_num_threads(1)
    return llmref.load_tiny()


@pytest.fixture(autouse=True)
def patience(page: Page) -> None:
    """A busy machine is no error."""
    page.set_default_timeout(180_000)


@pytest.fixture
def modules(page: Page, site_url: str) -> Modules:
    """Runs JavaScript on the page, with the lab's modules and a fresh model at hand."""
    page.goto(f"{site_url}/ko/generation.html", wait_until="domcontentloaded")

    def run(body: str, argument: Any) -> Any:
        result = page.evaluate(
            """async ([body, argument]) => {
                const module = (name) => import(new URL(`assets/labs/${name}.js`, document.baseURI).href);
                const [{ loadTiny }, sampling, { Writer }] =
                    [await module("load"), await module("sampling"), await module("writer")];
                const { model, tokenizer } = await loadTiny();
                const work = new Function("model", "tokenizer", "sampling", "Writer", "argument", body);
                return JSON.stringify(work(model, tokenizer, sampling, Writer, argument));
            }""",
            [body, argument],
        )
        return json.loads(result)  # one text crosses over much quicker than many numbers

    return run


def prompt_ids(tiny: Tiny, prompt: str) -> list[int]:
    model, tokenizer = tiny
    assert model.config.bos_id is not None
    return [model.config.bos_id, *tokenizer.encode(prompt)]


def greedy_ids(tiny: Tiny, prompt: str, count: int) -> list[int]:
    return list(generate_ids(tiny[0], prompt_ids(tiny, prompt), strategy(temperature=0), count))


def close(found: list[Any], expected: torch.Tensor, atol: float) -> None:
    """The lab's numbers are the package's to a thousandth."""
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float32), expected, rtol=1e-3, atol=atol)


def open_lab(page: Page, address: str) -> Locator:
    """The live lab of a page, asked for, loaded and at rest."""
    page.emulate_media(reduced_motion="reduce")  # so that the front page's lab does not begin by itself
    page.goto(address)
    lab = page.locator(".llmref-lab").first
    lab.locator(".lab-load").click()
    expect(lab).to_have_class(re.compile("lab-ready"))
    return lab


def story(lab: Locator) -> str:
    """What the lab shows as its text, as a reader sees it."""
    return " ".join(lab.locator(".lab-story").inner_text().split())


def test_ids_are_the_packages(modules: Modules, tiny: Tiny, count: Count) -> None:
    found = modules("return argument.map((text) => tokenizer.encode(text))", list(HARD_TEXTS))
    for text, ids in zip(HARD_TEXTS, found, strict=True):
        assert ids == tiny[1].encode(text), repr(text[:40])
    count("hard texts with the package's ids in the lab", len(HARD_TEXTS))


def test_decoding_never_gives_half_a_character(modules: Modules, tiny: Tiny) -> None:
    lines = [list(tiny[1].encode(text)) for text in HARD_TEXTS] + [[200, 230, 255, 240, 3, 129, 10]]
    found = modules(
        """return argument.map((ids) => {
            const stream = tokenizer.stream();
            return [...ids.map((id) => stream.push(id)), stream.flush()];
        })""",
        lines,
    )
    for ids, pieces in zip(lines, found, strict=True):
        decoder = tiny[1].stream()
        assert pieces == [*(decoder.push(token_id) for token_id in ids), decoder.flush()]
        assert "".join(pieces) == tiny[1].decode(ids)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_logits_are_pytorchs_at_every_step_of_the_cache(
    modules: Modules, tiny: Tiny, language: str, count: Count
) -> None:
    model, _ = tiny
    for prompt in PROMPTS[language]:
        given = prompt_ids(tiny, prompt)
        ids = [*given, *greedy_ids(tiny, prompt, 40)]
        found = modules(
            "return argument.map((id) => { model.read(id); return Array.from(model.logits()); })",
            ids,
        )
        with torch.inference_mode():
            expected = model(torch.tensor([ids]), sequential_positions(torch.tensor([ids])))[0]
        close(found, expected, atol=1e-4)
        count("steps whose logits equal PyTorch's in the lab", len(ids))


def test_a_cache_cut_back_gives_the_same_logits(modules: Modules, tiny: Tiny) -> None:
    model, _ = tiny
    found = modules(
        """const writer = new Writer(model, tokenizer);
        for (const prompt of argument) writer.setPrompt(prompt);
        return { ids: writer.ids, length: model.length, logits: Array.from(writer.logits) };""",
        ["옛날에 강아지가", "옛날에 강아지가 살았습니다.", "옛날에 고양이가", "옛날에", "옛날에"],
    )
    ids = prompt_ids(tiny, "옛날에")
    assert found["ids"] == ids
    assert found["length"] == len(ids)
    with torch.inference_mode():
        expected = model(torch.tensor([ids]), sequential_positions(torch.tensor([ids])))[0, -1]
    close(found["logits"], expected, atol=1e-4)


def test_attention_weights_are_the_packages(modules: Modules, tiny: Tiny) -> None:
    model, _ = tiny
    ids = prompt_ids(tiny, PROMPTS["ko"][2])
    found = modules(
        "return argument.map((id) => model.read(id).map((block) => block.map((head) => Array.from(head))))",
        ids,
    )
    run = llmref.trace(model, torch.tensor([ids]))
    for position, blocks in enumerate(found):
        for layer, heads in enumerate(blocks):
            expected = run[f"blocks.{layer}.attention.weights"][0, :, position, : position + 1]
            torch.testing.assert_close(
                torch.tensor(heads, dtype=torch.float32), expected, rtol=1e-3, atol=1e-5
            )


def test_sampling_is_the_packages(modules: Modules, tiny: Tiny) -> None:
    model, _ = tiny
    ids = prompt_ids(tiny, "옛날에")
    found = modules(
        """argument.ids.forEach((id) => model.read(id));
        const logits = model.logits();
        const ranked = sampling.ranking(logits);
        return argument.strategies.map((s) => Array.from(sampling.distribution(
            logits, { temperature: s.temperature, topK: s.top_k, topP: s.top_p ?? 1 }, ranked)));""",
        {"ids": ids, "strategies": list(STRATEGIES)},
    )
    with torch.inference_mode():
        logits = model(torch.tensor([ids]), sequential_positions(torch.tensor([ids])))[0, -1]
    for settings, probabilities in zip(STRATEGIES, found, strict=True):
        expected = strategy(**settings).probabilities(logits)  # type: ignore[arg-type]
        torch.testing.assert_close(
            torch.tensor(probabilities, dtype=torch.float32), expected, rtol=1e-3, atol=1e-6
        )


def test_ties_go_to_the_lowest_id(modules: Modules) -> None:
    found = modules(
        """const logits = Float32Array.from([1, 3, 2, 3]);
        const ranked = sampling.ranking(logits);
        const of = (s) => Array.from(sampling.distribution(logits, { topK: null, topP: 1, ...s }, ranked));
        return [of({ temperature: 0 }), of({ temperature: 1, topK: 1 })];""",
        None,
    )
    assert found == [[0, 1, 0, 0], [0, 1, 0, 0]]


def test_a_seed_repeats_its_draws_and_the_draws_fit(modules: Modules) -> None:
    found = modules(
        """const draws = (seed) => {
            const random = sampling.seeded(seed);
            const probabilities = Float64Array.from([0.5, 0, 0.3, 0.2]);
            return Array.from({ length: 4000 }, () => sampling.draw(probabilities, random));
        };
        return [draws(7), draws(7), draws(8)];""",
        None,
    )
    assert found[0] == found[1] != found[2]
    shares = [found[0].count(token_id) / 4000 for token_id in range(4)]
    assert shares[1] == 0
    assert shares == pytest.approx([0.5, 0, 0.3, 0.2], abs=0.03)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_greedy_text_is_the_packages_token_for_token(
    modules: Modules, tiny: Tiny, language: str, count: Count
) -> None:
    for prompt in PROMPTS[language]:
        expected = greedy_ids(tiny, prompt, 60)
        found = modules(
            """const writer = new Writer(model, tokenizer);
            writer.setPrompt(argument);
            const greedy = { temperature: 0, topK: null, topP: 1 };
            const end = writer.promptLength + 60;
            while (!writer.ended && !writer.full && writer.ids.length < end) writer.step(greedy);
            const ids = writer.ids.slice(writer.promptLength);
            return { ids, ended: writer.ended, text: writer.written };""",
            prompt,
        )
        ids = found["ids"][:-1] if found["ended"] else found["ids"]
        assert ids == expected, prompt
        assert found["text"] == tiny[1].decode(expected)
        count("greedy tokens equal in the lab", len(ids))


@pytest.mark.parametrize(("language", "path"), PAGES)
def test_it_weighs_less_than_two_and_a_half_megabytes(
    page: Page, site_url: str, language: str, path: str, count: Count
) -> None:
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    lab = open_lab(page, f"{site_url}/{language}/{path}.html")
    expect(lab.locator(".lab-next tbody tr")).to_have_count(10)
    sizes = {each.url: len(each.body()) for each in responses if re.search("/assets/(labs|tiny)/", each.url)}
    assert any(url.endswith("model.safetensors") for url in sizes)
    assert sum(sizes.values()) < LIMIT_BYTES, sizes
    if (language, path) == ("ko", "index"):
        count("bytes that the lab loads", sum(sizes.values()))


@pytest.mark.parametrize(("language", "prompt"), [("ko", "옛날에"), ("en", "Once upon a time")])
def test_the_reader_writes_with_the_keyboard_alone(
    page: Page, site_url: str, tiny: Tiny, language: str, prompt: str
) -> None:
    lab = open_lab(page, f"{site_url}/{language}/generation.html")
    field = lab.locator(".lab-prompt input")
    field.focus()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(prompt)

    def reach(selector: str) -> None:
        for _ in range(40):
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"Tab never came to {selector}")

    reach(".lab-slider:first-of-type input")
    page.keyboard.press("Home")  # temperature 0 is greedy
    field.focus()
    reach(".lab-buttons button:nth-of-type(2)")
    expected = greedy_ids(tiny, prompt, 6)
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    decoder = tiny[1].stream()  # of a character begun and not ended, nothing is shown
    written = prompt + "".join(decoder.push(token_id) for token_id in expected[:2])
    assert story(lab).split(" ", 1)[1] == " ".join(written.split())

    field.focus()
    reach(".lab-chip")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    attention = lab.locator(".lab-attention")
    expect(attention).to_be_visible()
    model = tiny[0]
    heads = sum(block.attention.n_heads for block in model.config.blocks)
    expect(attention.locator(".lab-heads .lab-cell")).to_have_count(heads)
    reach(".lab-heads .lab-cell")
    page.keyboard.press("Enter")
    expect(attention.locator(".lab-heads .lab-cell").first).to_have_attribute("aria-pressed", "true")
    expect(attention.locator(".lab-heads .lab-cell").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(attention).to_be_hidden()


def test_a_run_writes_the_greedy_text_to_its_end(page: Page, site_url: str, tiny: Tiny) -> None:
    lab = open_lab(page, f"{site_url}/en/generation.html")
    lab.locator(".lab-prompt input").fill("Once upon a time")
    lab.locator(".lab-slider input").first.fill("0")
    lab.locator(".lab-field select").select_option(index=2)
    run = lab.locator(".lab-buttons button").first
    run.click()
    expect(run).to_be_disabled()
    model, tokenizer = tiny
    expected = tokenizer.decode(greedy_ids(tiny, "Once upon a time", model.config.context_length))
    shown = story(lab).removeprefix("start ").removesuffix(" end")
    assert shown == " ".join(f"Once upon a time{expected}".split())
    assert " ".join(expected.split()) in " ".join(lab.locator("[aria-live]").inner_text().split())


def test_the_sliders_act_on_the_logits_that_are_there(page: Page, site_url: str) -> None:
    lab = open_lab(page, f"{site_url}/ko/generation.html")
    rows = lab.locator(".lab-next tbody tr")
    before = rows.all_inner_texts()
    sliders = lab.locator(".lab-slider input")
    sliders.nth(0).fill("0")
    assert rows.first.locator(".lab-number").all_inner_texts()[1] == "100.0%"
    assert rows.nth(1).locator(".lab-number").all_inner_texts()[1] == "0%"
    sliders.nth(0).fill("2")
    sliders.nth(1).fill("3")
    drawn = [row.locator(".lab-drawn").inner_text() for row in rows.all()]
    assert [share != "0%" for share in drawn] == [True] * 3 + [False] * 7
    sliders.nth(1).fill("51")
    sliders.nth(0).fill("0.8")
    assert rows.all_inner_texts() == before


def test_a_click_takes_a_token_and_shows_where_it_looks(page: Page, site_url: str) -> None:
    lab = open_lab(page, f"{site_url}/ko/generation.html")
    chips = lab.locator(".lab-chip")
    count = chips.count()
    second = lab.locator(".lab-take").nth(1)
    name = second.inner_text()
    second.click()
    expect(chips).to_have_count(count + 1)
    assert name.startswith(chips.last.inner_text())
    chips.last.click()
    table = lab.locator(".lab-weights tbody tr")
    shares = [float(row.locator("td").last.inner_text().strip("<%")) for row in table.all()]
    rest = lab.locator(".lab-weights tfoot td").last
    total = sum(shares) + (float(rest.inner_text().strip("<%")) if rest.count() else 0)
    assert total == pytest.approx(100, abs=1)
    chips.last.click()
    expect(lab.locator(".lab-attention")).to_be_hidden()


@pytest.mark.parametrize(("language", "words"), [("ko", "문맥 길이|토큰까지"), ("en", "takes up to")])
def test_a_prompt_longer_than_the_context_is_said_so(
    page: Page, site_url: str, language: str, words: str
) -> None:
    lab = open_lab(page, f"{site_url}/{language}/generation.html")
    field = lab.locator(".lab-prompt input")
    field.fill("가나다 " * 200)
    expect(lab.locator(".lab-message")).to_contain_text(re.compile(words))
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(lab.locator(".lab-buttons button").first).to_be_disabled()
    field.fill("옛날에")
    expect(lab.locator(".lab-message")).to_be_empty()
    expect(lab.locator(".lab-buttons button").first).to_be_enabled()


def test_a_model_that_cannot_be_fetched_is_said_so_and_tried_again(page: Page, site_url: str) -> None:
    page.route("**/model.safetensors", lambda route: route.fulfill(status=503, body=""))
    page.goto(f"{site_url}/en/generation.html")
    lab = page.locator(".llmref-lab")
    lab.locator(".lab-load").click()
    expect(lab.locator(".lab-note")).to_contain_text("503")
    expect(lab.locator(".lab-story")).to_be_visible()
    page.unroute("**/model.safetensors")
    lab.locator(".lab-load").click()
    expect(lab).to_have_class(re.compile("lab-ready"))


@pytest.mark.parametrize(("language", "path"), PAGES)
def test_a_recorded_run_stands_there_without_scripts(
    browser: Browser, site_url: str, language: str, path: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site_url}/{language}/{path}.html")
    lab = page.locator(".llmref-lab")
    expect(lab.locator(".lab-story")).to_be_visible()
    assert len(story(lab)) > 40
    expect(lab.locator(".lab-next tbody tr")).to_have_count(10)
    expect(lab.locator(".lab-load")).to_be_hidden()
    assert lab.locator(".lab-steps tbody tr").count() > 10
    context.close()


@pytest.mark.parametrize("scheme", ["default", "slate"])
@pytest.mark.parametrize("language", ["ko", "en"])
def test_axe_finds_nothing_while_the_lab_is_used(
    page: Page, site_url: str, language: str, scheme: str
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    lab = open_lab(page, f"{site_url}/{language}/generation.html")
    page.evaluate("(scheme) => document.body.setAttribute('data-md-color-scheme', scheme)", scheme)
    lab.locator(".lab-slider input").nth(1).fill("3")
    for _ in range(12):
        lab.locator(".lab-take").first.click()
    lab.locator(".lab-chip").nth(8).click()
    lab.locator(".lab-cell").nth(5).click()
    page.wait_for_timeout(300)  # colours change smoothly
    found = Axe().run(page, context=".llmref-lab").response["violations"]
    assert found == [], [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
