# %% [markdown] lang="ko"
# # 로터리 위치 임베딩(RoPE)
# 벡터 두 개를 손으로 돌려 보고, 훈련된 작은 모델에서 점수가 거리로만 정해지는지 확인합니다.
# %% [markdown] lang="en"
# # Rotary positional embedding (RoPE)
# Two vectors turned by hand; then the trained tiny model: do its scores depend on the distance alone?

# %% name="load"
import math
from dataclasses import replace

import torch

import llmref
from llmref.rope import frequencies, rotate, rotation

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
ids = [model.config.bos_id, *tokenizer.encode("The dog chased the squirrel because it was hungry.")]

# %% [markdown] lang="ko"
# ## 쿼리 하나, 키 하나
# 수 네 개, 곧 두 쌍입니다. "그것"의 쿼리는 위치 7에, "강아지"의 키는 위치 2에 있습니다.
# %% [markdown] lang="en"
# ## One query, one key
# Four numbers, that is two pairs. The query of "it" stands at position 7, the key of "dog" at position 2.

# %% name="sentences"
for sentence in (
    "옛날에 강아지가 작은 다람쥐를 쫓아갔습니다. 그것이 배가 고팠기 때문입니다.",
    "The dog chased the squirrel because it was hungry.",
):
    pieces = ["⊢", *tokenizer.pieces(tokenizer.encode(sentence))]
    print({position: pieces[position] for position in (2, 7)})
    assert (pieces[2], pieces[7]) in ((" 강아지가", " 그것이"), (" dog", " it"))

# %% name="vectors"
query = torch.tensor([2.0, 2.0, 2.0, 0.0])  # of "it"
key = torch.tensor([1.0, 1.0, 1.0, 1.0])  # of "dog"
speeds = frequencies(head_dim=4, base=100.0)
print("radians for each position:", [round(speed, 3) for speed in speeds.tolist()])


# %% name="turn"
def turn(vector, position):
    """A vector of two pairs as it is at a position."""
    cos, sin = rotation(torch.tensor([[position]]), head_dim=4, base=100.0)
    return rotate(vector[None, None, None], cos, sin, layout="interleaved")[0, 0, 0]


def show(name, vector):
    pairs = (f"({x:5.2f},{y:5.2f})" for x, y in vector.unflatten(0, (2, 2)).tolist())
    print(f"{name:6} {' '.join(pairs)}")


def show_score(one, other):
    first, second = (one * other).unflatten(0, (2, 2)).sum(dim=-1).tolist()
    print(f"q · k  {first:.3f} + {second:.3f} = {first + second:.3f}")
    return first + second


# %% name="dials"
from figures import COLORS, figure
from matplotlib.patches import Circle


def hand(axes, pair, color, style="-", label=None):
    x, y = pair.tolist()
    axes.plot([0, x], [0, y], style, color=color, linewidth=2.5, label=label)
    if style == "-":
        axes.plot([x], [y], "o", color=color, markersize=6)


def dials(name, en, ko, query_now, key_now, query_then=None, key_then=None):
    """Two dials, one for each pair: the query's hand and the key's; dotted where a hand stood before."""
    for page in figure(name, en=en, ko=ko, size=(5, 2.9), subplots=(1, 2)):
        for number, axes in enumerate(page.axes):
            pair = slice(2 * number, 2 * number + 2)
            axes.add_patch(Circle((0, 0), 3, fill=False, edgecolor="#000", linewidth=0.6, alpha=0.4))
            for now, then, color, label in (
                (query_now, query_then, COLORS[0], page.text(en="query, it", ko="쿼리, 그것")),
                (key_now, key_then, COLORS[1], page.text(en="key, dog", ko="키, 강아지")),
            ):
                if then is not None:
                    hand(axes, then[pair], color, ":")
                if now is not None:
                    hand(axes, now[pair], color, label=label if number == 0 else None)
            axes.set(xlim=(-3.1, 3.1), ylim=(-3.1, 3.1), aspect="equal")
            axes.set_title(page.text(en=f"pair {number}", ko=f"쌍 {number}"))
            axes.axis("off")
        page.figure.legend(loc="outside lower center", ncols=2)


# %% name="step-pairs"
show("query", query)
show("key", key)
show_score(query, key)
dials(
    "step-pairs",
    "Two dials. In pair 0 both hands point up and to the right. In pair 1 the query points right, "
    "the key up and to the right.",
    "다이얼 두 개. 쌍 0에서는 두 바늘이 모두 오른쪽 위를 가리킵니다. 쌍 1에서는 쿼리가 오른쪽을, "
    "키가 오른쪽 위를 가리킵니다.",
    query,
    key,
)

# %% name="step-speeds"
for number, speed in enumerate(speeds.tolist()):
    print(f"pair {number}: {speed:.1f} radians, {math.degrees(speed):4.1f} degrees")

# %% name="step-angles"
for name, position in (("query", 7), ("key", 2)):
    print(f"{name} at position {position}, in radians:")
    for number, speed in enumerate(speeds.tolist()):
        print(f"  pair {number}: {position} x {speed:.1f} = {position * speed:.1f}")

# %% name="step-query"
angle = 7 * speeds[0].item()
c, s = math.cos(angle), math.sin(angle)
print(f"pair 0: cos 7 = {c:.3f}, sin 7 = {s:.3f}")
print(f"  2 x {c:.3f} - 2 x {s:.3f} = {turn(query, 7)[0]:.3f}")
print(f"  2 x {c:.3f} + 2 x {s:.3f} = {turn(query, 7)[1]:.3f}")
show("before", query)
show("after", turn(query, 7))
print(f"length {query.norm():.2f} before, {turn(query, 7).norm():.2f} after")
dials(
    "step-query",
    "The query's hands, before dotted and after solid. In pair 0 it has turned once around and a bit more; "
    "in pair 1 by less than a quarter turn.",
    "쿼리의 바늘. 점선은 돌리기 전, 실선은 돌린 뒤입니다. 쌍 0은 한 바퀴를 돌고 조금 더 갔고, "
    "쌍 1은 반의반 바퀴도 돌지 않았습니다.",
    turn(query, 7),
    None,
    query,
    None,
)
assert torch.allclose(turn(query, 7).norm(), query.norm())

# %% name="step-key"
show("before", key)
show("after", turn(key, 2))
print(f"length {key.norm():.2f} before, {turn(key, 2).norm():.2f} after")
dials(
    "step-key",
    "Both hands in both dials, before dotted and after solid. The key has turned by two positions, "
    "the query by seven.",
    "두 다이얼의 두 바늘. 점선은 돌리기 전, 실선은 돌린 뒤입니다. 키는 위치 두 개만큼, 쿼리는 일곱 개만큼 "
    "돌았습니다.",
    turn(query, 7),
    turn(key, 2),
    query,
    key,
)

# %% name="step-score"
show("query", turn(query, 7))
show("key", turn(key, 2))
here = show_score(turn(query, 7), turn(key, 2))

# %% name="step-shift"
show("query", turn(query, 107))
show("key", turn(key, 102))
there = show_score(turn(query, 107), turn(key, 102))
dials(
    "step-shift",
    "Positions 107 and 102: all hands point elsewhere than at 7 and 2, dotted, "
    "but the angle between query and key is the same in each dial.",
    "위치 107과 102. 모든 바늘이 점선으로 그린 7과 2일 때와 다른 곳을 가리키지만, "
    "다이얼마다 쿼리와 키 사이의 각도는 같습니다.",
    turn(query, 107),
    turn(key, 102),
    turn(query, 7),
    turn(key, 2),
)
assert abs(here - there) < 1e-3

# %% name="step-distance"
for position in (7, 6, 5, 4, 3, 2):
    score = turn(query, 7) @ turn(key, position)
    alone = query @ turn(key, position - 7)  # the key alone is turned
    print(f"key at {position}: {score:5.2f}; alone by {position - 7:2}: {alone:5.2f}")
    assert abs(score - alone) < 1e-4

# %% name="idea-figure"
it = ids.index(tokenizer.encode(" it")[0])
vector = llmref.trace(model, ids, positions=torch.zeros(1, len(ids), dtype=torch.long))[
    "blocks.0.attention.query"
][0, 0, it]  # at position 0, so not turned
pairs = torch.stack(vector.chunk(2), dim=-1)  # pair i holds dimensions i and i + 16
shown, positions = (0, 3, 6), (0, 1, 2, 3)
cos, sin = rotation(torch.tensor([positions]), head_dim=32)
for page in figure(
    "idea",
    en="Three dials for three pairs of one query. Its hands at positions 0 to 3: pair 0 turns by 57 degrees "
    "at each position, pair 3 by 10, and pair 6 hardly at all.",
    ko="쿼리 하나의 쌍 세 개를 나타낸 다이얼 세 개. 위치 0부터 3까지의 바늘입니다. 위치가 하나 늘 때마다 "
    "쌍 0은 57도, 쌍 3은 10도 돌고, 쌍 6은 거의 돌지 않습니다.",
    size=(5.6, 2.2),
    subplots=(1, 3),
):
    for axes, pair in zip(page.axes, shown, strict=True):
        x, y = (pairs[pair] / pairs[pair].norm()).tolist()
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor="#000", linewidth=0.6, alpha=0.4))
        for position in positions:
            c, s = cos[0, position, pair].item(), sin[0, position, pair].item()
            tip = (x * c - y * s, y * c + x * s)
            axes.plot([0, tip[0]], [0, tip[1]], color=COLORS[position])
            if pair == 0:
                axes.text(1.2 * tip[0], 1.2 * tip[1], str(position), ha="center", va="center", fontsize=11)
        if pair > 0:  # the hands stand too close for a number each
            axes.text(
                1.25 * x, 1.25 * y, f"{positions[0]}–{positions[-1]}", ha="center", va="center", fontsize=11
            )
        axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal")
        axes.set_title(page.text(en=f"pair {pair}", ko=f"쌍 {pair}"))
        axes.axis("off")

# %% [markdown] lang="ko"
# ## 거리로만
# 작은 모델의 쿼리 하나와 키 하나를 모든 위치에 놓아 봅니다.
# %% [markdown] lang="en"
# ## By the distance alone
# One query and one key of the tiny model, put at every position.

# %% name="grid"
unturned = llmref.trace(model, ids, positions=torch.zeros(1, len(ids), dtype=torch.long))
it, dog = ids.index(tokenizer.encode(" it")[0]), ids.index(tokenizer.encode(" dog")[0])
query_it = unturned["blocks.0.attention.query"][0, 0, it]  # at position 0 nothing is turned
key_dog = unturned["blocks.0.attention.key"][0, 0, dog]
places = torch.arange(12)[None]


def at_every_place(vector):
    cos, sin = rotation(places, head_dim=32)
    return rotate(vector.expand(1, 1, 12, 32), cos, sin)[0, 0]


added = llmref.positions.sinusoidal(places, 32)[0]
grids = {
    "rotated": at_every_place(query_it) @ at_every_place(key_dog).T,  # [m, n]
    "added": (query_it + added) @ (key_dog + added).T,
}
for name, grid in grids.items():
    diagonals = [grid.diagonal(offset) for offset in range(-11, 12)]
    within = max((diagonal.max() - diagonal.min()).item() for diagonal in diagonals)
    lowest, highest = grid.min().item(), grid.max().item()
    print(f"{name:8} scores {lowest:6.2f} to {highest:5.2f}; at one distance up to {within:.4f} apart")
    assert (within < 1e-4) == (name == "rotated")

# %% name="grid-figure"
from figures import figure, heatmap

for page in figure(
    "grid",
    en="Two grids of scores, query position down, key position across. Rotated: every diagonal has one "
    "colour. Added: the colour changes along the diagonals.",
    ko="점수 격자 두 개. 세로가 쿼리의 위치, 가로가 키의 위치입니다. 회전: 대각선마다 색이 하나입니다. "
    "더하기: 대각선을 따라 색이 바뀝니다.",
    size=(5.6, 3.2),
    subplots=(1, 2),
):
    titles = (page.text(en="rotated", ko="회전"), page.text(en="added", ko="더하기"))
    for axes, title, grid in zip(page.axes, titles, grids.values(), strict=True):
        heatmap(axes, (grid - grid.min()) / (grid.max() - grid.min()))
        ticks = [0, 5, 10]
        axes.set_xticks([tick + 0.5 for tick in ticks], ticks)
        axes.set_yticks([tick + 0.5 for tick in ticks], ticks)
        axes.set(aspect="equal", title=title)
        axes.set_xlabel(page.text(en="key's position n", ko="키의 위치 n"))
        axes.set_ylabel(page.text(en="query's position m", ko="쿼리의 위치 m"))

# %% name="shift"
here = torch.arange(len(ids))[None]
near, far = (llmref.trace(model, ids, positions=here + shift) for shift in (0, 100))
print("all positions moved by 100. Largest change, in the first block:")
for name in ("input", "attention.value", "attention.query", "attention.key", "attention.scores", "output"):
    change = (near[f"blocks.0.{name}"] - far[f"blocks.0.{name}"]).abs().max().item()
    print(f"  {name:17} {change:8.4f}")
    assert (change > 0.1) == (name in ("attention.query", "attention.key"))
change = (near["logits"] - far["logits"]).abs().max().item()
print(f"  {'logits':17} {change:8.4f}   after all blocks")
assert change < 0.01

# %% [markdown] lang="ko"
# ## 한 행에 담은 여러 문서
# %% [markdown] lang="en"
# ## Several documents in one row

# %% name="packing"
from llmref.corpus import World
from llmref.training import pack


class InOrder(llmref.Mask):
    """Each token looks at itself and at all that stands before it in its row, whatever the positions."""

    def pairs(self, query_positions, key_positions):
        queries, keys = query_positions.shape[1], key_positions.shape[2]
        return torch.ones(len(query_positions), queries, keys, dtype=torch.bool).tril(keys - queries)


texts = [tokenizer.encode(text) for text in World().documents(48, seed=5)]
batch = pack(texts, length=256, bos_id=model.config.bos_id, eos_id=model.config.eos_id)
counted = torch.arange(256).expand(batch.ids.shape).where(batch.positions >= 0, -1)  # never starts again
losses = {}
print(f"{len(texts)} documents in {len(batch.ids)} rows; loss in nats per token")
for masked, mask in (
    ("documents apart", InOrder() & llmref.documents(batch.documents)),
    ("no mask", InOrder()),
):
    for start, places in (("start again", batch.positions), ("count on", counted)):
        with torch.no_grad():
            logits = model(batch.ids, places, mask=mask)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten()).item()
        losses[masked, start] = loss
        print(f"  {masked:16} positions {start:12} {loss:.4f}")
assert abs(losses["documents apart", "start again"] - losses["documents apart", "count on"]) < 1e-3
assert min(losses["no mask", start] for start in ("start again", "count on")) > 0.6

# %% [markdown] lang="ko"
# ## 훈련한 길이를 넘어서
# %% [markdown] lang="en"
# ## Beyond the trained length

# %% name="scalings"
from llmref import DynamicNtkScaling, LinearScaling, Llama3Scaling, YarnScaling

trained, factor = 150, 8  # hardly a document of the training is longer than 150 tokens
scalings = {
    "none": None,
    "linear": LinearScaling(factor),
    "dynamic NTK": DynamicNtkScaling(factor, trained),
    "YaRN": YarnScaling(factor, trained),
    "Llama 3": Llama3Scaling(factor, trained),
}
whole, slowed = torch.tensor(factor * trained), {}
plain = frequencies(head_dim=32)
reached = trained * plain  # the greatest angle of each pair in training; a whole turn is all of them
print(f"{'':12} {'fastest pair':>14} {'slowest pair':>14} {'pairs at new angles':>21}")
for name, scaling in scalings.items():
    scaled = frequencies(32, scaling=scaling, lengths=whole)
    slowed[name] = (plain / scaled).tolist()
    new = ((reached < 2 * math.pi) & (whole * scaled > 1.001 * reached)).sum().item()
    print(f"{name:12} {slowed[name][0]:12.1f} x {slowed[name][-1]:12.1f} x {new:15} of 16")
assert slowed["linear"][0] == factor and slowed["YaRN"][0] == slowed["Llama 3"][0] == 1

# %% name="scalings-figure"
from figures import figure

for page in figure(
    "scalings",
    en="How many times slower each of the 16 pairs turns. Linear: all 8 times. YaRN and Llama 3: the fast "
    "ones not at all, the slow ones 8 times. Dynamic NTK: more and more, up to 57 times.",
    ko="쌍 16개가 저마다 몇 배 느리게 도는지 나타낸 그림. 선형은 모두 8배입니다. YaRN과 Llama 3은 빠른 쌍은 "
    "그대로이고 느린 쌍은 8배입니다. 동적 NTK는 점점 커져 57배까지 느려집니다.",
    size=(5, 3.4),
):
    markers = ("", "s", "^", "o", "v")
    for (name, times), marker in zip(slowed.items(), markers, strict=True):
        if name != "none":
            korean = {"linear": "선형", "dynamic NTK": "동적 NTK"}.get(name, name)
            page.axes.plot(times, marker=marker, markersize=5, label=page.text(en=name, ko=korean))
    page.axes.set_yscale("log", base=2)
    page.axes.set_yticks([1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 8, 16, 32, 64])
    page.axes.set_xlabel(page.text(en="pair, fast to slow", ko="쌍(빠른 것부터)"))
    page.axes.set_ylabel(page.text(en="times slower", ko="느려진 배수"))
    page.axes.legend()


# %% name="gap"
def stretched(scaling):
    """The tiny model with scaled RoPE and room for longer texts; the same weights."""
    blocks = tuple(
        replace(block, attention=replace(block.attention, rope=llmref.RopeConfig(scaling=scaling)))
        for block in model.config.blocks
    )
    other = llmref.Transformer(replace(model.config, blocks=blocks, context_length=4096))
    other.load_state_dict(model.state_dict())
    return other


texts = (tokenizer.encode(text) for text in World().documents(60, seed=7))
stories = [story for story in texts if len(story) > 80][:24]  # each has a row to itself
batch = pack(stories, length=150, bos_id=model.config.bos_id, eos_id=model.config.eos_id)
late = batch.positions > batch.positions.amax(dim=1, keepdim=True) // 2
targets = batch.targets.where(late, -100)  # the loss of the second halves alone


def loss_by_story(which, gap):
    with torch.no_grad():
        logits = which(batch.ids, batch.positions + gap * late)
    each = torch.nn.functional.cross_entropy(logits.mT, targets, reduction="none")
    return each.sum(dim=1) / (targets >= 0).sum(dim=1)


gaps = (0, 75, 150, 300, 600, 1050)
print("loss of the second half, moved away by so many positions:")
print(f"{'':12}" + "".join(f"{gap:7}" for gap in gaps))
found = {}
for name, scaling in scalings.items():
    other = stretched(scaling)
    found[name] = torch.stack([loss_by_story(other, gap) for gap in gaps])  # [gaps, stories]
    print(f"{name:12}" + "".join(f"{loss:7.2f}" for loss in found[name].mean(dim=1).tolist()))

# %% name="gap-difference"
print(f"loss minus that of no scaling, mean and 95% interval over {len(stories)} stories")
bounds = {}
for name in list(scalings)[1:]:
    parts = []
    for place in (0, -1):
        difference = found[name][place] - found["none"][place]
        mean, half = difference.mean().item(), 2.07 * difference.std().item() / math.sqrt(len(stories))
        bounds[name, gaps[place]] = (mean - half, mean + half)
        parts.append(f"moved by {gaps[place]:4}: {mean:5.2f} ± {half:.2f}")
    print(f"{name:12} {'    '.join(parts)}")
for name in ("linear", "YaRN", "Llama 3"):
    assert bounds[name, 0][0] > 0  # other angles for the distances that it knows cost a model,
assert bounds["dynamic NTK", 0] == (0, 0)  # this one leaves short texts alone,
for name in list(scalings)[1:]:
    assert bounds[name, 1050][1] > 0  # and none is clearly better without training

# %% name="gap-figure"
from figures import figure

for page in figure(
    "gap",
    en="Loss against how far the second half was moved away, one line for each scaling. Without scaling it "
    "rises as soon as the halves are apart, and then stays. Linear scaling is far worse everywhere. "
    "The others lie near the line without scaling.",
    ko="뒤쪽 절반을 옮긴 거리에 따른 손실. 확장 방법마다 선이 하나입니다. "
    "확장하지 않으면 두 절반이 떨어지자마자 오르고, 그 뒤로는 그대로입니다. "
    "선형은 어디에서나 훨씬 나쁩니다. 나머지는 확장하지 않은 선 가까이에 있습니다.",
    size=(5, 3.4),
):
    markers = (".", "s", "^", "o", "v")
    for (name, losses_found), marker in zip(found.items(), markers, strict=True):
        curve = losses_found.mean(dim=1).tolist()
        korean = {"none": "없음", "linear": "선형", "dynamic NTK": "동적 NTK"}.get(name, name)
        page.axes.plot(gaps, curve, marker=marker, markersize=5, label=page.text(en=name, ko=korean))
    page.axes.set_ylim(0)
    page.axes.set_xlabel(page.text(en="moved away by (positions)", ko="옮긴 거리(위치 수)"))
    page.axes.set_ylabel(page.text(en="loss (nats)", ko="손실(나트)"))
    page.axes.legend(fontsize=11)

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="before-after"
for position in (4, 10):  # three before the query, three after it
    print(f"query at 7, key at {position:2}: {turn(query, 7) @ turn(key, position):5.2f}")
assert abs(turn(query, 7) @ turn(key, 4) - turn(query, 7) @ turn(key, 10)) > 0.1

# %% name="wrong-layout"
blocks = tuple(
    replace(block, attention=replace(block.attention, rope=llmref.RopeConfig(layout="interleaved")))
    for block in model.config.blocks
)
wrong = llmref.Transformer(replace(model.config, blocks=blocks))
wrong.load_state_dict(model.state_dict())  # no error: the shapes are the same
for name, one in (("right layout", model), ("wrong layout", wrong)):
    with torch.no_grad():
        logits = one(batch.ids, batch.positions)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
    text = llmref.generate(one, tokenizer, "Once upon a time", max_new_tokens=16, temperature=0)
    print(f"{name}: loss {loss:.2f}. Once upon a time{text}")

# %% [markdown] lang="ko"
# ## RoPE의 다른 모습
# %% [markdown] lang="en"
# ## Other forms of RoPE

# %% name="partial"
same = torch.tensor([1.0, 1.0, 0.0, 0.0] * 2).expand(1, 1, 12, 8)  # one vector, at twelve positions
cos, sin = rotation(torch.arange(12)[None], head_dim=4, base=100.0)  # two pairs: half of this head
partly = rotate(same, cos, sin)[0, 0]
turns = (partly != partly[0]).any(dim=0)
print("numbers that turn:", turns.nonzero().flatten().tolist())
print("numbers that stay:", (~turns).nonzero().flatten().tolist())
assert turns.tolist() == [True] * 4 + [False] * 4

# %% name="partial-figure"
from figures import figure, heatmap

for page in figure(
    "partial",
    en="One vector of 8 numbers at positions 0 to 11, a row for each position. The first four columns "
    "change from row to row, columns 0 and 2 fast, 1 and 3 slowly. The last four keep "
    "one colour from top to bottom.",
    ko="수 8개짜리 벡터 하나를 위치 0부터 11까지 놓은 그림. 행 하나가 위치 하나입니다. 앞의 네 열은 행마다 "
    "색이 달라지며, 열 0과 2는 빠르게, 열 1과 3은 천천히 달라집니다. "
    "뒤의 네 열은 위에서 아래까지 색이 같습니다.",
    size=(4, 4),
):
    numbers = [str(number) for number in range(8)]
    shown = partly + 1  # the numbers lie between -1 and 1, and the colours start at 0
    heatmap(page.axes, shown, rows=[str(position) for position in range(12)], columns=numbers)
    page.axes.set_xlabel(page.text(en="number within the head", ko="헤드 안의 번호"))
    page.axes.set_ylabel(page.text(en="position", ko="위치"))

# %% name="bases"
for base in (10_000.0, 1_000_000.0):
    slowest = frequencies(head_dim=128, base=base)[-1].item()
    print(f"base {base:9,.0f}: the slowest pair of 64 turns once in {2 * math.pi / slowest:11,.0f} positions")

# %% name="long-rope"
from llmref import LongRopeScaling

searched = LongRopeScaling(
    short_factors=(1.0, 1.0, 1.1, 1.3), long_factors=(1.0, 2.0, 5.0, 9.0), original_context_length=100
)
for length in (100, 101):
    times = frequencies(8) / frequencies(8, scaling=searched, lengths=torch.tensor(length))
    print(
        f"a text of {length} tokens: the four pairs turn {', '.join(f'{t:.1f}' for t in times)} times slower"
    )
