"""Sentences whose "it" / "그것" means one of two animals, and only their meaning says which.

"The dog chased the squirrel because it was hungry": the dog was. "… because it had stolen a nut": the
squirrel had. What happened and why decide together: who is hungry is the one who chases, but not the one
who feeds. Of the four reasons that go with each verb, two point at the one who acts and two at the other,
so that a guess is right half of the time.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """Why something happened: the clause, its noun phrase, and its question, in both languages."""

    en: str
    en_one: str
    en_who: str
    ko: str
    ko_one: str
    ko_who: str


class Verb(NamedTuple):
    """What one animal does to another, and the reasons that point at either."""

    en: str
    ko: str
    actor: tuple[str, str]
    other: tuple[str, str]


REASONS = {
    "hungry": Reason("was hungry", "The hungry one", "Who was hungry?", "배가 고팠기", "배가 고픈", "배가 고팠을까요?"),
    "angry": Reason("was angry", "The angry one", "Who was angry?", "화가 났기", "화가 난", "화가 났을까요?"),
    "nut": Reason("had stolen a nut", "The thief", "Who had stolen a nut?", "도토리를 훔쳤기", "도토리를 훔친", "도토리를 훔쳤을까요?"),
    "flowers": Reason("had stepped on the flowers", "The clumsy one", "Who had stepped on the flowers?", "꽃을 밟았기", "꽃을 밟은", "꽃을 밟았을까요?"),
    "sick": Reason("was sick", "The sick one", "Who was sick?", "몸이 아팠기", "몸이 아픈", "몸이 아팠을까요?"),
    "kind": Reason("was kind", "The kind one", "Who was kind?", "마음씨가 고왔기", "마음씨가 고운", "마음씨가 고왔을까요?"),
    "plenty": Reason("had plenty of food", "The rich one", "Who had plenty of food?", "먹을 것이 많았기", "먹을 것이 많은", "먹을 것이 많았을까요?"),
    "lost": Reason("was lost", "The lost one", "Who was lost?", "길을 잃었기", "길을 잃은", "길을 잃었을까요?"),
    "lonely": Reason("was lonely", "The lonely one", "Who was lonely?", "외로웠기", "외로운", "외로웠을까요?"),
    "way": Reason("knew the way", "The one who knew the way", "Who knew the way?", "길을 알았기", "길을 아는", "길을 알았을까요?"),
    "honey": Reason("had a honey jar", "The one with the jar", "Who had a honey jar?", "꿀단지를 들었기", "꿀단지를 든", "꿀단지를 들었을까요?"),
    "strong": Reason("was strong", "The strong one", "Who was strong?", "힘이 셌기", "힘이 센", "힘이 셌을까요?"),
    "hurt": Reason("had hurt a leg", "The hurt one", "Who had hurt a leg?", "다리를 다쳤기", "다리를 다친", "다리를 다쳤을까요?"),
    "tired": Reason("was tired", "The tired one", "Who was tired?", "지쳤기", "지친", "지쳤을까요?"),
    "scared": Reason("was scared", "The scared one", "Who was scared?", "겁이 났기", "겁이 난", "겁이 났을까요?"),
    "shy": Reason("was shy", "The shy one", "Who was shy?", "부끄러웠기", "부끄러운", "부끄러웠을까요?"),
    "loud": Reason("was too loud", "The loud one", "Who was too loud?", "너무 시끄러웠기", "시끄러운", "시끄러웠을까요?"),
    "gentle": Reason("was gentle", "The gentle one", "Who was gentle?", "다정했기", "다정한", "다정했을까요?"),
    "new": Reason("was new there", "The new one", "Who was new there?", "처음 왔기", "처음 온", "처음 왔을까요?"),
    "lantern": Reason("had a lantern", "The one with the lantern", "Who had a lantern?", "등잔을 들었기", "등잔을 든", "등잔을 들었을까요?"),
    "sleepy": Reason("was sleepy", "The sleepy one", "Who was sleepy?", "졸렸기", "졸린", "졸렸을까요?"),
    "soft": Reason("was soft", "The soft one", "Who was soft?", "푹신했기", "푹신한", "푹신했을까요?"),
}  # fmt: skip

VERBS = (
    Verb("The {a} chased the {b}", "{a:가} {b:를} 쫓아갔습니다.", ("hungry", "angry"), ("nut", "flowers")),
    Verb("The {a} fed the {b}", "{a:가} {b:에게} 밥을 주었습니다.", ("kind", "plenty"), ("hungry", "sick")),
    Verb("The {a} followed the {b}", "{a:가} {b:를} 따라갔습니다.", ("lost", "lonely"), ("way", "honey")),
    Verb("The {a} carried the {b}", "{a:가} {b:를} 업어 주었습니다.", ("strong", "kind"), ("hurt", "tired")),
    Verb("The {a} hid from the {b}", "{a:가} {b:를} 피해 숨었습니다.", ("scared", "shy"), ("angry", "loud")),
    Verb("The {a} comforted the {b}", "{a:가} {b:를} 달래 주었습니다.", ("kind", "gentle"), ("lonely", "scared")),
    Verb("The {a} guided the {b}", "{a:가} {b:에게} 길을 알려 주었습니다.", ("way", "lantern"), ("lost", "new")),
    Verb("The {a} leaned on the {b}", "{a:가} {b:에게} 기댔습니다.", ("tired", "sleepy"), ("strong", "soft")),
)  # fmt: skip

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
                    lines.append((_ASKED, f"{start} {reason.en_who} The answer was the {{{role}}}."))
                else:
                    start = f"{verb.ko} 그것이 {reason.ko} 때문입니다."
                    lines.append((_TOLD, f"{start} {reason.ko_one} 쪽은 {{{role}:였습니다}}."))
                    lines.append((_ASKED, f"{start} 누가 {reason.ko_who} 바로 {{{role}:였습니다}}."))
    return lines
