# %% [markdown] lang="ko"
# # 위치
# 위치를 모르는 모델에 프롬프트는 순서 없는 단어 묶음입니다. 단어을 섞어서 확인합니다.
# %% [markdown] lang="en"
# # Positions
# To a model without positions a prompt is a bag of words. We shuffle the words and look.

# %% name="load"
from dataclasses import replace

import torch

import llmref

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
everywhere = llmref.causal() | ~llmref.causal()  # a mask that allows every pair


def without_positions(n_blocks=5):
    """The tiny model's weights, of all its blocks or the first few; queries and keys are not rotated."""
    blocks = tuple(replace(b, attention=replace(b.attention, rope=None)) for b in model.config.blocks)
    other = llmref.Transformer(replace(model.config, blocks=blocks[:n_blocks]))
    other.load_state_dict({name: model.state_dict()[name] for name in other.state_dict()})
    return other


def last_logits(which, ids, mask=None):
    """What a model says at the last token."""
    tokens = torch.tensor([ids])
    with torch.no_grad():
        return which(tokens, llmref.sequential_positions(tokens), mask=mask)[0, -1]


bag = without_positions()

# %% [markdown] lang="ko"
# ## 두 단어을 맞바꾸기
# %% [markdown] lang="en"
# ## Two words change places

# %% name="swap"
pair = (
    "The dog chased the squirrel because it was hungry. The hungry one was the",
    "The squirrel chased the dog because it was hungry. The hungry one was the",
)
pair_ids = [[model.config.bos_id, *tokenizer.encode(text)] for text in pair]
assert sorted(pair_ids[0]) == sorted(pair_ids[1])  # the same tokens, in another order
answers = {}
for name, which, mask in (("with positions", model, None), ("without", bag, everywhere)):
    answers[name] = [last_logits(which, ids, mask).softmax(dim=-1) for ids in pair_ids]
    change = (answers[name][0] - answers[name][1]).abs().max().item()
    print(f"{name}: a probability changes by up to {change:.6f}")
    for text, probabilities in zip(pair, answers[name], strict=True):
        likeliest = int(probabilities.argmax())
        piece = tokenizer.decode([likeliest])
        print(f"  {text.partition(' because')[0]} …{piece} {probabilities[likeliest]:.3f}")
first, second = (int(probabilities.argmax()) for probabilities in answers["with positions"])
assert [tokenizer.decode([likeliest]) for likeliest in (first, second)] == [" dog", " squirrel"]
assert torch.allclose(*answers["without"], atol=1e-5)

# %% name="idea-figure"
from figures import COLORS, figure

for page in figure(
    "idea",
    en="Probabilities of dog, squirrel, cat after two sentences of the same words. With positions: dog after "
    "the first, squirrel after the second. Without: the same three bars after both.",
    ko="단어가 같은 두 문장 뒤에 dog, squirrel, cat이 올 확률. 위치가 있으면 첫 문장 뒤에는 dog, 둘째 문장 "
    "뒤에는 squirrel입니다. 위치가 없으면 두 문장의 막대 세 개가 똑같습니다.",
    size=(5.4, 4.4),
    subplots=(2, 2),
):
    words = ("dog", "squirrel", "cat")
    tokens = [tokenizer.encode(f" {word}")[0] for word in words]
    titles = (page.text(en="with positions", ko="위치 있음"), page.text(en="without", ko="위치 없음"))
    for row, (title, shown) in enumerate(zip(titles, answers.values(), strict=True)):
        for column, probabilities in enumerate(shown):
            axes = page.axes[row, column]
            axes.barh(words, probabilities[tokens].tolist(), color=COLORS[row])
            axes.set(xlim=(0, 1), xticks=[0, 0.5, 1])
            axes.invert_yaxis()
            axes.tick_params(length=0)
            if column:
                axes.set_yticks([])
            else:
                axes.set_ylabel(title)
            if row == 0:
                axes.set_title(("dog … squirrel", "squirrel … dog")[column])

# %% [markdown] lang="ko"
# ## 모두 섞기
# %% [markdown] lang="en"
# ## Everything shuffled

# %% name="shuffle"
prompts = {
    "en": pair[0],
    "ko": "강아지가 다람쥐를 쫓아갔습니다. 그것이 배가 고팠기 때문입니다. 배가 고픈 쪽은",
}
generator = torch.Generator().manual_seed(0)
shuffled = {}
for language, prompt in prompts.items():
    ids = [model.config.bos_id, *tokenizer.encode(prompt)]
    orders = [torch.randperm(len(ids) - 1, generator=generator).tolist() for _ in range(20)]
    shuffled[language] = [ids, *([ids[i] for i in order] + ids[-1:] for order in orders)]

for language, rows in shuffled.items():
    for name, which, mask in (("with positions", model, None), ("without", bag, everywhere)):
        logits = torch.stack([last_logits(which, row, mask) for row in rows])
        change = (logits - logits[0]).abs().max().item()
        kinds = len(set(logits.argmax(dim=-1).tolist()))
        print(f"{language}, {name:14} likeliest tokens: {kinds:2}; logits move by {change:7.4f}")
        assert (change < 1e-3 and kinds == 1) == (which is bag)

# %% [markdown] lang="ko"
# ## 코잘 마스크가 알려 주는 것
# %% [markdown] lang="en"
# ## What the causal mask tells

# %% name="depth"
print("largest change of the last token's logits over 20 shuffles, without positions")
print(f"{'blocks':24}" + "".join(f"{n:9}" for n in range(1, 6)))
moves = {}
for name, mask in (("looking everywhere", everywhere), ("causal mask", None)):
    moves[name] = []
    for n_blocks in range(1, 6):
        cut = without_positions(n_blocks)
        logits = torch.stack([last_logits(cut, row, mask) for row in shuffled["en"]])
        moves[name].append((logits - logits[0]).abs().max().item())
    print(f"{name:24}" + "".join(f"{move:9.4f}" for move in moves[name]))
assert max(moves["looking everywhere"]) < 1e-3
assert moves["causal mask"][0] < 1e-3 < 0.1 < min(moves["causal mask"][1:])

# %% name="counting"
from llmref.attention import attention_weights

length = 6
scores = torch.zeros(1, 1, length, length)  # no token prefers any other
allowed = torch.ones(1, length, length, dtype=torch.bool).tril()
weights = attention_weights(scores, allowed)[0, 0]
first = [round(weight, 2) for weight in weights[:, 0].tolist()]
print("weight of the first token, seen from each place:", first)

# %% [markdown] lang="ko"
# ## 위치를 알려 주는 방법
# %% [markdown] lang="en"
# ## Ways to tell a position

# %% name="sinusoidal"
from llmref.positions import alibi_bias, alibi_slopes, sinusoidal

waves = sinusoidal(torch.arange(64)[None], d_model=16)[0]
print(f"{waves.shape[0]} positions, {waves.shape[1]} numbers each")
for distance in (0, 1, 2, 4, 8, 16):
    products = [(waves[place] @ waves[place + distance]).item() for place in (0, 10, 40)]
    print(f"distance {distance:2}: " + "  ".join(f"{product:5.2f}" for product in products))
    assert max(products) - min(products) < 1e-4  # the distance alone

# %% name="sinusoidal-figure"
from figures import figure, heatmap

for page in figure(
    "sinusoidal",
    en="Sinusoidal vectors, a row for each position, a column for each number. The columns on the left "
    "change at every position; further right the waves grow longer, up to columns of a single colour.",
    ko="사인 위치 벡터. 행은 위치, 열은 벡터의 수입니다. 왼쪽 열은 위치마다 바뀌고, 오른쪽으로 갈수록 물결이 "
    "길어져 마지막 열들은 색이 하나입니다.",
    size=(5, 3.6),
):
    heatmap(page.axes, (waves[:16] + 1) / 2)
    page.axes.set_xticks([0.5, 5.5, 10.5, 15.5], [0, 5, 10, 15])
    page.axes.set_yticks([0.5, 5.5, 10.5, 15.5], [0, 5, 10, 15])
    page.axes.set_xlabel(page.text(en="dimension", ko="차원"))
    page.axes.set_ylabel(page.text(en="position", ko="위치"))

# %% name="alibi"
slopes = alibi_slopes(4)
here, there = torch.tensor([[5]]), torch.arange(6)[None]
print("query at position 5, keys at 0 to 5: what is added to the scores")
for head, row in enumerate(alibi_bias(slopes, here, there)[0, :, 0].tolist()):
    print(f"head {head}, slope {slopes[head]:.4f}:" + "".join(f"{number:7.3f}" for number in row))

# %% name="alibi-figure"
from figures import figure

for page in figure(
    "alibi",
    en="Four falling lines, one for each head: what ALiBi adds to a score, against the distance. "
    "Head 0 falls steeply, head 3 hardly at all.",
    ko="아래로 내려가는 직선 네 개. 거리에 따라 ALiBi가 점수에 더하는 값으로, 헤드마다 하나입니다. "
    "헤드 0은 가파르고, 헤드 3은 거의 평평합니다.",
    size=(5, 3),
):
    distances = torch.arange(0, 41, 10)
    added = alibi_bias(slopes, distances[None], torch.zeros(1, 1, dtype=torch.long))[0, :, :, 0]
    for head in range(4):
        page.axes.plot(distances, added[head], marker="os^v"[head], markersize=5, label=str(head))
    page.axes.set_xlabel(page.text(en="distance", ko="거리"))
    page.axes.set_ylabel(page.text(en="added to the score", ko="점수에 더하는 값"))
    page.axes.legend(title=page.text(en="head", ko="헤드"))

# %% [markdown] lang="ko"
# ## 위치만 다른 모델들
# %% [markdown] lang="en"
# ## Models alike but for their positions

# %% name="twins"
from llmref import twins

compared = twins.comparison("positions")
ranges = {"loss": [], "references": []}
print(f"{'':12}{'loss':^26}{'references, %':^24}")
for label, trained in compared.items():
    cells = []
    for name, digits in (("loss", 4), ("references", 1)):
        found = twins.spread(trained, name)
        ranges[name].append(found)
        cells.append(f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})")
    print(f"{label:12}{cells[0]:<26}{cells[1]}")
means = [found.mean for found in ranges["loss"]]
assert max(means) < 1.01 * min(means)
for found in ranges.values():  # all five ranges overlap
    assert max(one.low for one in found) < min(one.high for one in found)

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="half"
animals = ("dog", "cat", "fox", "bear", "rabbit", "mouse", "goat", "squirrel")
questions = [(a, b) for a in animals for b in animals if a != b]
for name, which, mask in (("with positions", model, None), ("without", bag, everywhere)):
    right = 0
    for a, b in questions:
        text = f"The {a} chased the {b} because it was hungry. The hungry one was the"
        logits = last_logits(which, [model.config.bos_id, *tokenizer.encode(text)], mask)
        answer, other = (tokenizer.encode(f" {animal}")[0] for animal in (a, b))
        right += bool(logits[answer] > logits[other])
    print(f"{name:15} {right} of {len(questions)} right")
    assert which is model or right == len(questions) // 2

# %% name="beyond"
from llmref.positions import LearnedPositions

table = LearnedPositions(context_length=64, d_model=32)
print("sinusoidal, position 64:", tuple(sinusoidal(torch.tensor([[64]]), d_model=32).shape))
print("ALiBi, distance 64:", alibi_bias(slopes, torch.tensor([[64]]), torch.tensor([[0]])).flatten().tolist())
try:
    table(torch.tensor([[64]]))
except IndexError as error:
    print("learned, position 64:", error)
