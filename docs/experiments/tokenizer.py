# %% [markdown] lang="ko"
# # 토크나이저
# 텍스트를 토큰 ID로, ID를 다시 텍스트로 바꿉니다.
# 어휘사전을 직접 훈련하고, 무엇을 넣어도 그대로 돌아오는지 확인합니다.
# %% [markdown] lang="en"
# # The tokenizer
# From text to token IDs and back. A vocabulary trained on the page,
# and a check that anything survives the round trip.

# %% name="load"
from collections import Counter

import llmref
from llmref.corpus import World
from llmref.tokenizer import PATTERN, Tokenizer, naive
from llmref.tokenizer.pattern import compile_pattern

model, tokenizer = llmref.load_tiny()
texts = {"ko": "강아지가 다람쥐를 쫓아갔습니다.", "en": "The dog chased the squirrel."}

# %% name="pieces"
for text in texts.values():
    ids = tokenizer.encode(text)
    print(" | ".join(tokenizer.pieces(ids)))
    print(ids, "→", tokenizer.decode(ids))

# %% name="ladder-figure"
from figures import COLORS, figure


def ladder(word, merges):
    """The parts of a word, before any merge and after each merge that changes it."""
    parts = [bytes([byte]) for byte in word.encode()]
    rows = [parts]
    for pair in merges:
        joined = naive.join(parts, pair)
        if joined != parts:
            parts = joined
            rows.append(parts)
    return rows


for page in figure(
    "ladder",
    en="The word ' squirrel' as nine bytes in the top row. Each row below joins one pair, "
    "until in the last row the word is a single token.",
    ko="맨 윗줄은 바이트로 나눈 단어 ' 여우가'입니다. 한 줄 내려갈 때마다 두 조각이 하나로 합쳐지고, "
    "마지막 줄에서는 단어 전체가 토큰 하나가 됩니다.",
    size=(6, 4.2),
):
    rows = ladder({"ko": " 여우가", "en": " squirrel"}[page.language], tokenizer.merges)
    axes = page.axes
    axes.set_axis_off()
    axes.set_xlim(0, sum(map(len, rows[0])))
    axes.set_ylim(-len(rows), 0.1)
    for row, parts in enumerate(rows):
        left = 0
        for part in parts:
            new = row > 0 and part not in rows[row - 1]
            axes.barh(
                -row - 0.4, len(part) - 0.08, 0.66, left + 0.04, color=COLORS[1 if new else 0], alpha=0.3
            )
            label = part.decode("utf-8", "replace")
            if "\ufffd" in label:
                label = " ".join(f"{byte:02x}" for byte in part)
            if label.startswith(" "):
                label = f"␣{label[1:]}"
            axes.text(left + len(part) / 2, -row - 0.4, label, ha="center", va="center", fontsize=13)
            left += len(part)

# %% [markdown] lang="ko"
# ## 바이트에서 시작한다
# %% [markdown] lang="en"
# ## It begins with bytes

# %% name="bytes"
for text in ("dog", "개", "🐶"):
    data = text.encode("utf-8")
    print(f"{text}  characters: {len(text)}, bytes: {len(data)}: {list(data)}")

# %% name="words"
split = compile_pattern(PATTERN).findall
for text in ("The dog's 2024 bones!", "강아지가 2024년에 짖었다!"):
    print(split(text))

# %% [markdown] lang="ko"
# ## 어휘사전 훈련하기
# %% [markdown] lang="en"
# ## Training a vocabulary

# %% name="train"
documents = list(World().documents(500, seed=7))
words = Counter(word.encode() for document in documents for word in split(document))
single_bytes = [bytes([byte]) for byte in range(256)]
merges = naive.learn_merges(words, single_bytes, vocab_size=256 + 300)
for place in (0, 1, 2, 3, 10, 50, 100, 200, 299):
    left, right = merges[place]
    shown = (left + right).decode("utf-8", "backslashreplace")
    print(f"merge {place:>3}: {left!r} + {right!r} → {shown!r}")

# %% name="twins"
fast = Tokenizer.train(documents, vocab_size=1 + 256 + 300)
same = 0
for document in documents:
    by_the_twin = [part for word in split(document) for part in naive.encode_word(word.encode(), fast.merges)]
    same += by_the_twin == [fast.token_bytes(token_id) for token_id in fast.encode(document)]
    if same == 50:
        break
print(f"{same} documents, the same tokens from the short code and from the fast code")
assert same == 50

# %% [markdown] lang="ko"
# ## 무엇을 넣어도 돌아온다
# %% [markdown] lang="en"
# ## Anything comes back

# %% name="round-trip"
samples = {
    "Hangul": "옛날 옛적에",
    "old Hangul": "나랏말ᄊᆞ미 듕귁에 달아",
    "emoji with joiners": "👩‍👩‍👧‍👦 🏳️‍🌈",
    "right to left": "שלום عليكم",
    "code": "def f(x):\n\treturn x ** 2  # µ",
    "nothing but spaces": "   \n\n ",
    "a word of 20,000 letters": "가" * 20_000,
}
for name, text in samples.items():
    ids = tokenizer.encode(text)
    print(
        f"{name:<26} {len(text):>6} characters {len(ids):>6} tokens, "
        f"comes back: {tokenizer.decode(ids) == text}"
    )
    assert tokenizer.decode(ids) == text

# %% name="broken"
broken = "강아지".encode()[:4] + b"\xff\x00"
ids = tokenizer.encode_bytes(broken)
print(f"{broken} comes back: {tokenizer.decode_bytes(ids) == broken}")
print("as text:", ascii(tokenizer.decode(ids)))
assert tokenizer.decode_bytes(ids) == broken

# %% [markdown] lang="ko"
# ## 음절 하나에 토큰 몇 개인가
# %% [markdown] lang="en"
# ## How many tokens for a syllable?

# %% name="sizes"
sizes = [300, 400, 600, 800, 1200, 1600, 2048]
world = {"ko": World(languages=("ko",)), "en": World(languages=("en",))}
mixed = [*World().documents(4000, seed=1)]


scripts = {"ko": ("가", "힣"), "en": ("A", "z")}


def words_alone(text, first, last):
    """The letters of one script, and the spaces between them: what we count tokens for."""
    return "".join(letter for letter in text if letter == " " or letter.isalpha() and first <= letter <= last)


fresh, letters = {}, {}
for language, script in scripts.items():
    stories = world[language].documents(200, seed=2)
    fresh[language] = [words_alone(story, *script) for story in stories]
    letters[language] = sum(map(str.isalpha, "".join(fresh[language])))

per_letter = {"ko": [], "en": []}
for size in sizes:
    trained = Tokenizer.train(mixed, vocab_size=size)
    for language, stories in fresh.items():
        tokens = sum(len(trained.encode(story)) for story in stories)
        per_letter[language].append(tokens / letters[language])
for size, ko, en in zip(sizes, per_letter["ko"], per_letter["en"], strict=True):
    print(f"{size:>5} entries: {ko:.2f} tokens for a Hangul syllable, {en:.2f} for a Latin letter")
assert all(a > b for values in per_letter.values() for a, b in zip(values, values[1:], strict=False))

# %% name="sizes-figure"
from figures import figure

for page in figure(
    "sizes",
    en="Tokens against the size of the vocabulary. Both curves fall: a Hangul syllable starts near two "
    "tokens, a Latin letter near one, and the distance between them shrinks.",
    ko="어휘사전의 크기에 따른 토큰 수. 두 곡선 모두 내려갑니다. 한글 음절은 두 개쯤에서, "
    "로마자는 한 개쯤에서 시작하며, 둘의 차이는 점점 줄어듭니다.",
    size=(6, 3.4),
):
    for language, label in (
        ("ko", page.text(en="a Hangul syllable", ko="한글 음절 하나")),
        ("en", page.text(en="a Latin letter", ko="로마자 하나")),
    ):
        page.axes.plot(sizes, per_letter[language], marker="o", label=label)
    page.axes.set_ylim(0)
    page.axes.set_xlabel(page.text(en="entries of the vocabulary", ko="어휘사전의 항목 수"))
    page.axes.set_ylabel(page.text(en="tokens", ko="토큰 수"))
    page.axes.legend()

# %% [markdown] lang="ko"
# ## 반쪽 글자와 특수 토큰
# %% [markdown] lang="en"
# ## Half characters and special tokens

# %% name="stream"
decoder = tokenizer.stream()
for token_id in tokenizer.encode("뷁!"):
    print(f"{tokenizer.pieces([token_id])[0]:<6} → {decoder.push(token_id)!r}")

# %% name="special"
text = "The end.<|endoftext|>"
plain = tokenizer.encode(text)
allowed = tokenizer.encode(text, allowed_special={"<|endoftext|>"})
print(len(plain), "tokens when a user wrote it:", tokenizer.pieces(plain))
print(len(allowed), "tokens when it is allowed:  ", tokenizer.pieces(allowed))
assert tokenizer.special_tokens["<|endoftext|>"] not in plain

# %% name="unseen"
for text in ("강아지", "고슴도치", "squirrel", "hedgehog"):
    ids = tokenizer.encode(" " + text)
    print(f"{text}: {len(ids)} tokens: {tokenizer.pieces(ids)}")
