"""What the tokenizer tests share: texts of many kinds, a trained tokenizer, and the library as oracle."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import tokenizers
from hypothesis import settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from llmref.tokenizer import PATTERN, Tokenizer

EOT = "<|endoftext|>"
STEADY = settings(deadline=None, derandomize=True)  # the same examples on every run, and no clock

TEXTS = [
    "The dog chased the squirrel because it was hungry. It didn't catch it, and the dog's dinner was cold.\n"
    * 3,
    "강아지가 다람쥐를 쫓았다. 그것은 배가 고팠기 때문이다. 다람쥐는 나무 위로 올라갔고, 강아지는 짖었다!\n"
    * 3,
    "def step(x, n_heads=4):\n    return [x[i:i + 2] for i in range(0, len(x), 2)]  # 1234 + 5.6e-7\n" * 3,
    "👩‍👩‍👧‍👦 ❤️ 🏳️‍🌈 שלום עולם مرحبا “quoted” — 각\r\n\t\tdone … 　。",
]

SPECIMENS = [
    "",
    " ",
    "\x00",
    "\x00\x01\x1b[31m\x7f\x85\x9f",
    "한국어",  # as Jamo, decomposed
    "한국어",  # the same, composed
    "ㅋㅋㅋㅠㅠ ᄀᆞᆷᄀᆞᆯ",
    "👩🏽‍🚀👨‍👩‍👧‍👦🇰🇷 1️⃣ ❤️‍🔥",
    "שָׁלוֹם ‏עולם‎ مَرْحَبًا ١٢٣",
    "e\u0301 é ﬁ Ⅷ ½ ² İstanbul ß",
    "if x==1:\n\tprint('a' * 20)  \n\n\n# end\r\n",
    "a  b   c\u00a0d\u3000e\u2028f\ufeffg\u200bh",
    "1234567890 12 3.14 1,000,000",
    "𝔘𝔫𝔦 𠜎 \U0010ffff \ufffd \uffff",
    f"end{EOT}begin <|endoftext |> {EOT}{EOT}",
    "강아지" * 500,
    "a" * 3000,
    " " * 3000,
    "!?" * 1500,
]

ALPHABETS = [
    st.characters(exclude_categories=["Cs"]),
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3),  # Hangul
    st.characters(min_codepoint=0x1100, max_codepoint=0x11FF),  # Jamo
    st.sampled_from("👩👧❤🏽\u200d\ufe0f🇰🇷 "),
    st.characters(min_codepoint=0x590, max_codepoint=0x6FF),  # Hebrew, Arabic
    st.characters(max_codepoint=0xFF),  # controls and Latin-1
    st.sampled_from("the dog() {}\n\t\r 0123456789'\"<|>endoftext"),
]


def texts(max_size: int = 60) -> st.SearchStrategy[str]:
    """Any text: runs of one kind of characters, and what the tokenizer was trained on, in any order."""
    runs = st.one_of([st.text(alphabet, max_size=12) for alphabet in ALPHABETS])
    words = st.sampled_from([word for text in TEXTS for word in text.split(" ")] + SPECIMENS[:15])
    return st.lists(st.one_of(runs, words, st.just(" "), st.just(EOT)), max_size=max_size // 6).map("".join)


@cache
def trained() -> Tokenizer:
    """A tokenizer with some hundred merges."""
    return Tokenizer.train(TEXTS, vocab_size=480)


@cache
def oracle() -> tokenizers.Tokenizer:
    """The same tokenizer, as the library reads its file."""
    return as_library(trained())


def as_library(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """Hands a tokenizer over through its file."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        tokenizer.save(file)
        return tokenizers.Tokenizer.from_file(str(file))


def library_trained(
    texts: list[str], vocab_size: int, special_tokens: tuple[str, ...] = (EOT,), pattern: str = PATTERN
) -> tokenizers.Tokenizer:
    """What the library trains, set up as byte-level BPE with our split."""
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(texts, trainer)
    return library
