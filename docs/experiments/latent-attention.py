# %% [markdown] lang="ko"
# # 멀티 헤드 잠재 어텐션(MLA)
# 캐시에는 토큰마다 짧은 벡터 하나만 두고, 헤드마다 자기 키와 값을 쓰는 어텐션입니다.
# 손으로 계산해 보고, 바이트와 곱셈을 세고, 훈련한 작은 모델들을 비교합니다.
# %% [markdown] lang="en"
# # Multi-head latent attention (MLA)
# One short vector for each token in the cache, and still keys and values of each head's own.
# By hand first; then bytes and multiplications are counted, and small trained models compared.

# %% name="load"
import torch
from torch.utils.flop_counter import FlopCounterMode

import llmref
from llmref.attention import LatentAttention
from llmref.config import AttentionConfig, LatentAttentionConfig
from llmref.cost import cache_bytes_per_token, cost, count, size
from llmref.roofline import Device, Pass, duration
from llmref.twins.recipe import COMPARISONS, TWINS

torch.set_num_threads(1)
_, tokenizer = llmref.load_tiny()
ids = torch.tensor([[0, *tokenizer.encode("The dog chased the squirrel because it was hungry.")]])

# %% [markdown] lang="ko"
# ## 손으로 계산하기
# 단어 셋, 헤드 둘. 캐시에 남는 벡터에는 수가 두 개뿐입니다.
# %% [markdown] lang="en"
# ## By hand
# Three words, two heads, and only two numbers in the vector that the cache keeps.

# %% name="vectors"
words = ("dog 강아지", "squirrel 다람쥐", "it 그것")
x = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])

# one matrix for all heads: three numbers become two
latent_weight = torch.tensor([[1.0, -1.0, 1.0], [0.0, 1.0, 1.0]])

# of each head: a matrix for keys, one for values, and the query of "it"
key_weight = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [-1.0, 1.0]]])
value_weight = torch.tensor([[[1.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [2.0, -1.0]]])
query = torch.tensor([[1.0, 1.0], [2.0, 1.0]])


def show(name, *columns):
    """A row for each word, a column for each vector or number."""
    print(name)
    for row, word in enumerate(words):
        cells = (f"{text(column[row]):>15}" for column in columns)
        print("".join(cells), "  ", word)


def text(vector):
    if vector.dim() == 0:
        return f"{round(vector.item(), 2) + 0.0:g}"
    return f"({', '.join(map(text, vector))})"


# %% name="step-latent"
latent = x @ latent_weight.T
print("matrix:", text(latent_weight))
show(f"{'x':>15}{'latent':>15}", x, latent)

# %% name="step-keys"
key = [latent @ weight.T for weight in key_weight]
for head in (0, 1):
    print(f"matrix of head {head}:", text(key_weight[head]))
show(f"{'key, head 0':>15}{'key, head 1':>15}", *key)

# %% name="step-scores"
score = [key[head] @ query[head] for head in (0, 1)]
show(f"{'head 0':>15}{'head 1':>15}   query of 'it': {text(query[0])} | {text(query[1])}", *score)

# %% name="step-absorb"
absorbed = [query[head] @ key_weight[head] for head in (0, 1)]
for head in (0, 1):
    (a, b), (c, d) = key_weight[head].tolist()
    p, q = query[head].tolist()
    print(f"head {head}: query {text(query[head])} becomes {text(absorbed[head])}")
    print(f"  {p:g} x {a:g} + {q:g} x {c:g} = {absorbed[head][0]:g}")
    print(f"  {p:g} x {b:g} + {q:g} x {d:g} = {absorbed[head][1]:g}")

# %% name="step-same"
same = [latent @ absorbed[head] for head in (0, 1)]
show(f"{'head 0':>15}{'head 1':>15}   compared with the latents", *same)
assert all(torch.equal(same[head], score[head]) for head in (0, 1))


# %% name="step-rotated"
def turn(vector, position):
    """A quarter turn for each position, so that whole numbers stay whole."""
    first, second = vector
    return (vector, torch.stack([-second, first]), -vector, torch.stack([second, -first]))[position % 4]


own_query = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])  # of "it", one for each head
own_key = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # of each word, one for both heads
rotated_query = torch.stack([turn(vector, 2) for vector in own_query])
rotated_key = torch.stack([turn(vector, place) for place, vector in enumerate(own_key)])
rotated_score = [rotated_key @ rotated_query[head] for head in (0, 1)]
for head in (0, 1):
    print(f"query, head {head}: {text(own_query[head])}, rotated {text(rotated_query[head])}")
show(f"{'key':>15}{'rotated':>15}{'head 0':>15}{'head 1':>15}", own_key, rotated_key, *rotated_score)

# %% name="step-weights"
total = [score[head] + rotated_score[head] for head in (0, 1)]
weights = [(total[head] / 4**0.5).softmax(dim=0) for head in (0, 1)]
show(f"{'total, head 0':>15}{'head 1':>15}{'weight, 0':>15}{'1':>15}", *total, *weights)

# %% name="step-values"
value = [latent @ weight.T for weight in value_weight]
for head in (0, 1):
    print(f"matrix of head {head}:", text(value_weight[head]))
show(f"{'value, head 0':>15}{'value, head 1':>15}", *value)
output = [weights[head] @ value[head] for head in (0, 1)]
print(f"outputs, sums of values:  {text(output[0])} | {text(output[1])}")

# %% name="step-mixed"
mixed = [weights[head] @ latent for head in (0, 1)]
print(f"sums of latents:          {text(mixed[0])} | {text(mixed[1])}")
later = [value_weight[head] @ mixed[head] for head in (0, 1)]
print(f"then the value matrices:  {text(later[0])} | {text(later[1])}")
assert all(torch.allclose(later[head], output[head]) for head in (0, 1))

# %% name="step-kept"
kept = {"keys and values of both heads": 2 * (2 + 2 + 2), "latent and rotated key": 2 + 2}
for name, numbers in kept.items():
    print(f"{name}: {numbers} numbers for each word")
assert kept["latent and rotated key"] == latent[0].numel() + rotated_key[0].numel()

# %% name="step-package"
sizes = dict(n_heads=2, latent_dim=2, plain_dim=2, rotated_dim=2, value_dim=2)
layer = LatentAttention(LatentAttentionConfig(**sizes), d_model=3)
with torch.no_grad():
    layer.key.weight.copy_(key_weight.flatten(0, 1))
    layer.value.weight.copy_(value_weight.flatten(0, 1))
    both = torch.cat([query, rotated_query], dim=1)[None, :, None]  # [text, heads, queries, 4]
    allowed = torch.ones(1, 1, 3, dtype=torch.bool)
    for form in (layer.expanded, layer.absorbed):
        found = form(both, latent[None, None], rotated_key[None, None], allowed)[0, :, 0]
        print(f"{form.__name__:9} {text(found[0])} | {text(found[1])}")
        assert torch.allclose(found, torch.stack(output))

# %% [markdown] lang="ko"
# ## 토큰 하나가 캐시에 남기는 것
# 캐시에 남은 것과, 헤드마다 보는 키와 값을 나란히 그립니다.
# %% [markdown] lang="en"
# ## What one token leaves in the cache
# Beside it, the keys and values that each head then looks at.


# %% name="left-behind"
def filled(name):
    """A model with fresh weights, always the same ones, and its cache after the sentence."""
    torch.manual_seed(0)
    model, cache = llmref.Transformer(TWINS[COMPARISONS["latent"][name]]), llmref.GrowingCache()
    with torch.no_grad():
        model(ids, llmref.sequential_positions(ids), cache)
    return model, cache


def looked_at(model, cache, block=0):
    """Each head's keys and values, [heads, tokens, numbers], out of what the cache holds of all texts."""
    layer, kept = model.blocks[block].attention, (cache.keys[block], cache.values[block])
    first, second = (tensor.transpose(0, 1).flatten(1, 2) for tensor in kept)  # [heads, tokens, numbers]
    if not isinstance(layer, LatentAttention):
        group = layer.config.n_heads // layer.config.n_kv_heads
        return [tensor.repeat_interleave(group, dim=0) for tensor in (first, second)]
    with torch.no_grad():
        key, value = (layer.split(project(first))[0] for project in (layer.key, layer.value))
    return [torch.cat([key, second.expand(len(key), -1, -1)], dim=2), value]


print("one block, one token: numbers in the cache, and how many of the 4 heads")
print("have a key that no other head has")
caches = {name: filled(name) for name in COMPARISONS["latent"]}
for name, (model, cache) in caches.items():
    numbers = cache.keys[0][0, :, -1].numel() + cache.values[0][0, :, -1].numel()
    key, value = looked_at(model, cache)
    own = [sum(torch.equal(one[-1], other[-1]) for other in key) == 1 for one in key]
    print(f"{name}: {numbers:3} numbers, {sum(own)} heads")
    assert (sum(own) == 4) == (name in ("MHA", "MLA"))

# %% name="left-behind-figure"
from figures import COLORS, figure
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch
from matplotlib.path import Path


def strips(axes, rows, colors, gap=0.25):
    """Vectors as rows of cells: the larger a number, the stronger its colour, in a few shades."""
    shades = {}
    for row, vectors in enumerate(rows):
        place = 0.0
        for vector, color in zip(vectors, colors, strict=True):
            strong = vector.abs() / vector.abs().max()
            for step in (0.15 + 0.85 * strong).mul(5).round().div(5).tolist():
                shades.setdefault((color, step), []).append((place, row + gap / 2))
                place += 1
            place += 1.5
    for (color, step), places in shades.items():
        corners = [
            (x + dx, y + dy * (1 - gap))
            for x, y in places
            for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
        ]
        codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(places)
        axes.add_patch(PathPatch(Path(corners, codes), facecolor=to_rgba(color, step), edgecolor="none"))
    axes.set(xlim=(0, 44), ylim=(4, 0))
    axes.axis("off")


for page in figure(
    "left-behind",
    en="Four rows, MHA, GQA, MQA and MLA. On the left what one token leaves in the cache: 4, 2 and 1 strips "
    "of keys and values, and for MLA a single strip, as long as that of MQA. On the right what the 4 heads "
    "look at: 4 different strips for MHA, two and two alike for GQA, 4 alike for MQA, and 4 different ones "
    "for MLA.",
    ko="MHA, GQA, MQA, MLA 네 줄. 왼쪽은 토큰 하나가 캐시에 남기는 것입니다. 키와 값의 띠가 4개, 2개, "
    "1개이고, MLA는 MQA만큼 긴 띠 하나뿐입니다. 오른쪽은 헤드 4개가 보는 것입니다. MHA는 띠 4개가 서로 "
    "다르고, GQA는 둘씩 같고, MQA는 4개가 모두 같고, MLA는 4개가 서로 다릅니다.",
    size=(6, 5),
    subplots=(4, 2),
):
    key_color, value_color, latent_color, rotated_color = COLORS[0], COLORS[1], COLORS[2], COLORS[3]
    for (left, right), (name, (model, cache)) in zip(page.axes, caches.items(), strict=True):
        first, second = (kept[0][0, :, -1] for kept in (cache.keys, cache.values))
        latent = name == "MLA"
        kept = (latent_color, rotated_color) if latent else (key_color, value_color)
        strips(left, list(zip(first, second, strict=True)), kept)
        key, value = (heads[:, -1] for heads in looked_at(model, cache))
        if latent:
            rows = [(k[:16], k[16:], v) for k, v in zip(key, value, strict=True)]
            strips(right, rows, (key_color, rotated_color, value_color))
        else:
            strips(right, list(zip(key, value, strict=True)), (key_color, value_color))
        left.text(-1.5, 0.5, name, ha="right", va="center", fontsize=13)
    page.axes[0, 0].set_title(page.text(en="in the cache", ko="캐시에 남는 것"))
    page.axes[0, 1].set_title(page.text(en="what 4 heads look at", ko="헤드 4개가 보는 것"))
    labels = (
        page.text(en="key", ko="키"),
        page.text(en="value", ko="값"),
        page.text(en="latent", ko="잠재 벡터"),
        page.text(en="rotated key", ko="회전한 키"),
    )
    marks = [
        page.axes[0, 0].scatter([], [], marker="s", s=80, color=color, label=label)
        for color, label in zip(COLORS, labels, strict=False)
    ]
    page.figure.legend(handles=marks, loc="outside lower center", ncols=4, handletextpad=0.2)

# %% [markdown] lang="ko"
# ## 두 형태는 같다
# %% [markdown] lang="en"
# ## Both forms give the same

# %% name="forms"
torch.manual_seed(0)
model = llmref.Transformer(TWINS["latent"]).double()
seen = llmref.trace(model, ids)
tokens = ids.shape[1]
allowed = torch.ones(1, tokens, tokens, dtype=torch.bool).tril()
with torch.no_grad():
    for number, block in enumerate(model.blocks):
        site = f"blocks.{number}.attention"
        given = [seen[f"{site}.{name}"] for name in ("query", "latent", "rotated_key")]
        expanded = block.attention.expanded(*given, allowed)
        absorbed = block.attention.absorbed(*given, allowed)
        difference = (expanded - absorbed).abs().max().item()
        print(
            f"block {number}: numbers up to {expanded.abs().max():.1f}, equal to 1e-12: {difference < 1e-12}"
        )
        assert difference < 1e-12

# %% name="step-by-step"
made = []  # how many tokens the key projection of block 0 works on, call by call
model.blocks[0].attention.key.register_forward_hook(lambda module, x, key: made.append(key.shape[1]))
positions, cache = llmref.sequential_positions(ids), llmref.GrowingCache()
with torch.no_grad():
    whole = model(ids, positions)
    print(f"whole pass: keys made for {made} tokens")
    made.clear()
    steps = [model(ids[:, [i]], positions[:, [i]], cache) for i in range(tokens)]
    print(f"step by step, {tokens} steps: keys made for {made} tokens")
difference = (torch.cat(steps, dim=1) - whole).abs().max().item()
print(f"the same logits to 1e-12: {difference < 1e-12}")
assert difference < 1e-12 and made == [1]

# %% [markdown] lang="ko"
# ## 캐시의 바이트
# %% [markdown] lang="en"
# ## Bytes of the cache

# %% name="cache"
print(f"{tokens} tokens, 3 blocks, 4 heads, 4 bytes each number")
for name, (model, cache) in caches.items():
    counted = cost(model.config, context=tokens, bytes_per_number=4).total.cache_bytes
    share = cache.n_bytes / caches["MHA"][1].n_bytes
    print(f"{name}: cache {cache.n_bytes:>6,} bytes, by cost() {counted:>6,}, {share:4.0%} of MHA")
    assert cache.n_bytes == counted

# %% name="real-cache"
DEEPSEEK_V3 = LatentAttentionConfig(
    n_heads=128, latent_dim=512, plain_dim=128, rotated_dim=64, value_dim=128, query_latent_dim=1536
)
layers, numbers_of_16_bits = 61, 2
of_heads = 128 * (128 + 64 + 128) * numbers_of_16_bits  # each head's key, both parts of it, and its value
per_layer = {
    "its heads' keys and values": of_heads,
    "MHA, 128 heads of 128": cache_bytes_per_token(AttentionConfig(128, 128, 128)),
    "GQA, 8 key/value heads": cache_bytes_per_token(AttentionConfig(128, 8, 128)),
    "MQA, 1 key/value head": cache_bytes_per_token(AttentionConfig(128, 1, 128)),
    "MLA": cache_bytes_per_token(DEEPSEEK_V3),
}
print("bytes per token of all 61 layers, and how many times what MLA takes")
for name, n_bytes in per_layer.items():
    print(f"{name:28}{size(layers * n_bytes):>10}{n_bytes / per_layer['MLA']:8.1f}")
assert per_layer["MQA, 1 key/value head"] < per_layer["MLA"] < per_layer["GQA, 8 key/value heads"] / 3

# %% [markdown] lang="ko"
# ## 디코드 단계의 곱셈
# 크기만 있고 수는 없는 텐서(meta)로 DeepSeek-V3의 층을 만들고, PyTorch의 계수기로 곱셈을 셉니다.
# %% [markdown] lang="en"
# ## The multiplications of a decode step
# DeepSeek-V3's layer is made of tensors that have a shape and no numbers (meta); PyTorch's counter counts.

# %% name="work"
with torch.device("meta"):
    real = LatentAttention(DEEPSEEK_V3, d_model=7168)
    real.backend = "naive"


def flops(form, queries, keys):
    """FLOPs of one form: so many new tokens over so many in the cache, themselves included."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        query, latent = torch.empty(1, 128, queries, 192), torch.empty(1, 1, keys, 512)
        rotated_key, allowed = torch.empty(1, 1, keys, 64), torch.ones(1, queries, keys).bool()
        form(query, latent, rotated_key, allowed)
    return counter.get_total_flops()


def stored(query, latent, rotated_key, allowed):
    """Not MLA's: the cache holds keys and values, and only those of the new tokens are made."""
    queries, keys = query.shape[2], latent.shape[2]
    real.key(latent[:, 0, :queries]), real.value(latent[:, 0, :queries])
    key, value = torch.empty(1, 128, keys, 192), torch.empty(1, 128, keys, 128)
    return real.attend(query, key, value, allowed)


# %% name="decode"
keys = 8192
latents, wide = keys * cache_bytes_per_token(DEEPSEEK_V3), keys * of_heads
forms = {  # what is moved: read from the cache, or written and read again
    "keys and values in the cache": (flops(stored, 1, keys), wide),
    "latents, expanded": (flops(real.expanded, 1, keys), latents + 2 * wide),
    "latents, absorbed": (flops(real.absorbed, 1, keys), latents),
}
device = Device("H100", flops=989e12, bandwidth=3.35e12)  # by its data sheet
print(f"one layer, one new token over 8,192; least time on an {device.name}")
print(f"{'':30}{'computes':>14}{'moves':>10}{'time':>10}  bound by")
for name, (computed, moved) in forms.items():
    step = Pass(device, computed, moved)
    print(
        f"{name:30}{count(computed) + 'FLOP':>14}{size(moved):>10}{duration(step.seconds):>10}  {step.bound}"
    )
head_pairs = 2 * 128 * keys * (512 + 64 + 512)  # a score and a sum for each head and each token
assert forms["latents, absorbed"][0] == head_pairs + 2 * 128 * 512 * (128 + 128)
assert forms["latents, expanded"][0] > 100 * forms["latents, absorbed"][0]

# %% name="many"
print("FLOPs of one layer, 8,192 tokens in the cache")
print(f"{'new tokens':>10}{'expanded':>12}{'absorbed':>12}   fewer")
for queries in (1, 16, 128, 256, 1024):
    pair = {form.__name__: flops(form, queries, keys) for form in (real.expanded, real.absorbed)}
    fewer = min(pair, key=pair.get)
    print(f"{queries:10,}{count(pair['expanded']):>12}{count(pair['absorbed']):>12}   {fewer}")
    assert (fewer == "absorbed") == (queries < 168)
making, wider = 2 * 128 * 512 * (128 + 128), 2 * 128 * ((512 + 64 + 512) - (128 + 64 + 128))
print(f"to make the keys and values of one token: {making:,}")
print(f"more for each pair when absorbed: {wider:,}; {making:,} / {wider:,} = {making / wider:.1f}")
for length in (1024, 8192, 131_072):
    first = next(
        n for n in range(1, 200) if flops(real.expanded, n, length) < flops(real.absorbed, n, length)
    )
    print(f"{length:7,} tokens in the cache: expanded needs fewer from {first} new tokens on")

# %% name="many-figure"
from figures import figure

for page in figure(
    "many",
    en="FLOPs against how many new tokens come at once, both axes logarithmic. The line of the absorbed "
    "form starts a hundred times lower and climbs straight; that of the expanded form is flat at first. "
    "They cross between 128 and 256.",
    ko="한꺼번에 들어오는 새 토큰의 수에 따른 FLOP 수, 두 축 모두 로그 눈금. 흡수한 형태의 선은 백 배 "
    "아래에서 시작해 곧게 올라가고, 펼친 형태의 선은 처음에 평평합니다. 128과 256 사이에서 만납니다.",
    size=(5, 3.2),
):
    new = [2**power for power in range(12)]
    for form, label, style in (
        (real.expanded, page.text(en="expanded", ko="펼친 형태"), "-o"),
        (real.absorbed, page.text(en="absorbed", ko="흡수한 형태"), "-s"),
    ):
        page.axes.plot(new, [flops(form, n, keys) for n in new], style, label=label, markersize=5)
    page.axes.set_xscale("log", base=2)
    page.axes.set_yscale("log")
    page.axes.set_xticks(new[::2], [f"{n:,}" for n in new[::2]])
    page.axes.set_xlabel(page.text(en="new tokens at once", ko="한꺼번에 들어오는 새 토큰의 수"))
    page.axes.set_ylabel(page.text(en="FLOPs of one layer", ko="층 하나의 FLOP"))
    page.axes.legend()

# %% [markdown] lang="ko"
# ## 품질
# 어텐션 층만 다르게 하고 똑같이 훈련한 작은 모델들입니다. 시드가 같으면 모두 같은 문서를 읽었습니다.
# %% [markdown] lang="en"
# ## Quality
# Small models trained alike, but for the attention layer; with one seed all of them read the same documents.

# %% name="quality"
from llmref.twins import comparison, spread

trained = comparison("latent")
print("mean of three seeds, and the lowest and the highest of them")
print(f"{'':4}{'cache':>9}{'parameters':>12}{'loss, nats per token':>26}{'references right, %':>24}")
for name, found in trained.items():
    loss, right = spread(found, "loss"), spread(found, "references")
    per_token = cost(TWINS[COMPARISONS["latent"][name]], context=1).total.cache_bytes
    print(
        f"{name:4}{size(per_token):>9}{found[0].parameters:>12,}"
        f"{loss.mean:>11.4f} ({loss.low:.4f}-{loss.high:.4f})"
        f"{right.mean:>10.1f} ({right.low:.1f}-{right.high:.1f})"
    )
print("MLA, seed by seed")
print("  loss:", "  ".join(f"{result.loss:.4f}" for result in trained["MLA"]))
print("  references right, %:", "  ".join(f"{result.references:.1f}" for result in trained["MLA"]))

# %% name="quality-interval"
from math import sqrt
from statistics import mean, stdev

T_95 = 4.303  # Student's t for three differences, 95 in 100
for name, other in (("MLA", "MHA"), ("MLA", "GQA"), ("MLA", "MQA")):
    pairs = zip(trained[name], trained[other], strict=True)
    more = [100 * (own.loss / full.loss - 1) for own, full in pairs]  # per cent, seed by seed
    half = T_95 * stdev(more) / sqrt(len(more))
    low, high = mean(more) - half, mean(more) + half
    print(f"{name} against {other}: loss {mean(more):+.2f}%, 95% interval {low:+.2f}% to {high:+.2f}%")
    assert low < 0 < high, "these seeds can tell now: say so on the page"

# %% name="quality-figure"
from figures import COLORS, figure

full = mean(result.loss for result in trained["MHA"])
for page in figure(
    "quality",
    en="Loss of MHA, GQA, MQA and MLA in percent above the mean of MHA: three dots each, one for each seed, "
    "and a line at their mean.",
    ko="MHA, GQA, MQA, MLA의 손실이 MHA의 평균보다 몇 퍼센트 높은지 나타낸 그림. 시드마다 점 하나씩 세 점이 "
    "있고, 평균에 선을 그었습니다.",
    size=(5, 3),
):
    for place, found in enumerate(trained.values()):
        above = [100 * (result.loss / full - 1) for result in found]
        page.axes.scatter([place] * 3, above, color=COLORS[place], s=60)
        page.axes.plot([place - 0.2, place + 0.2], [mean(above)] * 2, color=COLORS[place])
    page.axes.set_xticks(range(4), trained)
    page.axes.set_xlim(-0.6, 3.6)
    page.axes.set_ylabel(page.text(en="loss against MHA (%)", ko="MHA와의 손실 차이(%)"))

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="rotate-all"
one_query, weight = torch.tensor([1.0, 1.0]), key_weight[0]  # head 0 of the small example
dog = torch.tensor([2.0, 1.0])  # the latent of "dog", wherever it stands
once = turn(one_query, 3) @ weight  # the query stands at position 3; absorbed once, for all tokens
print("key at   right score   absorbed once   absorbed for this distance")
needed = []
for position in (3, 2, 1, 0):
    right = turn(one_query, 3) @ turn(weight @ dog, position)
    needed.append(turn(one_query, 3 - position) @ weight)
    print(f"{position:6}{right:14g}{once @ dog:16g}   {needed[-1] @ dog:g}, with {text(needed[-1])}")
    assert needed[-1] @ dog == right
assert len({tuple(vector.tolist()) for vector in needed}) == 4

# %% name="rank"
torch.manual_seed(0)
texts = torch.randint(2048, (8, 64))  # any tokens will do
for name, twin in COMPARISONS["latent"].items():
    torch.manual_seed(0)
    model, cache = llmref.Transformer(TWINS[twin]).double(), llmref.GrowingCache()
    with torch.no_grad():
        model(texts, llmref.sequential_positions(texts), cache)
    key, value = looked_at(model, cache)
    rows = torch.cat([*key, *value], dim=1)  # [tokens, all numbers that the heads see of a token]
    free = torch.linalg.matrix_rank(rows).item()
    print(f"{name}: the heads see {rows.shape[1]} numbers, {free} of them free")
    assert free == cache.keys[0][0, :, 0].numel() + cache.values[0][0, :, 0].numel()
