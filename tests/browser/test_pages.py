"""Every page of the built site, in both languages, in a real Chromium."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from built_site import LANGUAGES, NOT_BUILT, SITE, page_names, read, transfer_bytes
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, expect
from test_house import concepts

# The front door sends its reader on at once, and has tests of its own; a server shows 404.html at any path.
PAGES = [name for name in page_names() if name.split("/")[-1] != "404.html" and name != "index.html"]
SCHEMES = {"light": "default", "dark": "slate"}
PATIENCE = 180_000  # milliseconds; a busy machine is no failure
NARROW = {"width": 390, "height": 844}
HEAVIEST = 600_000  # bytes that a page may ask for before its reader asks for the search or for a lab
WHOLE = {f"{language}/{slug}.html" for language in LANGUAGES for slug in [*concepts(), "index", "glossary"]}
# An API page has the same elements in every language (test_site_links.py): axe looks at the first alone.
SEEN_ALREADY = tuple(f"{language}/api/" for language in LANGUAGES[1:])
COLOURS = ["color-contrast", "link-in-text-block"]
CONTRAST = 4.5  # of text against what is behind it: WCAG 2.2, 1.4.3

SCROLL = """async () => {
    for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
        scrollTo(0, y);
        await new Promise((done) => requestAnimationFrame(done));
    }
    scrollTo(0, 0);
    await document.fonts.ready;
}"""

WIDER = """() => [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.tagName.toLowerCase() + (element.id ? "#" + element.id : "")
        + [...element.classList].map((name) => "." + name).join(""))
    .slice(0, 8)"""


# The words of all blocks of code whose colour is too near the one behind them, once for each pair of colours.
FAINT = """() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((each, i) => each * a + below[i] * (1 - a));
    const behind = (element) => {
        const own = parse(getComputedStyle(element).backgroundColor);
        if (own[3] === undefined) return own;
        return over(own, element.parentElement ? behind(element.parentElement) : [255, 255, 255]);
    };
    const light = (colour) => colour
        .map((each) => each / 255)
        .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
        .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
    const faint = new Map();
    const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (words.nextNode()) {
        const word = words.currentNode.data.trim();
        const element = words.currentNode.parentElement;
        if (!word || !element.closest(".highlight")) continue;
        const back = behind(element);
        const text = over(parse(getComputedStyle(element).color), back);
        const [low, high] = [light(text), light(back)].sort((a, b) => a - b);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < CONTRAST) faint.set(`${text} on ${back}`, `${word} has ${contrast.toFixed(2)}`);
    }
    return [...faint].map(([pair, word]) => `code too faint, ${word}: ${pair}`);
}""".replace("CONTRAST", str(CONTRAST))


@pytest.fixture
def open_page(browser: Browser, site_url: str) -> Iterator[Callable[..., Page]]:
    """Opens a page of the site in a context of its own: `open_page("ko/index.html", locale="ko-KR")`.

    The context is closed after the test.
    """
    contexts = []

    def start(name: str, *, watch: Callable[[Page], None] | None = None, **options: object) -> Page:
        assert name != NOT_BUILT, NOT_BUILT
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        if watch:
            watch(page)
        response = page.goto(f"{site_url}/{name}", wait_until="load")
        assert response, name
        assert response.ok, f"{name}: {response.status}"
        return page

    yield start
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared_context(browser: Browser) -> Iterator[BrowserContext]:
    """One context for the pages that are only looked at: what they share is fetched once."""
    context = browser.new_context(color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


class Watch:
    """What a page asks for and complains about, from before it is opened."""

    def __init__(self, page: Page) -> None:
        self.asked: list[str] = []
        self.wrong: list[str] = []
        page.on("request", self.request)
        page.on("response", self.response)
        page.on("console", self.console)
        page.on("pageerror", lambda error: self.wrong.append(f"throws {error}"))
        page.on("websocket", lambda socket: self.wrong.append(f"opens a socket to {socket.url}"))

    def request(self, one: Request) -> None:
        """Notes a request, which may go to the site alone."""
        self.asked.append(one.url)
        parts = urlsplit(one.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.wrong.append(f"asks another host: {one.url}")

    def response(self, one: Response) -> None:
        """Notes an answer, which may be no error."""
        if one.status >= 400:
            self.wrong.append(f"gets {one.status} for {one.url}")

    def console(self, message: ConsoleMessage) -> None:
        """Notes an error in the console."""
        if message.type == "error":
            self.wrong.append(f"writes to the console: {message.text}")


def unread_formulas(page: Page) -> list[str]:
    """Waits until the formulas are set, and gives those that KaTeX cannot read."""
    page.wait_for_function(
        "document.querySelectorAll('.arithmatex .katex, .arithmatex .katex-error').length"
        " >= document.querySelectorAll('.arithmatex').length"
    )
    broken = page.locator(".katex-error").all()
    return [f"has a formula that KaTeX cannot read: {each.get_attribute('title')}" for each in broken]


def axe(page: Page, scheme: Literal["light", "dark"], whole: bool) -> list[str]:
    """What axe finds in the page, as shown to a reader who prefers this scheme.

    By all of its rules; in the dark by those about colours alone, for no other sees a scheme. The colours of
    the thousands of words in blocks of code are left to `faint`, which asks the same of them in one go.
    """
    if scheme == "dark" and whole:
        page.emulate_media(color_scheme=scheme)
        page.reload(wait_until="load")
        page.evaluate(SCROLL)
    elif scheme == "dark":
        page.evaluate("(name) => { document.body.dataset.mdColorScheme = name; }", SCHEMES[scheme])
    shown = page.evaluate("document.body.dataset.mdColorScheme")
    if shown not in (SCHEMES[scheme], None):
        return [f"is shown in {shown!r} to who prefers {scheme}"]
    wrong = [f"{scheme}: {each}" for each in page.evaluate(FAINT)]
    runs: list[tuple[object, dict[str, object]]] = [({"exclude": [[".highlight"]]}, {"runOnly": COLOURS})]
    if scheme == "light":
        runs.append((None, {"rules": {rule: {"enabled": False} for rule in COLOURS}}))
    for context, options in runs:
        found = Axe().run(page, context=context, options={"resultTypes": ["violations"], **options})
        wrong += [
            f"axe, {scheme}: {violation['id']}: {violation['help']}: "
            + ", ".join(" ".join(map(str, node["target"])) for node in violation["nodes"][:5])
            for violation in found.response["violations"]
        ]
    return wrong


def too_heavy(page: Page, asked: list[str], site_url: str) -> list[str]:
    """What weighs most, if all that the page asks for is too much, as a server sends it, each file once."""
    asked += page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    paths = {urlsplit(each).path.lstrip("/") for each in asked if each.startswith(site_url)}
    sizes = sorted(((transfer_bytes(SITE / path), path) for path in paths), reverse=True)
    total = sum(size for size, _ in sizes)
    return [f"asks for {total:,} bytes, {HEAVIEST:,} at most: {sizes[:6]}"] if total > HEAVIEST else []


def sideways(page: Page) -> list[str]:
    """What makes the page scroll sideways on a phone."""
    page.set_viewport_size(NARROW)
    width = page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    page.evaluate("scrollTo(400, 0)")
    if (width, page.evaluate("scrollX")) == (NARROW["width"], 0):
        return []
    return [f"is {width} px wide on a screen of {NARROW['width']}: {', '.join(page.evaluate(WIDER))}"]


def strayed(page: Page, name: str, site_url: str) -> list[str]:
    """Where the language switch leads, if not to the same page in the other language."""
    language, _, path = name.partition("/")
    if language not in LANGUAGES:
        return []
    other = next(candidate for candidate in LANGUAGES if candidate != language)
    addresses = page.eval_on_selector_all(
        f"a[hreflang={other}]", "links => links.map((link) => link.href.split('#')[0])"
    )
    if page.evaluate("document.documentElement.lang") != language:
        return [f"does not say that it is in {language!r}"]
    return [] if set(addresses) == {f"{site_url}/{other}/{path}"} else [f"switches language to {addresses}"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_holds(
    name: str, shared_context: BrowserContext, site_url: str, count: Callable[..., None]
) -> None:
    """One page: quiet, light, its formulas set, its switch right, axe content, and narrow enough."""
    assert name != NOT_BUILT, NOT_BUILT
    page = shared_context.new_page()
    watch = Watch(page)
    response = page.goto(f"{site_url}/{name}", wait_until="load")
    assert response and response.ok, name
    page.evaluate(SCROLL)
    page.wait_for_load_state("networkidle")
    asked = list(watch.asked)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    if name.startswith(SEEN_ALREADY):
        schemes = ()
    wrong = [
        *too_heavy(page, asked, site_url),
        *unread_formulas(page),
        *strayed(page, name, site_url),
        *(wrong for scheme in schemes for wrong in axe(page, scheme, name in WHOLE)),
        *sideways(page),
        *dict.fromkeys(watch.wrong),
    ]
    formulas = page.locator(".arithmatex").count()
    page.close()
    assert not wrong, f"{name}:\n" + "\n".join(wrong)
    count("pages opened in Chromium: no console error, and no request to another host")
    count("requests of these pages, all to the site itself", len(watch.asked))
    count("axe runs that find nothing, light and dark", len(schemes))
    count("pages that do not scroll sideways at 390 px")
    count("pages whose language switch stays on the page", int(name.split("/")[0] in LANGUAGES))
    count("formulas set", formulas)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_search_and_the_model_are_fetched_when_they_are_asked_for(
    language: str, open_page: Callable[..., Page], count: Callable[..., None]
) -> None:
    watches: list[Watch] = []
    page = open_page(f"{language}/index.html", watch=lambda page: watches.append(Watch(page)))
    page.evaluate(SCROLL)
    page.wait_for_load_state("networkidle")

    def fetched(part: str) -> bool:
        return any(part in address for address in watches[0].asked)

    assert not fetched("search_index") and not fetched("/assets/tiny/")
    with page.expect_response("**/search_index.json") as answered:
        page.locator("input.md-search__input").focus()
    index = transfer_bytes(SITE / urlsplit(answered.value.url).path.lstrip("/"))
    assert index < 150_000, f"the search index has {index:,} bytes"
    page.keyboard.press("Escape")
    assert not fetched("/assets/tiny/")
    with page.expect_response("**/assets/tiny/model.safetensors"):
        page.locator(".lab-load").first.click()
    count("bytes of the search indexes, compressed", index)


# The steps of the hard pages

STEPS = [
    name for name in sorted(WHOLE) if (SITE / name).exists() and 'class="admonition steps"' in read(name)
]


@pytest.mark.parametrize("name", STEPS or [NOT_BUILT])
def test_steps_are_played_by_the_keyboard(
    name: str, open_page: Callable[..., Page], count: Callable[..., None]
) -> None:
    page = open_page(name, reduced_motion="reduce")
    box = page.locator(".steps").first
    stills = box.locator(":scope > ol > li")
    total = stills.count()
    forward, back = box.locator(".steps__next"), box.locator(".steps__previous")
    seen = box.locator(".steps__place [aria-hidden]")

    def at(number: int) -> None:
        expect(seen).to_have_text(f"{number} / {total}")
        shown = [still.is_visible() for still in stills.all()]
        assert shown == [index == number - 1 for index in range(total)], (number, shown)

    at(1)
    expect(back).to_have_attribute("aria-disabled", "true")
    forward.focus()
    for number in range(2, total + 1):
        page.keyboard.press("ArrowRight" if number % 2 else "Enter")
        at(number)
        expect(forward).to_be_focused()
    page.keyboard.press("Enter")  # at the end it stays, and keeps the focus
    at(total)
    expect(forward).to_be_focused()
    page.keyboard.press("Home")
    at(1)
    page.keyboard.press("End")
    at(total)
    page.keyboard.press("ArrowLeft")
    at(total - 1)
    page.emulate_media(media="print")
    assert all(still.is_visible() for still in stills.all())
    assert not forward.is_visible()
    count("steps played by the keyboard, and all shown in print", total)


@pytest.mark.parametrize("name", STEPS or [NOT_BUILT])
def test_axe_finds_nothing_in_any_still(name: str, open_page: Callable[..., Page]) -> None:
    page = open_page(name, reduced_motion="reduce", viewport=NARROW)
    for box in page.locator(".steps").all():
        for still in range(box.locator(":scope > ol > li").count()):
            if still:
                box.locator(".steps__next").click()
            found = Axe().run(page, context=".steps", options={"resultTypes": ["violations"]})
            assert not [(each["id"], each["nodes"][0]["html"]) for each in found.response["violations"]]
            assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


@pytest.mark.parametrize("name", STEPS or [NOT_BUILT])
def test_steps_are_a_list_without_scripts(name: str, open_page: Callable[..., Page]) -> None:
    page = open_page(name, java_script_enabled=False)
    stills = page.locator(".steps > ol > li")
    assert stills.count() > 1
    assert all(still.is_visible() for still in stills.all())
    assert page.locator(".steps__bar").count() == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_paper_shows_the_article_alone_and_all_of_it(language: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{language}/generation.html", java_script_enabled=False, color_scheme="dark")
    page.emulate_media(media="print")
    for hidden in (".md-header", ".md-sidebar", ".md-footer", ".llmref-lab", ".cell-link", ".headerlink"):
        assert not any(each.is_visible() for each in page.locator(hidden).all()), hidden
    opened = page.locator("details.question > :not(summary, .cell-link)").all()
    assert opened and all(each.is_visible() for each in opened)
    assert page.locator("article figure svg").first.is_visible()
    style = "(name) => getComputedStyle(document.querySelector(name))"
    ink = page.evaluate(f"({style})('article p').color")
    paper = page.evaluate(f"({style})('body').backgroundColor")
    assert (ink, paper) == ("rgb(34, 39, 43)", "rgb(255, 255, 255)")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_switch_works_by_keyboard(
    language: str, open_page: Callable[..., Page], site_url: str
) -> None:
    """The switch is reached and followed without a mouse, and without scripts."""
    other = next(candidate for candidate in LANGUAGES if candidate != language)
    page = open_page(f"{language}/kv-cache.html", java_script_enabled=False)
    page.locator(f"a[hreflang={other}]:visible").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site_url}/{other}/kv-cache.html")


@pytest.mark.parametrize(("locale", "language"), [("ko-KR", "ko"), ("en-GB", "en"), ("fr-FR", "en")])
def test_the_front_door_sends_a_reader_to_their_language(
    locale: str, language: str, open_page: Callable[..., Page], site_url: str
) -> None:
    page = open_page("index.html", locale=locale)
    page.wait_for_url(f"{site_url}/{language}/index.html")


def test_the_front_door_works_without_scripts(open_page: Callable[..., Page], site_url: str) -> None:
    for language in LANGUAGES:
        page = open_page("index.html", java_script_enabled=False)
        page.locator(f"a[hreflang={language}]").first.click()
        page.wait_for_url(f"{site_url}/{language}/index.html")


def queries() -> list[tuple[str, str, str]]:
    """What readers look for, and the page that should come first."""
    with (Path(__file__).parent / "queries.csv").open(encoding="utf-8", newline="") as file:
        return [(row["language"], row["query"], row["page"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_search_finds_the_right_page_first(
    language: str, open_page: Callable[..., Page], count: Callable[..., None]
) -> None:
    page = open_page(f"{language}/index.html")
    box = page.locator("input.md-search__input")
    box.focus()
    wrong = []
    asked = [(query, expected) for where, query, expected in queries() if where == language]
    for query, expected in asked:
        box.fill(query)
        box.dispatch_event("keyup")
        first = page.locator(".md-search-result__item a").first
        try:
            first.wait_for(state="attached", timeout=30_000)
            page.wait_for_timeout(250)  # the worker answers, and the list is drawn again
            found = urlsplit(first.get_attribute("href") or "").path.split("/")[-1].removesuffix(".html")
        except Exception as error:  # noqa: BLE001 - no answer is one wrong answer, and the list goes on
            found = f"nothing ({type(error).__name__})"
        if found != expected:
            wrong.append(f"{query!r} finds {found}, not {expected}")
        box.fill("")
        box.dispatch_event("keyup")
        page.wait_for_function("!document.querySelector('.md-search-result__item a')")
    assert not wrong, f"{language}: " + "; ".join(wrong)
    count("queries that find the right page first", len(asked))
