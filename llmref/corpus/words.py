"""The words of the small world: every noun and adjective once, in Korean and in English.

A word is a pair of twins. Korean writes its particles onto the noun, and some particles change with
the last letter of the noun (its batchim), so a Korean word is asked for *in a form*.
"""

from __future__ import annotations

from typing import NamedTuple

# Particle after a vowel -> the same particle after a consonant.
AFTER_CONSONANT = {
    "는": "은",
    "가": "이",
    "를": "을",
    "와": "과",
    "로": "으로",
    "라는": "이라는",
    "였습니다": "이었습니다",
}
_FIRST_SYLLABLE, _LAST_SYLLABLE, _FINALS = 0xAC00, 0xD7A3, 28
_FINAL_RIEUL = 8


def final_consonant(word: str) -> int:
    """The number of the final consonant (batchim) of the last syllable of ``word``; 0 if there is none.

    Args:
        word: a word that ends in a Hangul syllable.

    Raises:
        ValueError: ``word`` does not end in a Hangul syllable.

    Source: The Unicode Standard, section 3.12, "Conjoining Jamo Behavior".

    >>> final_consonant("나무"), final_consonant("숲") > 0
    (0, True)
    """
    last = ord(word[-1]) if word else 0
    if not _FIRST_SYLLABLE <= last <= _LAST_SYLLABLE:
        raise ValueError(f"expected a word that ends in a Hangul syllable, found {word!r}")
    return (last - _FIRST_SYLLABLE) % _FINALS


def with_particle(word: str, particle: str) -> str:
    """Write ``particle`` onto the Korean ``word``, in the form that the word's last letter asks for.

    Args:
        word: a Korean noun.
        particle: a particle as it stands after a vowel (``는``, ``가``, ``로`` …), or one that never changes.

    Raises:
        ValueError: ``word`` does not end in a Hangul syllable.

    >>> with_particle("강아지", "는"), with_particle("곰", "는")
    ('강아지는', '곰은')
    >>> with_particle("우물", "로"), with_particle("강", "로")
    ('우물로', '강으로')
    """
    final = final_consonant(word)
    changes = final != 0 and not (particle == "로" and final == _FINAL_RIEUL)
    return word + (AFTER_CONSONANT.get(particle, particle) if changes else particle)


class Word(NamedTuple):
    """One word in both languages.

    >>> Word("강아지", "dog").form("ko", "가")
    '강아지가'
    >>> Word("강아지", "dog").form("en", "")
    'dog'
    """

    ko: str
    en: str

    def form(self, language: str, form: str) -> str:
        """The word as ``language`` writes it in ``form``: a particle, or ``ko``/``en`` for its twin."""
        if form in ("ko", "en"):
            return self.ko if form == "ko" else self.en
        if language == "ko":
            return with_particle(self.ko, form) if form else self.ko
        if form:
            raise ValueError(f"English words have no form {form!r}")
        return self.en


def words(pairs: str) -> tuple[Word, ...]:
    """Read words from lines of ``한국어 English``.

    >>> words("곰 bear, 여우 fox")
    (Word(ko='곰', en='bear'), Word(ko='여우', en='fox'))
    """
    return tuple(Word(*pair.split()) for pair in pairs.split(","))


# No English word here begins with a vowel sound: "a" fits them all, and never gives a word away.
ANIMALS = words(
    "강아지 dog, 고양이 cat, 다람쥐 squirrel, 토끼 rabbit, 여우 fox, 곰 bear,"
    "거북이 turtle, 오리 duck, 생쥐 mouse, 염소 goat, 너구리 raccoon, 사슴 deer"
)
HOMES = words(
    "마을 village, 숲 forest, 도시 city, 골짜기 valley, 성 castle, 산속 mountains,"
    "등대 lighthouse, 항구 harbor, 오두막 cabin, 들판 meadow, 탑 tower, 사막 desert"
)
FOODS = words(
    "사과 apples, 빵 bread, 꿀 honey, 치즈 cheese, 수프 soup, 케이크 cake,"
    "포도 grapes, 국수 noodles, 딸기 strawberries, 과자 cookies, 옥수수 corn, 복숭아 peaches"
)
DREAMS = words(
    "제빵사 baker, 화가 painter, 농부 farmer, 무용수 dancer, 가수 singer, 선생님 teacher,"
    "의사 doctor, 정원사 gardener, 요리사 cook, 목수 carpenter, 시인 poet, 조종사 pilot"
)
SPOTS = words(
    "강 river, 호수 lake, 정원 garden, 시장 market, 다리 bridge, 언덕 hill,"
    "우물 well, 동굴 cave, 밭 field, 바닷가 beach, 공원 park, 학교 school"
)
THINGS = words(
    "열쇠 key, 등불 lamp, 편지 letter, 동전 coin, 종 bell, 책 book,"
    "공 ball, 지도 map, 모자 hat, 피리 flute, 돌 stone, 깃털 feather"
)
LOOKS = words(
    "빨간 red, 파란 blue, 반짝이는 shiny, 이상한 strange, 금빛 golden, 예쁜 pretty, 무거운 heavy, 둥근 round"
)
MOODS = words(
    "작은 small, 착한 kind, 졸린 sleepy, 수줍은 shy, 슬픈 sad, 즐거운 cheerful,"
    "용감한 brave, 똑똑한 clever, 커다란 big, 하얀 white"
)
WEATHERS = words(
    "맑은 sunny, 흐린 cloudy, 따뜻한 warm, 추운 cold, 시원한 cool, 더운 hot, 조용한 quiet, 화창한 bright"
)
TIMES = words("날 day, 아침 morning, 오후 afternoon, 저녁 evening, 밤 night")
TRAITS = words(
    "착한 kind, 용감한 brave, 똑똑한 clever, 수줍은 shy,"
    "부지런한 busy, 명랑한 merry, 조용한 quiet, 다정한 gentle"
)
# Korean: a verb before "있었습니다".
GAMES = words(
    "노래하고 singing, 춤추고 dancing, 잠자고 sleeping, 달리고 running, 놀고 playing, 웃고 laughing,"
    "기다리고 waiting, 속삭이고 whispering, 다투고 fighting, 쉬고 resting"
)
KINDS = words(
    "갈색 brown, 회색 gray, 어린 young, 통통한 plump, 재빠른 quick,"
    "느린 slow, 점잖은 polite, 게으른 lazy, 시끄러운 noisy"
)
