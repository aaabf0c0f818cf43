"""Who lives where, who likes what, who dreams of what: the facts of the small world.

Each fact has a name that a reader can look up, such as ``minji-home``, and is told in both languages.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmref.corpus.words import DREAMS, FOODS, HOMES, Word, with_particle

# Name, pronoun, home, favorite food, dream.
_TABLE = """
민지   Minji   she forest     apples       painter
서준   Seojun  he  harbor     noodles      baker
하윤   Hayun   she village    honey        doctor
도현   Dohyun  he  castle     bread        poet
지우   Jiwoo   she lighthouse grapes       singer
은서   Eunseo  she meadow     cake         carpenter
수호   Suho    he  mountains  corn         teacher
예린   Yerin   she tower      cheese       farmer
태오   Taeo    he  valley     strawberries pilot
유나   Yuna    she desert     soup         gardener
현우   Hyunwoo he  city       peaches      cook
보라   Bora    she cabin      cookies      dancer
톰     Tom     he  meadow     honey        pilot
안나   Anna    she city       cheese       baker
루시   Lucy    she castle     corn         painter
벤     Ben     he  forest     cookies      gardener
제이크 Jake    he  village    soup         farmer
릴리   Lily    she mountains  bread        dancer
맥스   Max     he  lighthouse peaches      carpenter
소피   Sophie  she valley     noodles      poet
오스카 Oscar   he  cabin      apples       teacher
엠마   Emma    she harbor     strawberries doctor
레오   Leo     he  tower      cake         cook
클라라 Clara   she desert     grapes       singer
"""


@dataclass(frozen=True)
class Hero:
    """A child of the small world, with everything that is true of it."""

    name: Word
    pronoun: str
    home: Word
    food: Word
    dream: Word


@dataclass(frozen=True)
class Fact:
    """One thing that is true in the small world.

    Attributes:
        name: what it is looked up by, ``<hero>-<relation>``.
        hero: whom it is about.
        relation: ``home``, ``food`` or ``dream``.
        value: the answer.
        ko: the fact as a Korean sentence.
        en: the fact as an English sentence.
    """

    name: str
    hero: Word
    relation: str
    value: Word
    ko: str
    en: str

    def text(self, language: str) -> str:
        """The fact as a sentence in ``language``."""
        return self.ko if language == "ko" else self.en


def _read_heroes() -> tuple[Hero, ...]:
    by_english = {word.en: word for word in HOMES + FOODS + DREAMS}
    rows = [line.split() for line in _TABLE.strip().splitlines()]
    return tuple(
        Hero(Word(ko, en), pronoun, by_english[home], by_english[food], by_english[dream])
        for ko, en, pronoun, home, food, dream in rows
    )


def _facts_of(hero: Hero) -> tuple[Fact, ...]:
    ko, en = hero.name
    subject = with_particle(ko, "가")
    told = (
        (
            "home",
            hero.home,
            f"{subject} 사는 곳은 {hero.home.ko}입니다.",
            f"{en} lives in the {hero.home.en}.",
        ),
        (
            "food",
            hero.food,
            f"{subject} 좋아하는 음식은 {hero.food.ko}입니다.",
            f"{en} likes {hero.food.en}.",
        ),
        ("dream", hero.dream, f"{ko}의 꿈은 {hero.dream.ko}입니다.", f"{en} wants to be a {hero.dream.en}."),
    )
    return tuple(
        Fact(f"{en.lower()}-{relation}", hero.name, relation, value, korean, english)
        for relation, value, korean, english in told
    )


HEROES = _read_heroes()
FACTS: tuple[Fact, ...] = tuple(fact for hero in HEROES for fact in _facts_of(hero))
