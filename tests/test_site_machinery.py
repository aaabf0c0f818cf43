"""The site's machinery: directives, code by path, experiments, figures, terms, the check of the languages."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from loading import module_at

ROOT = Path(__file__).parents[1]
SITE_SOURCES = ROOT / "docs" / "site"
sys.path.insert(0, str(SITE_SOURCES))

from machinery import (  # noqa: E402
    FIGURE_TYPE,
    SiteError,
    code,
    concepts,
    doctests,
    experiments,
    labels,
    models,
    pages,
    parity,
    references,
    terms,
)

EXPERIMENT = """# %% [markdown] lang="ko"
# # 제목
# 설명 3개.
# ## 둘째
# %% [markdown] lang="en"
# # Title
# Explains 3 things.
# ## Second

# %% name="load"
value = 41

# %% name="show"
import sys
print("seen", value + 1)
print("not shown", file=sys.stderr)
value

# %% name="draw"
from figures import figure, heatmap

for page in figure("grid", en="A grid with a diagonal.", ko="대각선이 있는 격자입니다."):
    heatmap(page.axes, [[1, 0], [0, 1]], rows=["개", "말"], columns=["a", "b"], values=True)
    page.axes.set_xlabel(page.text(en="key", ko="키"))
"""


def hook(name: str) -> ModuleType:
    return module_at(SITE_SOURCES / "hooks" / f"{name}.py")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project: the machinery looks there for pages, experiments and runs."""
    for module in (parity, experiments):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "DOCS", tmp_path / "docs")
        monkeypatch.setattr(module, "EXPERIMENTS", tmp_path / "docs" / "experiments")
    monkeypatch.setattr(experiments, "RUNS", tmp_path / "build" / "experiments")
    monkeypatch.setattr(parity, "SITE_SOURCES", tmp_path / "docs" / "site")
    monkeypatch.setattr(references, "ROOT", tmp_path)
    for name in ("ko", "en", "experiments"):
        (tmp_path / "docs" / name).mkdir(parents=True)
    monkeypatch.setattr(experiments, "environment", lambda: "always the same")
    experiments.load.cache_clear()
    yield tmp_path
    experiments.load.cache_clear()


def write(site: Path, korean: str, english: str, slug: str = "page") -> list[str]:
    (site / "docs" / "ko" / f"{slug}.md").write_text(korean, encoding="utf-8")
    (site / "docs" / "en" / f"{slug}.md").write_text(english, encoding="utf-8")
    return parity.check()


# Directives and code


def test_directives_stand_outside_fences_and_keep_their_indent() -> None:
    text = "!cell a.b code=no\n\n```text\n!cell c.d\n```\n\n!!! note\n    !cell e.f\n"
    seen = []

    def render(directive: pages.Directive) -> str:
        seen.append((directive.target, directive.options))
        return "X\nY"

    assert "```text\n!cell c.d\n```" in (result := pages.replace_directives(text, "cell", render))
    assert seen == [("a.b", {"code": "no"}), ("e.f", {})]
    assert "    X\n    Y" in result


def test_an_unknown_option_is_named_with_its_line() -> None:
    source_code = hook("source_code")
    with pytest.raises(SiteError, match=r"line 3: !code llmref.rope.rotate: unknown option 'shape'"):
        pages.replace_directives("a\n\n!code llmref.rope.rotate shape=yes", "code", source_code.block)


def test_code_is_the_source_of_the_object_wherever_it_is_named() -> None:
    import inspect

    import llmref
    import llmref.rope

    found = code.source("llmref.rope.rotate")
    assert found.text == inspect.getsource(llmref.rope.rotate).rstrip()
    assert found.file == "llmref/rope.py"
    assert (
        (ROOT / found.file).read_text(encoding="utf-8").split("\n")[found.line - 1].startswith(("def ", "@"))
    )
    assert code.source("llmref.Transformer").text == code.source("llmref.model.Transformer").text
    assert code.source("llmref.Transformer").text == inspect.getsource(llmref.Transformer).rstrip()


def test_code_without_its_docstring_has_the_same_statements() -> None:
    import ast

    whole, bare = code.source("llmref.rope.rotate"), code.source("llmref.rope.rotate", docstring=False)
    function: Any = ast.parse(whole.text).body[0]
    function.body = function.body[1:]
    assert ast.dump(function) == ast.dump(ast.parse(bare.text).body[0])
    assert '"""' not in bare.text


@pytest.mark.parametrize("path", ["llmref.rope.rotat", "llmref.nothing", "torch.nn", "rotate", ""])
def test_an_unknown_name_is_an_error_that_names_it(path: str) -> None:
    with pytest.raises(SiteError, match=path or "expected a path"):
        code.source(path)


def test_a_fence_is_longer_than_those_inside() -> None:
    assert pages.fence("````\nx\n````", ".text").startswith("`````{ .text }")


def test_doctests_are_fenced_once() -> None:
    text = "A.\n\n>>> f([1])\n[1]\n\n```pycon\n>>> g()\n```"
    once = doctests.fenced(text)
    assert once.count("```") == 4
    assert doctests.fenced(once) == once


# Experiments and figures


def test_an_experiment_runs_once_and_is_shown_in_both_languages(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = site / "docs" / "experiments" / "demo.py"
    file.write_text(EXPERIMENT, encoding="utf-8")
    experiments.run()
    assert "to run: 1 (demo)" in capsys.readouterr().out
    experiments.run()
    assert "to run: 0" in capsys.readouterr().out

    shown = experiments.cell("demo.show")
    assert [output.get("text") or output.data["text/plain"] for output in shown.outputs] == [
        "seen 42\n",
        "41",
    ]

    drawn = experiments.cell("demo.draw").outputs[0]
    korean, english = (experiments.figure_html(drawn, language) for language in ("ko", "en"))
    assert (
        'role="img" aria-label="대각선이 있는 격자입니다."' in korean
        and ">키<" in korean
        and ">개<" in korean
    )
    assert 'role="img" aria-label="A grid with a diagonal."' in english and ">key<" in english
    for svg in (korean, english):
        assert (
            "#000000" not in svg and "<image" not in svg and "font-family" not in svg and "<style" not in svg
        )

    for language, title, other in (("ko", "# 제목", "Title"), ("en", "# Title", "제목")):
        text = (site / "docs" / language / "notebooks" / "demo.ipynb").read_text(encoding="utf-8")
        assert title in text
        assert other not in text
        assert FIGURE_TYPE not in text
        assert 'stderr",' not in text, "what is written to stderr is not shown"

    cells = hook("cells")

    class Page:
        url = "deep/page.html"

    block = cells.block(pages.Directive(1, "", "cell", "demo.show"), Page(), "en")
    assert 'data-cell="demo.show"' in block and "seen 42" in block
    assert 'href="../notebooks/demo.html#show"' in block
    assert "from figures" not in cells.block(pages.Directive(1, "", "cell", "demo.draw"), Page(), "en")
    with pytest.raises(
        SiteError, match=r"'demo.none': no such cell; docs/experiments/demo.py has load, show, draw"
    ):
        experiments.cell("demo.none")

    file.write_text(EXPERIMENT.replace("설명", "다른 설명"), encoding="utf-8")
    assert experiments.kept("demo") is not None, "prose is no part of the key"
    file.write_text(EXPERIMENT.replace("41", "42"), encoding="utf-8")
    assert experiments.kept("demo") is None, "code is"
    with pytest.raises(SiteError, match="no current run"):
        experiments.load.cache_clear()
        experiments.load("demo")

    file.write_text(EXPERIMENT.replace("value = 41", "value = 1 / 0"), encoding="utf-8")
    with pytest.raises(SiteError, match=r"docs/experiments/demo.py:11: cell 'load': mend[\s\S]*ZeroDivision"):
        experiments.run()


def test_a_claim_that_no_longer_holds_stops_with_its_line(site: Path) -> None:
    file = site / "docs" / "experiments" / "demo.py"
    file.write_text(EXPERIMENT.replace('print("seen", value + 1)', "assert value == 42"), encoding="utf-8")
    line = file.read_text(encoding="utf-8").split("\n").index("assert value == 42") + 1
    message = rf"docs/experiments/demo.py:{line}: cell 'show': the claim no longer holds: mend the code, or"
    with pytest.raises(SiteError, match=message):
        experiments.execute("demo")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('# %% name="load"', "# %%", "cell name ''"),
        ('# %% name="show"', '# %% name="load"', "cell name 'load'"),
        ('lang="en"', "", "lang=None"),
        ('lang="en"', 'lang="ko"', "expected pairs"),
        ("# # Title", "# Title", "must start with '# Title'"),
    ],
)
def test_a_malformed_experiment_is_named(site: Path, old: str, new: str, message: str) -> None:
    (site / "docs" / "experiments" / "demo.py").write_text(EXPERIMENT.replace(old, new), encoding="utf-8")
    with pytest.raises(SiteError, match=message) as raised:
        experiments.read("demo")
    assert "docs/experiments/demo.py" in str(raised.value)


@pytest.mark.parametrize(
    ("draw", "en", "message"),
    [
        (lambda axes: axes.set_title("한국어 \U0001f9ec"), "A title.", "Glyph"),
        (lambda axes: axes.imshow([[0, 1]]), "A picture.", "raster"),
        (lambda axes: axes.plot([0, 1]), " ", "alternative text"),
    ],
)
def test_a_figure_that_cannot_be_read_stops(draw: Any, en: str, message: str) -> None:
    import figures

    with pytest.raises(ValueError, match=message):
        for page in figures.figure("bad", en=en, ko="그림"):
            draw(page.axes)


def test_a_figure_is_the_same_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    import figures

    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(figures, "display", lambda data, raw: shown.append(data))
    for _ in range(2):
        for page in figures.figure("line", en="A line.", ko="선입니다."):
            page.axes.plot([1, 3, 2])
    assert shown[0] == shown[1]
    assert set(shown[0][FIGURE_TYPE]["languages"]) == {"ko", "en"}


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("paper", ["#fcfbf8", "#14171a"])
def test_figure_colours_stand_out_on_both_papers(paper: str) -> None:
    import figures

    for colour in figures.COLORS:
        light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, (colour, paper)


# Terms


def test_the_glossary_is_whole() -> None:
    with (ROOT / "docs" / "terms.csv").open(encoding="utf-8", newline="") as rows:
        count = sum(1 for _ in csv.DictReader(rows))
    found = terms.terms()
    assert len(found) == count
    for term in found.values():
        assert term.sentences["ko"].endswith("니다."), term.slug
        assert term.sentences["en"].endswith("."), term.slug
        for word in term.avoid:
            assert word not in term.names["ko"], term.slug


def test_the_first_mark_of_a_term_becomes_a_card() -> None:
    cards = hook("cards")
    config: Any = type("Config", (), {"theme": {"language": "ko"}})
    file = type("File", (), {"src_path": "deep/page.md"})
    page: Any = type("Page", (), {"url": "deep/page.html", "file": file})
    mark = '<p><a href="term:token">토큰</a>과 <a href="term:token">토큰</a></p>'
    shown = cards.with_cards(mark, page, "ko")
    assert shown.count('role="tooltip"') == 1
    assert '<button type="button" class="term__word" aria-describedby="card-token">토큰</button>' in shown
    assert shown.count('href="../glossary.html#token"') == 2
    assert terms.term("token").sentences["ko"] in shown
    with pytest.raises(Exception, match="term:tokens: no such slug"):
        cards.with_cards('<a href="term:tokens">토큰</a>', page, "ko")
    with pytest.raises(Exception, match="heading"):
        cards.on_page_content('<h2><a href="term:token">토큰</a></h2>', page, config, None)


def test_both_languages_have_the_same_labels() -> None:
    assert labels.LABELS["ko"].keys() == labels.LABELS["en"].keys()


# The search


def test_the_search_index_holds_words_without_code_and_marks() -> None:
    search = hook("search")
    code_block = "llmref/rope.py:12<pre><code>def rotate(): ...</code></pre>"
    link = "<p>This cell in the notebook <code>rope.shift</code></p>"
    entries = [
        {"location": "rope.html", "title": "RoPE", "text": ""},
        {"location": "rope.html#rope", "title": "RoPE", "text": f"<p>A <em>rotation</em>.</p> {code_block}"},
        {"location": "rope.html#code", "title": "Code", "text": f"<p>한 줄</p> {link}"},
        {"location": "api/rope.html#x", "title": "x", "text": "<pre>f()</pre> <p>First.</p> <p>Next.</p>"},
    ]
    found = json.loads(search.smaller(json.dumps({"config": {}, "docs": entries})))["docs"]
    assert [entry["text"] for entry in found] == ["", "A rotation .", "한 줄", "First."]
    assert [entry["boost"] for entry in found] == [20, 20, 1, 0.2]


def test_a_theme_whose_scripts_have_changed_stops_the_build() -> None:
    search = hook("search")
    script = 'L($(location.protocol!=="file:"),J("search"))'
    assert search.patched(script, search.AT_ONCE, "") == 'L(J("search"))'
    query = search.patched("search(e){if(e=ce(e),!e)return", search.QUERY, search.WHOLE_WORDS)
    assert query.startswith("search(e){if(e=ce(e).split(/\\s+/).flatMap(")
    assert query.endswith('.join(" "),!e)return')
    with pytest.raises(SiteError, match="docs/site/hooks/search.py changes one place .*; found 0"):
        search.patched("nothing of the kind", search.AT_ONCE, "")


# The check of the two languages

CODE = "!cell demo.load\n\n```python\nx = 1\n```\n"
KO = f"# 제목 {{#title}}\n\n[토큰](term:token) 100만 개, 2026년 11월. [링크](page.md#title)\n\n{CODE}"
EN = f"# Title {{#title}}\n\n1 million [tokens](term:token), November 2026. [link](page.md#title)\n\n{CODE}"
STEPS = '\n!!! steps "Title"\n\n    1. One.\n\n        !cell demo.load\n\n    2. Two.\n'


@pytest.fixture
def demo(site: Path) -> Path:
    """The project with one experiment, which the pages may show."""
    (site / "docs" / "experiments" / "demo.py").write_text(EXPERIMENT, encoding="utf-8")
    return site


def test_equal_pages_have_no_problems(demo: Path) -> None:
    assert write(demo, KO, EN) == []
    assert write(demo, KO + STEPS, EN + STEPS) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{#title}", "", "docs/en/page.md:1: a heading without an English id; add one"),
        ("{#title}", "{#other}", "docs/ko/page.md:1: headings differ at number 1"),
        ("!cell demo.load", "!cell demo.show", "docs/ko/page.md:5: directives differ at number 1"),
        ("!cell demo.load", "!cell demo.load code=no", "directives differ at number 1"),
        ("x = 1", "x = 2", "docs/ko/page.md:7: python differ at number 1"),
        ("page.md#title", "page.md", "links differ"),
        ("page.md#title", "../ko/page.md", "docs/en/page.md:3: the link ../ko/page.md leaves the language"),
        ("(term:token)", "(term:key)", "terms differ"),
        ("1 million", "2 million", "docs/en/page.md:3: the number 2 is not on the other page, in its"),
        ("November", "October", "the number 10 is not on the other page"),
        ("# Title", "# Title {#a}\n\n# Title", "expected one heading of the first level"),
        ("# Title", "# A {#title}\n\n## Title", "heading id 'title' twice; give this one another"),
        ("x = 1\n```\n", 'x = 1\n```\n\n??? question "Q"\n    A.\n', "docs/ko/page.md:end: boxes differ"),
    ],
)
def test_a_difference_is_found(demo: Path, old: str, new: str, message: str) -> None:
    assert old in EN
    problems = write(demo, KO, EN.replace(old, new))
    assert any(message in problem for problem in problems), problems


def test_a_number_is_looked_for_in_its_own_section(demo: Path) -> None:
    sections = "\n## A {#a}\n\n{} 37 {}\n\n## B {#b}\n\n{}\n"
    korean = KO + sections.replace("{}", "", 1).replace("{}", "개", 1).replace("{}", "둘")
    moved = EN + "\n## A {#a}\n\nMany.\n\n## B {#b}\n\n37 of them, two.\n"
    problems = write(demo, korean, moved)
    assert len(problems) == 2
    assert all("the number 37 is not on the other page, in its section" in problem for problem in problems)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (STEPS.replace("    2. Two.", "    Two."), "page.md:11: steps with 1 numbered items; write"),
        (STEPS.replace("    1.", "  1.").replace("    2.", "  2."), "page.md:11: steps with 0 numbered"),
        (STEPS.replace(' "Title"', ""), "page.md:11: steps without a title; write"),
    ],
)
def test_steps_are_a_numbered_list(demo: Path, steps: str, message: str) -> None:
    problems = write(demo, KO + steps, EN + steps)
    assert any(f"docs/ko/{message}" in problem for problem in problems), problems


def test_both_languages_have_as_many_steps(demo: Path) -> None:
    problems = write(demo, KO + STEPS, EN + STEPS + "\n    3. More.\n")
    assert problems == [
        "docs/ko/page.md:end: boxes differ at number 4: None, but 'a step' in docs/en/page.md:19"
    ]


def test_a_number_in_words_answers_for_one_in_digits(demo: Path) -> None:
    assert write(demo, KO + "\n바이트 3개, 한 단계\n", EN + "\nthree bytes\n") == []
    assert write(demo, KO + "\n3분의 2, 0\n", EN + "\ntwo thirds, nothing\n") == []


# Bad input: what stops the build, where it is, and what to do


def test_a_page_in_one_language_only_is_found(demo: Path) -> None:
    write(demo, KO, EN)
    (demo / "docs" / "en" / "page.md").unlink()
    assert parity.check() == ["docs/ko/page.md:1: there is no docs/en/page.md; write it, or remove this one"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[x](nowhere.md)", "the link nowhere.md leads nowhere; write that page, or mend the link"),
        ("[x](page.md#nothing)", "the link page.md#nothing leads nowhere; page.md has no heading {#nothing}"),
        ("[x](#nothing)", "the link #nothing leads nowhere; page.md has no heading {#nothing}"),
        ("[x](api/nothing.md)", "the link api/nothing.md leads nowhere; there is no llmref/nothing.py"),
        ("[x](notebooks/no.ipynb)", "leads nowhere; there is no docs/experiments/no.py"),
        ("[x](term:tokens)", "term:tokens: no such slug in docs/terms.csv; add a row there, or take"),
        ("[`f`][llmref.rope.rotat]", "the reference 'llmref.rope.rotat': the package has no such name"),
        ("!code llmref.rope.rotat", "'llmref.rope.rotat': the package has no such name"),
        ("!cell demo.none", "demo.none: docs/experiments/demo.py has no such cell; it has load, show"),
        ("!cell none.load", "no experiment docs/experiments/none.py; there are: demo"),
        ("!cel demo.load", "there is no directive '!cel'; there are !code, !cell"),
        ("!models heads nothing", "!models: no column 'nothing'; there are released"),
        ("!models heads only=nothing", "there is no docs/models/nothing.json"),
    ],
)
def test_a_broken_reference_is_found(
    demo: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setattr(references, "PACKAGE", demo / "llmref")
    problems = write(demo, f"{KO}\n{text}\n", f"{EN}\n{text}\n")
    for language in ("ko", "en"):
        assert any(each.startswith(f"docs/{language}/page.md:11: ") and message in each for each in problems)


def test_a_missing_value_of_a_real_model_is_found(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = json.loads((models.MODELS / "gpt2.json").read_text(encoding="utf-8"))
    del entry["config"]["n_head"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "gpt2.json").write_text(json.dumps(entry), encoding="utf-8")
    monkeypatch.setattr(models, "MODELS", tmp_path / "models")
    problems = write(demo, f"{KO}\n!models heads\n", f"{EN}\n!models heads\n")
    assert len(problems) == 2
    for problem, language in zip(problems, ("ko", "en"), strict=True):
        assert f"docs/{language}/page.md:11: docs/models/gpt2.json: no num_attention_heads or" in problem
        assert "add the published value" in problem


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (', ko="키"', "", "demo.py:24: text() without its label in 'ko'; add ko=…"),
        (', ko="대각선이 있는 격자입니다."', "", "demo.py:22: figure() without its label in 'ko'; add ko=…"),
        ('en="key"', 'en="key 7"', "demo.py:24: the number 7 is in the label in 'en' only; write"),
        ("A grid with", "A grid of 4 with", "demo.py:22: the number 4 is in the label in 'en' only"),
        ("대각선이 있는", "대각선이 있는 레이어", "demo.py:22: '레이어', the glossary says '층'; write that"),
        ("설명 3개.", "설명 3개, 레이어.", "demo.py:3: '레이어', the glossary says '층'"),
    ],
)
def test_a_missing_or_different_label_is_found(demo: Path, old: str, new: str, message: str) -> None:
    assert old in EXPERIMENT
    (demo / "docs" / "experiments" / "demo.py").write_text(EXPERIMENT.replace(old, new), encoding="utf-8")
    problems = parity.check()
    assert any(f"docs/experiments/{message}" in problem for problem in problems), problems


def test_a_banned_word_is_found_in_prose_but_not_in_code(demo: Path) -> None:
    assert write(demo, KO + "\n`레이어`\n\n```text\n레이어\n```\n", EN) == []
    problems = write(demo, KO + "\n이 레이어는\n", EN)
    use = "write that (the words are in docs/terms.csv)"
    assert problems == [f"docs/ko/page.md:11: '레이어', the glossary says '층'; {use}"]


def test_a_number_in_an_experiments_text_is_in_both(site: Path) -> None:
    file = site / "docs" / "experiments" / "demo.py"
    file.write_text(EXPERIMENT, encoding="utf-8")
    assert parity.check() == []
    file.write_text(EXPERIMENT.replace("Explains 3", "Explains 4"), encoding="utf-8")
    assert parity.check() == [
        "docs/experiments/demo.py:3: the number 3 is in the text of 'ko' only; write it in 'en' too",
        "docs/experiments/demo.py:7: the number 4 is in the text of 'en' only; write it in 'ko' too",
    ]


def test_the_projects_own_pages_agree() -> None:
    assert parity.check() == []


# The anatomy of a concept's page

ANATOMY = ("idea", "code", "experiment", "try", "check", "real-models", "reading", "next")


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("slug", concepts.concepts())
def test_a_page_has_every_part(slug: str, language: str) -> None:
    """The parts in their order, five questions, a table of real models, and the exercise of its concept."""
    file = ROOT / "docs" / language / f"{slug}.md"
    text = file.read_text(encoding="utf-8")
    found = parity.facts(file, language)
    parts = [name for level, name in found.headings if level == 2]
    wrong = []
    if [name for name in parts if name in ANATOMY] != list(ANATOMY):
        wrong.append(f"its parts are {parts}, expected {list(ANATOMY)} in this order")
    if found.headings[:1] != [(1, slug)]:
        wrong.append(f"its title has not the id {slug}")
    sections = dict(re.findall(r"^## .*?\{#([a-z-]+)\}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    questions = re.findall(r'^\?\?\? question "', sections.get("check", ""), re.MULTILINE)
    if len(questions) != 5:
        wrong.append(f"{{#check}} has {len(questions)} questions, expected five")
    if not re.search(r'^\?\?\? question "', sections.get("try", ""), re.MULTILINE):
        wrong.append("{#try} has no question to predict")
    module = slug.replace("-", "_")
    for what in (f"!code llmref.exercises.{module}.", f"llmref exercise {slug}\n"):
        if what not in sections.get("try", ""):
            wrong.append(f"{{#try}} has no {what.strip()!r}")
    if not re.search(r"^!models ", sections.get("real-models", ""), re.MULTILINE):
        wrong.append("{#real-models} has no !models table")
    for link in (f"notebooks/{slug}.ipynb", "glossary.md", "api/"):
        if link not in sections.get("next", ""):
            wrong.append(f"{{#next}} has no link to {link}")
    order = concepts.concepts()
    place = order.index(slug)
    for beside in order[max(place - 1, 0) : place + 2]:
        if beside != slug and f"({beside}.md" not in sections.get("next", ""):
            wrong.append(f"{{#next}} has no link to {beside}.md, which stands beside it")
    assert not wrong, f"docs/{language}/{slug}.md: " + "; ".join(wrong)


def test_doctests_of_the_machinery() -> None:
    import doctest

    for module in (pages, code, doctests, parity):  # the others have none
        result = doctest.testmod(module)
        assert result.attempted and not result.failed, module


def test_the_builder_explains_itself() -> None:
    shown = subprocess.run(
        [sys.executable, str(SITE_SOURCES / "build.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert "--experiments" in shown.stdout and "--serve" in shown.stdout
