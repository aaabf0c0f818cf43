"""Makes the site's own font files, in theme/assets/fonts/llmref-sans, out of Pretendard's 92 subsets.

python docs/site/fonts/subset.py            needs fonttools and brotli

A Korean page has some 400 different syllables, spread over so many of the 92 files that a reader would load
600 KB of them. Three files with what the site shows are a third of that: Latin and signs; the syllables of
the experiments and of the tiny world, which English pages show too; the other syllables of the Korean pages
and those that are common in any Korean text. Weights run from 400 to 700. A character that is in none of the
three still comes from the 92. Pretendard is a reserved name: what is changed has a name of its own.
"""

import copy
import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

FONTS = Path(__file__).resolve().parent.parent / "theme" / "assets" / "fonts"
ROOT = Path(__file__).resolve().parents[3]
STYLES = FONTS.parents[1] / "stylesheets" / "fonts.css"
NAME = "llmref Sans"
LATIN = 91  # the number of Pretendard's subset with the Latin letters: its kerning is kept
COMMON = range(79, 91)  # those with the commonest syllables
BEGIN, END = "/* made by fonts/subset.py */\n", "/* end of what is made */\n"

SHOWN_EVERYWHERE = ("docs/experiments/*.py", "docs/en/*.md", "llmref/**/*.py")
SHOWN_IN_KOREAN = (
    *("docs/ko/*.md", "docs/terms.csv", "docs/site/labs/*.json", "docs/site/machinery/*.py"),
    *("docs/site/theme/**/*.html", "docs/site/templates/**/*.jinja", "docs/site/assets/javascripts/*.js"),
)


def is_syllable(character: int) -> bool:
    return 0xAC00 <= character <= 0xD7A3


def syllables(patterns: tuple[str, ...]) -> set[int]:
    """The Korean syllables in the texts that match these patterns."""
    texts = [file.read_text(encoding="utf-8") for pattern in patterns for file in ROOT.glob(pattern)]
    return {ord(each) for text in texts for each in text if is_syllable(ord(each))}


def original(number: int) -> TTFont:
    return TTFont(FONTS / "pretendard" / f"PretendardVariable.subset.{number}.woff2")


def join(font: TTFont, other: TTFont, number: int, wanted: set[int], places: dict[int, str]) -> None:
    """Adds another subset's glyphs for the wanted characters, with their variations, under new names."""
    characters = {each: name for each, name in other.getBestCmap().items() if each in wanted - places.keys()}
    needed, waiting = set(), list(characters.values())
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            glyph = other["glyf"][name]
            waiting += [part.glyphName for part in glyph.components] if glyph.isComposite() else []
    order = font.getGlyphOrder()
    for name in sorted(needed, key=other.getGlyphID):
        glyph, own = copy.deepcopy(other["glyf"][name]), f"s{number}.{name}"
        for part in glyph.components if glyph.isComposite() else ():
            part.glyphName = f"s{number}.{part.glyphName}"
        font["glyf"].glyphs[own] = glyph
        font["gvar"].variations[own] = other["gvar"].variations.get(name, [])
        font["hmtx"].metrics[own] = other["hmtx"].metrics[name]
        order.append(own)
    places.update({each: f"s{number}.{name}" for each, name in characters.items()})


def all_of(wanted: set[int]) -> tuple[TTFont, set[int]]:
    """A font with the glyphs of the wanted characters from all 92, and the characters that it has."""
    font = original(LATIN)
    places = dict(font.getBestCmap())
    for number in range(92):
        if number != LATIN:
            join(font, original(number), number, wanted, places)
    order = font.getGlyphOrder()
    font.setGlyphOrder(order)
    font["glyf"].glyphOrder = order
    font["glyf"].__dict__.pop("_reverseGlyphOrder", None)
    font["maxp"].numGlyphs = len(order)
    for table in font["cmap"].tables:
        if table.isUnicode():
            table.cmap = {each: name for each, name in places.items() if each < 0x10000 or table.format == 12}
    return font, places.keys() & wanted


def write(wanted: set[int], name: str) -> set[int]:
    """Writes one file with the wanted characters; gives those that Pretendard has."""
    whole = FONTS / "llmref-sans" / "whole.ttf"
    font, found = all_of(wanted)
    font.save(whole)
    font = TTFont(whole)
    options = subset.Options(hinting=False, notdef_outline=True, name_IDs=[1, 2, 4, 6, 13, 14])
    options.layout_features = ["kern", "ccmp", "locl", "mark", "mkmk", "calt", "tnum"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=found)
    subsetter.subset(font)
    font = instancer.instantiateVariableFont(font, {"wght": (400, 400, 700)})
    for record in font["name"].names:
        if record.nameID in (1, 4, 6, 16):
            record.string = NAME.replace(" ", "") if record.nameID == 6 else NAME
    font.flavor = "woff2"
    target = FONTS / "llmref-sans" / f"{name}.woff2"
    font.save(target)
    whole.unlink()
    print(f"{target.name}: {len(found)} characters, {target.stat().st_size:,} bytes")
    return found


def ranges(characters: set[int]) -> str:
    """As `unicode-range` wants them.

    >>> ranges({65, 66, 67, 70})
    'U+41-43,U+46'
    """
    runs: list[list[int]] = []
    for each in sorted(characters):
        if runs and runs[-1][1] == each - 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    return ",".join(f"U+{a:x}" + (f"-{b:x}" if b > a else "") for a, b in runs)


def main() -> int:
    texts = [file for pattern in (*SHOWN_EVERYWHERE, *SHOWN_IN_KOREAN) for file in ROOT.glob(pattern)]
    seen = {ord(each) for file in texts for each in file.read_text(encoding="utf-8")}
    # The signs that Pretendard has in its Latin files; a Korean text may bring any of them.
    latin = {each for number in (71, LATIN) for each in original(number).getBestCmap()}
    latin = {each for each in latin | seen if each >= 0x20 and not is_syllable(each)}
    everywhere = syllables(SHOWN_EVERYWHERE)
    common = {each for number in COMMON for each in original(number).getBestCmap() if is_syllable(each)}
    korean = (syllables(SHOWN_IN_KOREAN) | common) - everywhere
    rules = []
    for name, wanted in (("latin", latin), ("hangul-shown", everywhere), ("hangul-common", korean)):
        rules.append(
            f'@font-face{{font-family:"{NAME}";font-weight:400 700;font-display:swap;'
            f"src:url(../assets/fonts/llmref-sans/{name}.woff2) format('woff2');"
            f"unicode-range:{ranges(write(wanted, name))}}}\n"
        )
    text = STYLES.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    STYLES.write_text(head + BEGIN + "".join(rules) + END + rest.partition(END)[2], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
