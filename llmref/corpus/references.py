"""Sentences whose "it" / "그것" means one of two animals, and only their meaning says which.

"The dog chased the squirrel because it was hungry": the dog was. "… because it had stolen a nut": the
squirrel had. What happened and why decide together: who is hungry is the one who chases, but not the one
who feeds. Of the four reasons that go with each verb, two point at the one who acts and two at the other,
so that a guess is right half of the time.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """Why something happened, as "it …" and as "the … one", in both languages (Korean without its ending)."""

    en: str
    en_one: str
    ko: str
    ko_one: str


class Verb(NamedTuple):
    """What one animal does to another, and the reasons that point at either."""

    en: str
    ko: str
    actor: tuple[str, str]
    other: tuple[str, str]


REASONS = {
    "hungry": Reason("was hungry", "The hungry one", "배가 고팠", "배가 고픈"),
    "angry": Reason("was angry", "The angry one", "화가 났", "화가 난"),
    "nut": Reason("had stolen a nut", "The thief", "도토리를 훔쳤", "도토리를 훔친"),
    "flowers": Reason("had stepped on the flowers", "The clumsy one", "꽃을 밟았", "꽃을 밟은"),
    "sick": Reason("was sick", "The sick one", "몸이 아팠", "몸이 아픈"),
    "kind": Reason("was kind", "The kind one", "마음씨가 고왔", "마음씨가 고운"),
    "plenty": Reason("had plenty of food", "The rich one", "먹을 것이 많았", "먹을 것이 많은"),
    "lost": Reason("was lost", "The lost one", "길을 잃었", "길을 잃은"),
    "lonely": Reason("was lonely", "The lonely one", "외로웠", "외로운"),
    "way": Reason("knew the way", "The one who knew the way", "길을 알았", "길을 아는"),
    "honey": Reason("had a honey jar", "The one with the jar", "꿀단지를 들었", "꿀단지를 든"),
    "strong": Reason("was strong", "The strong one", "힘이 셌", "힘이 센"),
    "hurt": Reason("had hurt a leg", "The hurt one", "다리를 다쳤", "다리를 다친"),
    "tired": Reason("was tired", "The tired one", "지쳤", "지친"),
    "scared": Reason("was scared", "The scared one", "겁이 났", "겁이 난"),
    "shy": Reason("was shy", "The shy one", "부끄러웠", "부끄러운"),
    "loud": Reason("was too loud", "The loud one", "너무 시끄러웠", "시끄러운"),
    "gentle": Reason("was gentle", "The gentle one", "다정했", "다정한"),
    "new": Reason("was new there", "The new one", "처음 왔", "처음 온"),
    "lantern": Reason("had a lantern", "The one with the lantern", "등잔을 들었", "등잔을 든"),
    "sleepy": Reason("was sleepy", "The sleepy one", "졸렸", "졸린"),
    "soft": Reason("was soft", "The soft one", "푹신했", "푹신한"),
}

VERBS = (
    Verb("The {a} chased the {b}", "{a:가} {b:를} 쫓아갔습니다.", ("hungry", "angry"), ("nut", "flowers")),
    Verb("The {a} fed the {b}", "{a:가} {b:에게} 밥을 주었습니다.", ("kind", "plenty"), ("hungry", "sick")),
    Verb("The {a} followed the {b}", "{a:가} {b:를} 따라갔습니다.", ("lost", "lonely"), ("way", "honey")),
    Verb("The {a} carried the {b}", "{a:가} {b:를} 업어 주었습니다.", ("strong", "kind"), ("hurt", "tired")),
    Verb("The {a} hid from the {b}", "{a:가} {b:를} 피해 숨었습니다.", ("scared", "shy"), ("angry", "loud")),
    Verb(
        "The {a} comforted the {b}",
        "{a:가} {b:를} 달래 주었습니다.",
        ("kind", "gentle"),
        ("lonely", "scared"),
    ),
    Verb(
        "The {a} guided the {b}", "{a:가} {b:에게} 길을 알려 주었습니다.", ("way", "lantern"), ("lost", "new")
    ),
    Verb("The {a} leaned on the {b}", "{a:가} {b:에게} 기댔습니다.", ("tired", "sleepy"), ("strong", "soft")),
)

# How often the answer is told as "The hungry one was …", and how often asked for: "Who was hungry? …"
_TOLD, _ASKED = 65, 35


def reference_lines(language: str) -> list[tuple[int, str]]:
    """Every reference sentence of ``language`` as a weighted template over the animals ``{a}`` and ``{b}``.

    The deciding word is the last slot of each template, ``{a…}`` or ``{b…}``.

    >>> reference_lines("en")[0]
    (65, 'The {a} chased the {b} because it was hungry. The hungry one was the {a}.')
    """
    lines = []
    for verb in VERBS:
        for role, names in (("a", verb.actor), ("b", verb.other)):
            for reason in (REASONS[name] for name in names):
                if language == "en":
                    start = f"{verb.en} because it {reason.en}."
                    lines.append((_TOLD, f"{start} {reason.en_one} was the {{{role}}}."))
                    lines.append((_ASKED, f"{start} Who {reason.en}? The answer was the {{{role}}}."))
                else:
                    start = f"{verb.ko} 그것이 {reason.ko}기 때문입니다."
                    lines.append((_TOLD, f"{start} {reason.ko_one} 쪽은 {{{role}:였습니다}}."))
                    lines.append((_ASKED, f"{start} 누가 {reason.ko}을까요? 바로 {{{role}:였습니다}}."))
    return lines
