# %% [markdown] lang="ko"
# # 셀프 어텐션
# 손으로 만든 작은 헤드에서 행렬을 하나씩 계산하고, 훈련된 작은 모델에서 어텐션을 꺼 봅니다.
# %% [markdown] lang="en"
# # Self-attention
# A head made by hand, one matrix after another; then the trained tiny model, with its attention switched off.

# %% name="load"
import math

import torch

import llmref

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()

# %% [markdown] lang="ko"
# ## 손으로 만든 헤드
# 예문에서 고른 단어 네 개입니다. 단어마다 특징이 다섯 개 있습니다.
# %% [markdown] lang="en"
# ## A head made by hand
# Four words of the example sentence, each described by five features.

# %% name="words"
words = ("dog 강아지", "squirrel 다람쥐", "it 그것", "hungry 고팠기")


def show(name, matrix):
    print(f"{name}: {' x '.join(map(str, matrix.shape))}")
    for row, word in zip(matrix.tolist(), words, strict=True):
        print("".join(f"{number:5.2f}" for number in row), "", word)


# %% name="input"
x = torch.tensor(
    [  # dog, squirrel, chases, pronoun, hungry
        [1.0, 0.0, 1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
)
show("x", x)

# %% name="query"
query_matrix = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
query = x @ query_matrix  # wanted: [an animal, one that does something]
show("query", query)

# %% name="key"
key_matrix = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
key = x @ key_matrix  # offered: [an animal, one that does something]
show("key", key)

# %% name="scores"
head_dim = query.shape[-1]
scores = query @ key.T / math.sqrt(head_dim)
show("scores", scores)

# %% name="masked"
allowed = torch.ones(4, 4, dtype=torch.bool).tril()
masked = scores.masked_fill(~allowed, -math.inf)
show("masked", masked)

# %% name="weights"
weights = masked.softmax(dim=-1)
show("weights", weights)
assert torch.allclose(weights.sum(dim=-1), torch.ones(4))

# %% name="value"
value_matrix = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
value = x @ value_matrix  # passed on: [dog, squirrel]
show("value", value)

# %% name="output"
output = weights @ value
show("output", output)
assert torch.isclose(output[2, 0], output[2, 1])  # "it" cannot tell,
assert output[3, 0] > 2 * output[3, 1]  # and "hungry" now holds far more of the dog than of the squirrel

# %% name="matrices-figure"
from figures import figure, heatmap

for page in figure(
    "matrices",
    en="Six matrices for dog, squirrel, it, hungry: queries, keys, scores, weights, values, outputs. "
    "The row of 'hungry' has its greatest weight on 'dog', and its output is mostly dog; "
    "the row of 'it' takes the same from both animals.",
    ko="강아지, 다람쥐, 그것, 고팠기에 대한 행렬 여섯 개: 쿼리, 키, 점수, 가중치, 값, 출력. "
    "'고팠기' 행은 '강아지'의 가중치가 가장 크고 출력도 대부분 강아지입니다. "
    "'그것' 행은 두 동물에서 똑같이 가져옵니다.",
    size=(5.4, 7.4),
    subplots=(3, 2),
):
    names = [word.split()[page.language == "ko"] for word in words]
    animal, acts = ("animal", "acts") if page.language == "en" else ("동물", "행동")
    shown = (
        (page.text(en="query", ko="쿼리"), query, (animal, acts)),
        (page.text(en="key", ko="키"), key, (animal, acts)),
        (page.text(en="scores", ko="점수"), scores, names),
        (page.text(en="weights", ko="가중치"), weights, names),
        (page.text(en="value", ko="값"), value, names[:2]),
        (page.text(en="output", ko="출력"), output, names[:2]),
    )
    for axes, (title, matrix, columns) in zip(page.axes.flat, shown, strict=True):
        heatmap(axes, matrix, rows=names, columns=columns, values=True)
        if len(columns) == 2:
            axes.set_xticks([i + 0.5 for i in range(2)], columns, rotation=0, ha="center")
        axes.set_title(title)

# %% [markdown] lang="ko"
# ## 호출 한 번으로 얻는 같은 결과
# 패키지의 두 단계, 그리고 두 단계를 하나로 합친 PyTorch의 호출과 견줍니다.
# %% [markdown] lang="en"
# ## The same from one call
# Compared with the package's two steps, and with PyTorch's fused call.

# %% name="fused"
from torch.nn.functional import scaled_dot_product_attention

from llmref.attention import attention_weights, combine, relevance_scores

q, k, v = (matrix[None, None] for matrix in (query, key, value))  # one batch, one head
package = combine(attention_weights(relevance_scores(q, k), allowed[None]), v)
fused = scaled_dot_product_attention(q, k, v, is_causal=True)
assert torch.allclose(package[0, 0], output, atol=1e-6)
assert torch.allclose(fused[0, 0], output, atol=1e-6)
print("by hand, by the package's two steps and by PyTorch's fused call: the same matrix")

# %% name="fused-tiny"
ids = [model.config.bos_id, *tokenizer.encode("The dog chased the squirrel because it was hungry.")]
seen = llmref.trace(model, ids)
n_blocks, largest = len(model.blocks), 0.0
for block in range(n_blocks):
    name = f"blocks.{block}.attention"
    q, k, v = (seen[f"{name}.{part}"] for part in ("query", "key", "value"))
    group = q.shape[1] // k.shape[1]  # heads that share a key/value head
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    fused = scaled_dot_product_attention(q, k, v, is_causal=True)
    largest = max(largest, (fused - seen[f"{name}.head_outputs"]).abs().max().item())
print(f"query of one block: {' x '.join(map(str, q.shape))}   [batch, heads, tokens, head_dim]")
print(f"fused call against the two steps, all {n_blocks} blocks equal to 1e-5: {largest < 1e-5}")
assert largest < 1e-5

# %% [markdown] lang="ko"
# ## "그것"은 누구인가
# 두 문장은 이유만 다르고, 이유에 따라 답이 달라집니다.
# 두 동물은 훈련할 때 같은 역할로 이런 문장에 함께 나온 적이 없습니다.
# %% [markdown] lang="en"
# ## Who is "it"?
# The sentences differ in the reason alone, and the reason decides.
# Training never put these two animals, in these roles, into one such sentence.

# %% name="sentences"
from llmref.corpus.references import reference_lines
from llmref.corpus.words import ANIMALS, with_particle
from llmref.corpus.world import held_out


class Noun(str):
    """A noun that a template asks for with a particle: {a:가}."""

    def __format__(self, particle):
        return with_particle(self, particle) if particle else str(self)


def questions(language):
    """The text up to the deciding word, that word, the same word with the other animal, and both animals."""
    numbers = range(len(ANIMALS))
    pairs = [(a, b) for a in numbers for b in numbers if a != b and held_out(a, b)][::2]
    for _, template in reference_lines(language)[::2]:
        start, _, slot = template.rpartition(" {")  # slot: "a}." or "b:였습니다}."
        other = "b" if slot[0] == "a" else "a"
        for pair in pairs:
            a, b = (Noun(ANIMALS[number].form(language, "")) for number in pair)
            nouns = {"a": a, "b": b}
            right, wrong = (f" {{{letter}{slot[1:]}".format(**nouns) for letter in (slot[0], other))
            yield start.format(**nouns), right, wrong, nouns[slot[0]], nouns[other]


for language in ("en", "ko"):
    asked = list(questions(language))
    print(f"{len(asked)} questions. {asked[0][0]} → {asked[0][1].strip()}")

# %% name="batch"
from llmref.corpus.grammar import split_units


def split(text):
    """The words of a text, its ids, and for each id the number of its word; word 0 begins the text."""
    units = split_units(text)
    pieces = [[model.config.bos_id], *(tokenizer.encode(unit) for unit in units)]
    owner = [number for number, piece in enumerate(pieces) for _ in piece]
    return ["⊢", *(unit.strip() for unit in units)], sum(pieces, []), owner


def pad(rows):
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def batch(language):
    """All questions at once: ids, the last place, the two possible tokens, where the two animals stand."""
    all_ids, last, right, wrong, right_at, wrong_at = [], [], [], [], [], []
    for text, right_word, wrong_word, right_animal, wrong_animal in questions(language):
        names, ids, owner = split(text)
        right_ids, wrong_ids = tokenizer.encode(right_word), tokenizer.encode(wrong_word)
        while right_ids[0] == wrong_ids[0]:  # up to the first token in which the two answers part
            ids, right_ids, wrong_ids = ids + right_ids[:1], right_ids[1:], wrong_ids[1:]
        all_ids.append(ids)
        last.append(len(ids) - 1)
        right.append(right_ids[0])
        wrong.append(wrong_ids[0])
        for animal, places in ((right_animal, right_at), (wrong_animal, wrong_at)):
            first = next(number for number, name in enumerate(names) if name.startswith(animal))
            places.append([number == first for number in owner] + [False] * (len(ids) - len(owner)))
    return pad(all_ids), *map(torch.tensor, (last, right, wrong)), pad(right_at), pad(wrong_at)


batches = {language: batch(language) for language in ("en", "ko")}


def accuracy(language, cuts=()):
    """How often the right animal gets a higher logit than the other; chance is 50%."""
    ids, last, right, wrong, _, _ = batches[language]
    each = torch.arange(len(ids))
    with llmref.cutting(model, cuts), torch.no_grad():
        hidden = model.hidden_states(ids, llmref.sequential_positions(ids))
        logits = model.lm_head(hidden[each, last])
    return 100 * (logits[each, right] > logits[each, wrong]).float().mean().item()


# %% name="cut"
layers = [f"blocks.{number}.attention" for number in range(len(model.blocks))]
settings = {"nothing cut": [], **{f"{layer} cut": [layer] for layer in layers}, "all attention cut": layers}
found = {}
print(f"{'':24}English   Korean")
for setting, names in settings.items():
    cuts = [llmref.Cut(name) for name in names]
    found[setting] = {language: accuracy(language, cuts) for language in ("en", "ko")}
    print(f"{setting:24}{found[setting]['en']:6.1f}%  {found[setting]['ko']:6.1f}%")

for language in ("en", "ko"):
    whole = found["nothing cut"][language]
    assert whole > 90  # it knows who "it" is,
    assert min(found[f"{layer} cut"][language] for layer in layers) < whole - 10  # some layer matters much,
    assert found["all attention cut"][language] == 50  # and without any it cannot do better than a coin

# %% name="cut-figure"
from figures import COLORS, figure

for page in figure(
    "cut",
    en="How often the model is right in English: with nothing cut, with each block's attention cut, "
    "and with all of it cut. A line marks chance.",
    ko="한국어 문장에서 맞힌 비율. 그대로일 때, 블록마다 어텐션을 끌 때, 모두 끌 때입니다. "
    "우연히 맞힐 비율을 선으로 표시했습니다.",
    size=(5, 3),
):
    heights = [found[setting][page.language] for setting in settings]
    labels = [page.text(en="none", ko="없음"), *map(str, range(len(layers))), page.text(en="all", ko="모두")]
    page.axes.bar(labels, heights, color=[COLORS[0], *[COLORS[2]] * len(layers), COLORS[1]])
    for place, height in enumerate(heights):
        page.axes.text(place, height + 1.5, f"{height:.0f}", ha="center")
    page.axes.axhline(50, color="#000", linewidth=1, linestyle="--")
    page.axes.set_ylim(0, 112)
    page.axes.set_yticks([0, 50, 100])
    page.axes.set_xlabel(page.text(en="block whose attention is cut", ko="어텐션을 끈 블록"))
    page.axes.set_ylabel(page.text(en="right (%)", ko="정답 비율(%)"))

# %% name="no-mixing"
pairs = {
    "en": (
        "The dog chased the squirrel because it was hungry. The hungry one was the",
        "The dog chased the squirrel because it had stolen a nut. The thief was the",
    ),
    "ko": (
        "강아지가 다람쥐를 쫓아갔습니다. 그것이 배가 고팠기 때문입니다. 배가 고픈 쪽은",
        "강아지가 다람쥐를 쫓아갔습니다. 그것이 도토리를 훔쳤기 때문입니다. 도토리를 훔친 쪽은",
    ),
}


def last_logits(text, cuts=()):
    return llmref.trace(model, split(text)[1], cuts=cuts)["logits"][0, -1]


everything = [llmref.Cut(layer) for layer in layers]
for language, (first, second) in pairs.items():
    whole = (last_logits(first) - last_logits(second)).abs().max().item()
    cut = (last_logits(first, everything) - last_logits(second, everything)).abs().max().item()
    print(f"{language}: the logits differ by up to {whole:.2f}; with attention cut, by {cut:.2f}")
    assert whole > 0.1 and cut < 1e-4

# %% [markdown] lang="ko"
# ## 어디를 보는가
# 마지막 토큰이 두 동물에 주는 가중치를 헤드마다 잽니다.
# %% [markdown] lang="en"
# ## Where it looks
# The weights from the last token to the two animals, head by head.

# %% name="heads"
best = {}
for language in ("en", "ko"):
    ids, last, _, _, right_at, wrong_at = batches[language]
    seen = llmref.trace(model, ids)
    each, heads = torch.arange(len(ids)), []
    for block in range(len(model.blocks)):
        looks = seen[f"blocks.{block}.attention.weights"][each, :, last]  # [questions, heads, keys]
        on_right, on_wrong = (
            (looks * places[:, None]).sum(dim=-1).mean(dim=0) for places in (right_at, wrong_at)
        )
        for head, gap in enumerate((on_right - on_wrong).tolist()):
            heads.append((gap, block, head, on_right[head].item(), on_wrong[head].item()))
    _, block, head, right, wrong = max(heads)
    best[language] = (block, head)
    print(f"{language}: block {block}, head {head}; right animal {right:.2f}, the other {wrong:.2f}")
    assert right > 2 * wrong

# %% name="example"
examples = {}
for language, texts in pairs.items():
    block, head = best[language]
    examples[language] = []
    for right, text in enumerate(texts):  # the dog in the first sentence, the squirrel in the second
        names, ids, owner = split(text)
        looks = llmref.trace(model, ids)[f"blocks.{block}.attention.weights"][0, head, -1]
        by_word = torch.zeros(len(names)).index_add(0, torch.tensor(owner), looks)
        examples[language].append((names, by_word.tolist()))
        animals = (("dog", "강아지"), ("squirrel", "다람쥐"))
        on = [by_word[[name.startswith(one) for name in names]].sum().item() for one in animals]
        print(f"{text}\n    dog 강아지 {on[0]:.2f}, squirrel 다람쥐 {on[1]:.2f}")
        assert on[right] > 2 * on[1 - right]

# %% name="idea-figure"
from figures import COLORS, figure

for page in figure(
    "idea",
    en="Where the last word looks, in two sentences that differ in the reason. "
    "Hungry: more at 'dog' than at 'squirrel'. Had stolen a nut: more at 'squirrel'.",
    ko="이유만 다른 두 문장에서 마지막 단어가 보는 곳. "
    "배가 고팠을 때는 '강아지가'를 더 보고, 도토리를 훔쳤을 때는 '다람쥐를' 더 봅니다.",
    size=(5, 5),
    subplots=(1, 2),
):
    for axes, (names, by_word) in zip(page.axes, examples[page.language], strict=True):
        animals = [name.startswith(("dog", "squirrel", "강아지", "다람쥐")) for name in names]
        colors = [COLORS[1] if animal else COLORS[0] for animal in animals]
        axes.barh(range(len(names)), by_word, color=colors)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
        axes.set_xlabel(page.text(en="weight", ko="가중치"))

# %% [markdown] lang="ko"
# ## 점수를 다듬는 방법
# %% [markdown] lang="en"
# ## What else is done to scores

# %% name="query-key-norm"
from llmref.config import QueryKeyNormConfig
from llmref.normalization import QueryKeyNorm

torch.manual_seed(0)
norm = QueryKeyNorm(QueryKeyNormConfig(), n_heads=1, head_dim=16)
one_query, one_key = torch.randn(2, 1, 1, 1, 16)
for times in (1, 10, 1000):
    plain = (times * one_query * one_key).sum() / math.sqrt(16)
    normalized = (norm(times * one_query) * norm(one_key)).sum() / math.sqrt(16)
    print(f"query × {times:<5} score {plain:9.2f}   with the norms {normalized:6.2f}")
    assert normalized.abs() <= math.sqrt(16) + 1e-4

# %% name="soft-cap"
from llmref.attention.scoring import soft_cap

raw = torch.tensor([-200.0, -10.0, 1.0, 10.0, 50.0, 200.0])
print("score ", "".join(f"{score:8.1f}" for score in raw))
print("capped", "".join(f"{score:8.1f}" for score in soft_cap(raw, cap=50.0)))
assert soft_cap(raw, cap=50.0).abs().max() < 50

# %% name="sinks"
from llmref.attention.scoring import weights_with_sinks

nothing_relevant = torch.zeros(1, 1, 1, 3)  # one query, three keys, all scores 0
everyone = torch.ones(1, 1, 3, dtype=torch.bool)
given = {}
for sink in (-4.0, 0.0, 4.0):
    row = weights_with_sinks(nothing_relevant, everyone, torch.tensor([sink]))[0, 0, 0]
    given[sink] = row.sum().item()
    weights_shown = ", ".join(f"{weight:.3f}" for weight in row)
    print(f"sink {sink:+.0f}: weights {weights_shown}; together {given[sink]:.3f}")
assert given[-4.0] > 0.99 and given[4.0] < 0.1

# %% name="scores-figure"
from figures import COLORS, figure

for page in figure(
    "scores",
    en="Left: a soft cap at 50. The curve follows the diagonal near 0 and levels off towards 50 and −50. "
    "Right: how much weight three tokens get together when all scores are 0, for a sink of −4, 0 and 4: "
    "nearly all of it, three quarters, and almost nothing; the sink takes the rest.",
    ko="왼쪽: 상한 50의 부드러운 상한. 0 근처에서는 대각선을 따르다가 50과 −50에 가까워지며 평평해집니다. "
    "오른쪽: 점수가 모두 0일 때 토큰 세 개가 받는 가중치의 합. 싱크가 −4이면 거의 전부, 0이면 4분의 3, "
    "4이면 거의 아무것도 받지 못하고, 나머지는 싱크가 가져갑니다.",
    size=(7, 3.2),
    subplots=(1, 2),
):
    left, right = page.axes
    line = torch.linspace(-150, 150, 301)
    left.plot(line, line, color=COLORS[4], linewidth=1, linestyle="--")
    left.plot(line, soft_cap(line, cap=50.0), color=COLORS[0])
    left.set_ylim(-80, 80)
    left.set_xlabel(page.text(en="score", ko="점수"))
    left.set_ylabel(page.text(en="after the cap", ko="상한을 거친 점수"))
    names = [f"{sink:+.0f}".replace("-", "−").replace("+0", "0") for sink in given]
    right.bar(names, list(given.values()), color=COLORS[0], label=page.text(en="tokens", ko="토큰"))
    rest = [1 - together for together in given.values()]
    right.bar(
        names, rest, bottom=list(given.values()), color=COLORS[1], label=page.text(en="sink", ko="싱크")
    )
    right.set_xlabel(page.text(en="the sink's score", ko="싱크의 점수"))
    right.set_ylabel(page.text(en="weight", ko="가중치"))
    page.figure.legend(loc="outside upper right", ncols=2, fontsize=11)

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="at-it"
for language, texts in pairs.items():
    block, head = best[language]
    looks = []
    for text in texts:
        names, ids, owner = split(text)
        word = next(number for number, name in enumerate(names) if name in ("it", "그것이"))
        place = max(i for i, number in enumerate(owner) if number == word)
        weights_of_block = llmref.trace(model, ids)[f"blocks.{block}.attention.weights"]
        looks.append(weights_of_block[0, head, place, : place + 1])
    change = (looks[0] - looks[1]).abs().max().item()
    print(f"{language}: weights of '{names[word]}' in the two sentences, largest difference {change:.6f}")
    assert change < 1e-5

# %% name="unscaled"
for name, divisor in (("divided by √head_dim", math.sqrt(head_dim)), ("not divided", 1.0)):
    row = (query[3] @ key.T / divisor).softmax(dim=-1)
    each = (f"{word} {weight:.2f}" for word, weight in zip(words, row.tolist(), strict=True))
    print(f"{name:22}", "  ".join(each))
