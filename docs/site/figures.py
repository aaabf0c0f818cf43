"""One look for every figure: vector, readable in light and dark, labels in the language of the page.

A notebook that was downloaded runs with this file beside it (`pip install llmref matplotlib`).
"""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from cycler import cycler
from IPython.display import display
from matplotlib import font_manager, rc_context
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

COLORS = ("#4879d6", "#c8582e", "#2b8f71", "#a560b8", "#94802a", "#c24d78")
"""Six colours with at least 3:1 contrast on the white and on the dark page."""
HEAT = LinearSegmentedColormap.from_list("heat", [to_rgba(COLORS[0], 0.0), to_rgba(COLORS[0], 0.85)])
"""From nothing to the first colour: zero is the page itself, in light and in dark."""
FIGURE_TYPE = "application/vnd.llmref.figure+json"
FONT = Path(os.path.abspath(__file__)).parent / "fonts" / "Pretendard-Regular.subset.otf"
KOREAN_FONTS = (
    "Pretendard",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
)

if FONT.exists():
    font_manager.fontManager.addfont(FONT)
_installed = {font.name for font in font_manager.fontManager.ttflist}
KOREAN_FONT = next((name for name in KOREAN_FONTS if name in _installed), None)
LANGUAGES = ("ko", "en") if KOREAN_FONT else ("en",)
"""A machine without a Korean font draws the English figure only."""

STYLE: dict[str, Any] = {
    "font.family": [*([KOREAN_FONT] if KOREAN_FONT else []), "DejaVu Sans"],
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.unicode_minus": False,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "llmref",
}


@dataclass(frozen=True)
class Page:
    """One language's turn at a figure.

    Attributes:
        language: "ko" or "en".
        figure: The matplotlib figure.
        axes: Its axes; with `subplots=`, a NumPy array of them.
    """

    language: str
    figure: Figure
    axes: Any

    def text(self, *, en: str, ko: str) -> str:
        """The label in this page's language."""
        return {"en": en, "ko": ko}[self.language]


def figure(
    name: str, *, en: str, ko: str, size: tuple[float, float] = (7, 3.5), subplots: tuple[int, int] = (1, 1)
) -> Iterator[Page]:
    """Draws one figure in both languages: the loop's body runs once for each.

    Args:
        name: The figure's name in its experiment.
        en: Alternative text in English: what one sees.
        ko: Alternative text in Korean.
        size: Width and height in inches.
        subplots: Rows and columns of axes.

    Raises:
        ValueError: An alternative text is empty, a glyph is missing, or the figure holds a raster image.
    """
    if not en.strip() or not ko.strip():
        raise ValueError(f"figure '{name}': an alternative text is needed in both languages")
    drawn: dict[str, str] = {}
    with rc_context(STYLE):  # type: ignore[arg-type]
        for language in LANGUAGES:
            drawing = Figure(figsize=size)
            yield Page(language, drawing, drawing.subplots(*subplots))
            drawn[language] = _svg(drawing, f"{name}-{language}")
    alternatives = {"ko": ko, "en": en}
    shown = {language: {"alt": alternatives[language], "svg": svg} for language, svg in drawn.items()}
    display(
        {
            FIGURE_TYPE: {"name": name, "languages": shown},
            "image/svg+xml": drawn["en"],
            "text/plain": en,
        },
        raw=True,
    )


def heatmap(
    axes: Any,
    matrix: Any,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    values: bool = False,
    maximum: float | None = None,
) -> None:
    """A matrix as cells, the first row on top; vector, unlike `imshow`.

    Args:
        axes: Where to draw.
        matrix: Numbers from 0 up, [rows, columns]; anything `numpy.asarray` takes.
        rows: Labels of the rows.
        columns: Labels of the columns.
        values: Whether each cell shows its number.
        maximum: The number of the strongest colour; by default the greatest in the matrix.
    """
    import numpy

    numbers = numpy.asarray(matrix, dtype=float)
    height, width = numbers.shape
    axes.pcolormesh(numbers, cmap=HEAT, vmin=0, vmax=maximum or numbers.max() or 1)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xticks([i + 0.5 for i in range(len(columns))], columns)
    if max(map(len, columns), default=0) > 2:
        for label in axes.get_xticklabels():
            label.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")
    axes.set_yticks([i + 0.5 for i in range(len(rows))], rows)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if values:
        for row in range(height):
            for column in range(width):
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{numbers[row, column]:.2f}",
                    ha="center",
                    va="center",
                    fontsize=11,
                )


def draw_mask(axes: Any, mask: Any, length: int, *, faint: Any = None, labels: Sequence[str] = ()) -> None:
    """A mask as squares, the first query on top, the first key on the left: filled where the query may look.

    Args:
        axes: Where to draw.
        mask: Any mask of `llmref.attention.masks`, or an expression of them.
        length: How many tokens.
        faint: A mask whose other pairs are drawn faintly: what `mask` leaves out of it.
        labels: The tokens, at both axes.
    """
    import torch

    positions = torch.arange(length)[None]
    allowed = mask.dense(positions, positions)[0]
    _squares(axes, allowed, alpha=1.0)
    if faint is not None:
        _squares(axes, faint.dense(positions, positions)[0] & ~allowed, alpha=0.22)
    axes.set_aspect("equal")
    axes.set_xlim(0, length)
    axes.set_ylim(length, 0)
    axes.set_xticks([i + 0.5 for i in range(len(labels))], labels, rotation=90)
    axes.set_yticks([i + 0.5 for i in range(len(labels))], labels)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _squares(axes: Any, where: Any, alpha: float) -> None:
    """One path for all cells that are true, so that the figure stays small."""
    gap = 0.08 if len(where) <= 32 else 0.0
    corners = [(gap, gap), (1 - gap, gap), (1 - gap, 1 - gap), (gap, 1 - gap), (gap, gap)]
    cells = where.nonzero().tolist()
    if cells:
        path = Outline(
            [(column + x, row + y) for row, column in cells for x, y in corners],
            [Outline.MOVETO, *[Outline.LINETO] * 3, Outline.CLOSEPOLY] * len(cells),
        )
        axes.add_patch(PathPatch(path, facecolor=COLORS[0], edgecolor="none", alpha=alpha))


def _svg(drawing: Figure, name: str) -> str:
    """The figure as an SVG element that takes the page's colour and font, its ids made its own."""
    stream = StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        try:
            drawing.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        except UserWarning as missing:
            raise ValueError(f"figure '{name}': {missing}") from missing
    text = stream.getvalue()
    if "<image" in text:
        raise ValueError(f"figure '{name}' holds a raster image; draw matrices with heatmap(), not imshow()")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*|<style.*?</style>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(r"#000000|#000(?=[;\"])", "currentColor", text)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda at: f' id="{name}-{at[1]}"' if at[1] in used else "", text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", text)
    width, height = (float(n) for n in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0])
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" fill="currentColor" stroke-linejoin="round">'
    )
    text = re.sub(r"<svg[^>]*>", opening, text, count=1).replace("xlink:href", "href")
    return re.sub(r"\n\s*", "\n", text).strip()
