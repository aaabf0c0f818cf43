"""The site's machinery: directives, code by path, experiments, figures, terms, the check of the languages."""

import csv
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SITE_SOURCES = ROOT / "docs" / "site"
sys.path.insert(0, str(SITE_SOURCES))

from machinery import FIGURE_TYPE, SiteError, code, doctests, experiments, labels, pages, parity, terms  # noqa: E402

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
    specification = importlib.util.spec_from_file_location(name, SITE_SOURCES / "hooks" / f"{name}.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project: the machinery looks there for pages, experiments and runs."""
    for module in (parity, experiments):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "DOCS", tmp_path / "docs")
        monkeypatch.setattr(module, "EXPERIMENTS", tmp_path / "docs" / "experiments")
    monkeypatch.setattr(experiments, "RUNS", tmp_path / "build" / "experiments")
    monkeypatch.setattr(parity, "SITE_SOURCES", tmp_path / "docs" / "site")
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
    with pytest.raises(SiteError, match=r"experiment demo, cell 'load'[\s\S]*ZeroDivisionError"):
        experiments.run()


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


# The check of the two languages

CODE = "!cell a.b\n\n```python\nx = 1\n```\n"
KO = f"# 제목 {{#title}}\n\n[토큰](term:token) 100만 개, 2026년 11월. [링크](other.md#x)\n\n{CODE}"
EN = f"# Title {{#title}}\n\n1 million [tokens](term:token), November 2026. [link](other.md#x)\n\n{CODE}"


def test_equal_pages_have_no_problems(site: Path) -> None:
    assert write(site, KO, EN) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{#title}", "", "docs/en/page.md:1: a heading without an English id"),
        ("{#title}", "{#other}", "headings differ at number 1"),
        ("!cell a.b", "!cell a.c", "directives differ at number 1"),
        ("!cell a.b", "!cell a.b code=no", "directives differ at number 1"),
        ("x = 1", "x = 2", "python differ at number 1"),
        ("other.md#x", "other.md", "links differ"),
        ("other.md#x", "../ko/other.md", "docs/en/page.md:3: the link ../ko/other.md leaves the language"),
        ("(term:token)", "(term:key)", "terms differ"),
        ("1 million", "2 million", "docs/en/page.md:3: the number 2 is not on the other page"),
        ("November", "October", "the number 10 is not on the other page"),
        ("# Title", "# Title {#a}\n\n# Title", "expected one heading of the first level"),
    ],
)
def test_a_difference_is_found(site: Path, old: str, new: str, message: str) -> None:
    assert old in EN
    problems = write(site, KO, EN.replace(old, new))
    assert any(message in problem for problem in problems), problems


def test_a_number_in_words_answers_for_one_in_digits(site: Path) -> None:
    assert write(site, KO + "\n바이트 3개, 한 단계\n", EN + "\nthree bytes\n") == []


def test_a_missing_page_is_found(site: Path) -> None:
    write(site, KO, EN)
    (site / "docs" / "en" / "page.md").unlink()
    assert parity.check() == ["docs/en/page.md is missing; docs/ko/page.md is there"]


def test_a_banned_word_is_found_in_prose_but_not_in_code(site: Path) -> None:
    assert write(site, KO + "\n`레이어`\n\n```text\n레이어\n```\n", EN) == []
    problems = write(site, KO + "\n이 레이어는\n", EN)
    assert problems == ["docs/ko/page.md:11: '레이어', the glossary says '층'"]


def test_a_number_in_an_experiments_text_is_in_both(site: Path) -> None:
    file = site / "docs" / "experiments" / "demo.py"
    file.write_text(EXPERIMENT, encoding="utf-8")
    assert parity.check() == []
    file.write_text(EXPERIMENT.replace("Explains 3", "Explains 4"), encoding="utf-8")
    assert parity.check() == [
        "docs/experiments/demo.py: the number 3 is in the text of 'ko' only",
        "docs/experiments/demo.py: the number 4 is in the text of 'en' only",
    ]


def test_the_projects_own_pages_agree() -> None:
    assert parity.check() == []


def test_doctests_of_the_machinery() -> None:
    import doctest

    for module in (pages, code, doctests, parity):
        result = doctest.testmod(module)
        assert result.attempted and not result.failed, module


def test_the_builder_explains_itself() -> None:
    shown = subprocess.run(
        [sys.executable, str(SITE_SOURCES / "build.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert "--experiments" in shown.stdout and "--serve" in shown.stdout
