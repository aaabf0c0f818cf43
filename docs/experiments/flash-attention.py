# %% [markdown] lang="ko"
# # 플래시 어텐션
# 어텐션을 타일 단위로 계산합니다. 결과가 같은지 확인하고, 메모리와 옮긴 바이트를 셉니다.
# %% [markdown] lang="en"
# # FlashAttention
# Attention computed tile by tile: the same result, checked; memory and bytes moved, counted.

# %% name="load"
import math
import time
from itertools import product

import torch

import llmref
from llmref.attention import attend, blocks, dot_product_attention, global_tokens, strided
from llmref.attention.flash import naive_attention, tiled_attention
from llmref.attention.memory import PeakMemory, SlowMemory
from llmref.attention.scoring import PLAIN

torch.set_num_threads(1)
torch.manual_seed(0)
model, tokenizer = llmref.load_tiny()
sentences = {
    "en": "The dog chased the squirrel because it was hungry. The hungry one was the",
    "ko": "강아지가 다람쥐를 쫓아갔습니다. 그것이 배가 고팠기 때문입니다. 배가 고픈 쪽은",
}

# %% [markdown] lang="ko"
# ## 한 줄의 소프트맥스를 타일 단위로
# 예문의 마지막 토큰이 쿼리입니다. 타일이 바뀔 때마다 최고 점수가 올라가는 첫 헤드를 골랐습니다.
# %% [markdown] lang="en"
# ## The softmax of one row, tile by tile
# The query is the example's last token. The head is the first one whose highest score rises with each tile.

# %% name="row"
tile, rows = 6, {}
for language, text in sentences.items():
    ids = [model.config.bos_id, *tokenizer.encode(text)]
    seen = llmref.trace(model, ids)
    for block, head in product(range(len(model.blocks)), range(4)):
        name = f"blocks.{block}.attention"
        scores = seen[f"{name}.scores"][0, head, -1]
        peaks = [part.max().item() for part in scores.split(tile)]
        if peaks == sorted(peaks):
            break
    assert peaks == sorted(peaks)
    value = seen[f"{name}.value"][0, head // 2]  # two query heads share a key/value head
    rows[language] = (scores, value, seen[f"{name}.head_outputs"][0, head, -1])
    print(f"{language}: block {block}, head {head}, {len(ids)} keys; highest scores of the tiles:")
    print("   ", "  ".join(f"{peak:.2f}" for peak in peaks))

# %% name="online"
stills = {}
for language, (scores, value, _) in rows.items():
    highest, total, mix = -math.inf, 0.0, torch.zeros(32)
    stills[language] = []
    for start in range(0, len(scores), tile):
        some_scores, some_values = scores[start : start + tile], value[start : start + tile]
        before, highest = highest, max(highest, some_scores.max().item())
        rescale = math.exp(before - highest)
        weights = (some_scores - highest).exp()
        kept = (rescale * total, rescale * mix)  # what was summed so far, relative to the new highest
        total, mix = kept[0] + weights.sum().item(), kept[1] + weights @ some_values
        stills[language].append((start, some_scores, weights, before, rescale, kept, highest, total, mix))

# %% name="divide"
for language, (_, _, naive) in rows.items():
    *_, total, mix = stills[language][-1]
    output = mix / total
    print(f"{language}: tiled {output[0]:.4f} {output[1]:.4f} …   naive {naive[0]:.4f} {naive[1]:.4f} …")
    assert torch.allclose(output, naive, atol=1e-5)

# %% name="step-scores"
from figures import figure, heatmap


def names_of(language):
    """The tokens as a reader sees them: a syllable that is cut into two tokens is numbered."""
    pieces = [piece.strip() for piece in tokenizer.pieces(tokenizer.encode(sentences[language]))]
    cut = iter(("강 1", "강 2"))
    return ["⊢", *(next(cut) if piece.startswith("\\x") else piece for piece in pieces)]


for page in figure(
    "step-scores",
    en="The scores of the last token for all tokens before it and itself, cut into three tiles.",
    ko="마지막 토큰이 자신과 앞의 모든 토큰에 매긴 점수를 타일 세 개로 나눈 것.",
    size=(5, 3.9),
    subplots=(3, 1),
):
    names, scores = names_of(page.language), rows[page.language][0]
    for number, axes in enumerate(page.axes):
        place = slice(tile * number, tile * (number + 1))
        heatmap(axes, scores[None, place], columns=names[place], values=True, maximum=4)
        axes.set_xlim(0, tile)
        axes.set_yticks([0.5], [page.text(en=f"tile {number + 1}", ko=f"타일 {number + 1}")])

# %% name="step-figures"
from figures import figure, heatmap


def draw(page, number):
    """One tile: its scores and weights on top, what is kept from tile to tile below."""
    start, some_scores, weights, before, rescale, kept, highest, total, mix = stills[page.language][number]
    names = names_of(page.language)[start : start + tile]
    top, below = page.axes
    labels = (page.text(en="score", ko="점수"), page.text(en="weight", ko="가중치"))
    heatmap(top, torch.stack([some_scores, weights]), rows=labels, columns=names, values=True, maximum=4)
    top.set_xlim(0, tile)
    columns = [
        page.text(en="highest", ko="최댓값"),
        page.text(en="sum", ko="합"),
        page.text(en="mix 1", ko="섞은 값 1"),
        page.text(en="mix 2", ko="섞은 값 2"),
    ]
    after = page.text(en="with this tile", ko="이 타일까지")
    if number == 0:
        table, labels = [[highest, total, *mix[:2].tolist()]], [after]
    else:
        was = stills[page.language][number - 1]
        table = [
            [before, was[7], *was[8][:2].tolist()],
            [highest, kept[0], *kept[1][:2].tolist()],
            [highest, total, *mix[:2].tolist()],
        ]
        labels = [page.text(en="so far", ko="지금까지"), f"× {rescale:.2f}", after]
    heatmap(below, table, rows=labels, columns=columns, values=True, maximum=1e9)
    below.set_xticks([i + 0.5 for i in range(4)], columns, rotation=0, ha="center")


# %% name="step-tile-1"
for page in figure(
    "step-tile-1",
    en="Tile 1: six scores, their weights, and below the highest score, the sum and the mix.",
    ko="타일 1: 점수 여섯 개와 가중치, 아래에는 최댓값과 합과 섞은 값.",
    size=(5, 3),
    subplots=(2, 1),
):
    draw(page, 0)

# %% name="step-tile-2"
for page in figure(
    "step-tile-2",
    en="Tile 2: the highest score rises, so sum and mix so far shrink before this tile's are added.",
    ko="타일 2: 최댓값이 올라가서, 지금까지의 합과 섞은 값을 줄인 다음 이 타일의 것을 더합니다.",
    size=(5, 3.8),
    subplots=(2, 1),
):
    draw(page, 1)

# %% name="step-tile-3"
for page in figure(
    "step-tile-3",
    en="Tile 3: the same once more, with the last scores of the row.",
    ko="타일 3: 이 줄의 마지막 점수들로 같은 일을 한 번 더 합니다.",
    size=(5, 3.8),
    subplots=(2, 1),
):
    draw(page, 2)

# %% name="idea-figure"
from figures import COLORS, HEAT, figure, heatmap
from matplotlib.patches import Rectangle

for page in figure(
    "idea",
    en="Two squares, queries down, keys across. Left: the whole matrix of weights is filled. Right: one tile "
    "of it is filled, tiles already done are empty outlines, tiles above the diagonal are absent.",
    ko="정사각형 두 개. 세로는 쿼리, 가로는 키. 왼쪽은 가중치 행렬의 모든 칸이 채워져 있습니다. "
    "오른쪽은 타일 하나만 채워져 있고, 끝난 타일은 빈 테두리이며, 대각선 위의 타일은 없습니다.",
    size=(5, 2.9),
    subplots=(1, 2),
):
    ids = [model.config.bos_id, *tokenizer.encode(sentences[page.language])][:16]
    weights = llmref.trace(model, ids)["blocks.1.attention.weights"][0, 1]
    whole, tiled = page.axes
    heatmap(whole, weights.sqrt(), maximum=1)
    whole.add_patch(Rectangle((0, 0), 16, 16, fill=False, edgecolor=COLORS[1]))
    whole.set_title(page.text(en="the whole matrix", ko="행렬 전체"))
    x, y = (torch.linspace(start + 0.2, start + 3.8, 5).numpy() for start in (4, 8))
    tiled.pcolormesh(x, y, weights[8:12, 4:8].sqrt().numpy(), cmap=HEAT, vmin=0, vmax=1)
    for row in range(4):
        for column in range(row + 1):
            now = (row, column) == (2, 1)
            edge = COLORS[1] if now else COLORS[0]
            done = row < 2 or (row == 2 and column < 1)
            style = dict(linewidth=2 if now else 1, linestyle="-" if done or now else ":")
            corner = (4 * column + 0.2, 4 * row + 0.2)
            tiled.add_patch(Rectangle(corner, 3.6, 3.6, fill=False, edgecolor=edge, **style))
    tiled.set_xlim(0, 16)
    tiled.set_ylim(16, 0)
    tiled.set_title(page.text(en="a tile at a time", ko="타일 하나씩"))
    for axes in (whole, tiled):
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_xlabel(page.text(en="keys", ko="키"))
    whole.set_ylabel(page.text(en="queries", ko="쿼리"))

# %% [markdown] lang="ko"
# ## 같은 결과
# %% [markdown] lang="en"
# ## The same result

# %% name="equal"
causal, window = llmref.causal(), llmref.window
masks = [
    causal,
    causal & window(16),
    causal & (window(8) | strided(8)),
    causal & blocks(16),
    causal & (window(8) | global_tokens(1)),
    causal | ~causal,  # every pair
]
positions = torch.arange(100)[None]
query, key, value = torch.randn(3, 1, 4, 100, 32, dtype=torch.float64).unbind()
print("largest difference from the naive steps, float64")
for mask in masks:
    allowed = mask.dense(positions, positions)
    naive = dot_product_attention(query, key, value, allowed)
    worst = 0.0
    for sizes in ((1, 1), (7, 13), (32, 32), (100, 100)):  # queries and keys of a tile
        tiled = tiled_attention(query, key, value, allowed, PLAIN, *sizes)
        worst = max(worst, (tiled - naive).abs().max().item())
    print(f"{worst:.0e}   {mask}")
    assert worst < 1e-13

# %% name="equal-tiny"
for text in sentences.values():
    ids = [model.config.bos_id, *tokenizer.encode(text)]
    found = {}
    for backend in ("naive", "tiled"):
        with model.attention_backend(backend):
            found[backend] = list(llmref.generate_ids(model, ids, llmref.strategy(temperature=0), 8))
    print(found["naive"] == found["tiled"], tokenizer.decode(found["tiled"]))
    assert found["naive"] == found["tiled"]

# %% [markdown] lang="ko"
# ## 메모리
# %% [markdown] lang="en"
# ## Memory

# %% name="memory"
lengths = (256, 512, 1024, 2048)


def one_head(length):
    """A query, a key and a value for each of `length` tokens: one head of 64 numbers, float32."""
    return torch.randn(3, 1, 1, length, 64).unbind()


def naive(length):
    positions = torch.arange(length)[None]
    return dot_product_attention(*one_head(length), causal.dense(positions, positions))


def tiled(length):
    positions = torch.arange(length)[None]

    def allowed(rows, columns):  # the mask of one tile
        return causal.dense(positions[:, rows], positions[:, columns])

    return tiled_attention(*one_head(length), allowed)


peaks = {}
print("most bytes held at once, one head")
print("length       naive       tiled")
for length in lengths:
    for run in (naive, tiled):
        with PeakMemory() as memory:
            run(length)
        peaks[run, length] = memory.peak
    print(f"{length:6}{peaks[naive, length]:12,}{peaks[tiled, length]:12,}")

assert peaks[naive, 2048] > 3.8 * peaks[naive, 1024]  # twice the length, four times the memory
assert peaks[tiled, 2048] < 2 * peaks[tiled, 1024]  # twice the length, at most twice the memory

# %% [markdown] lang="ko"
# ## 느린 메모리와 주고받은 바이트
# %% [markdown] lang="en"
# ## Bytes between slow and fast memory

# %% name="bytes"
moved, head_dim, query_tile = {}, 64, 128
print("bytes loaded and stored, one head, every pair allowed")
print("length         naive         tiled   ratio   tiled, causal")
for length in lengths:
    query, key, value = one_head(length)
    positions = torch.arange(length)[None]
    everything = torch.ones(1, length, length, dtype=torch.bool)
    counted = [SlowMemory() for _ in range(3)]
    naive_attention(query, key, value, everything, counted[0])
    tiled_attention(query, key, value, everything, query_tile=query_tile, memory=counted[1])
    half = causal.dense(positions, positions)
    tiled_attention(query, key, value, half, query_tile=query_tile, memory=counted[2])
    moved[length] = [memory.moved for memory in counted]
    n, d = length, head_dim
    assert moved[length][0] == 4 * (4 * n * d + 4 * n * n)
    assert moved[length][1] == 4 * (2 * n * d + n + 2 * n * d * (n // query_tile))
    both = moved[length]
    print(f"{length:6}{both[0]:14,}{both[1]:14,}{both[0] / both[1]:8.1f}{both[2]:16,}")

# %% name="bytes-figure"
from figures import figure

for page in figure(
    "bytes",
    en="Two charts over the length, both axes logarithmic: most bytes held at once, and bytes moved. "
    "In both the tiled line stays below the naive one, and the distance grows.",
    ko="길이에 따른 그래프 두 개, 두 축 모두 로그 눈금. 한 번에 차지한 바이트와 옮긴 바이트. "
    "둘 다 타일 방식의 선이 아래에 있고, 차이가 점점 벌어집니다.",
    size=(5, 5.4),
    subplots=(2, 1),
):
    held, sent = page.axes
    labels = (page.text(en="naive", ko="단순한 방식"), page.text(en="tiled", ko="타일 방식"))
    for label, run, column, marker in zip(labels, (naive, tiled), (0, 1), "os", strict=True):
        held.plot(lengths, [peaks[run, length] / 2**20 for length in lengths], marker=marker, label=label)
        sent.plot(lengths, [moved[length][column] / 2**20 for length in lengths], marker=marker, label=label)
    held.set_ylabel(page.text(en="held (MiB)", ko="차지한 양(MiB)"))
    sent.set_ylabel(page.text(en="moved (MiB)", ko="옮긴 양(MiB)"))
    sent.set_xlabel(page.text(en="length", ko="길이"))
    held.legend()
    for axes in page.axes:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(lengths, [str(length) for length in lengths])

# %% [markdown] lang="ko"
# ## 시간
# %% [markdown] lang="en"
# ## Time

# %% name="time"
print("milliseconds, CPU, one thread, 4 heads, causal mask")
print("length      naive      tiled    PyTorch's fused call")
for length in lengths:
    query, key, value = torch.randn(3, 1, 4, length, 64).unbind()
    positions = torch.arange(length)[None]
    allowed, line = causal.dense(positions, positions), f"{length:6}"
    for backend in ("naive", "tiled", "sdpa"):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            attend(query, key, value, allowed, backend)
            times.append(time.perf_counter() - start)
        line += f"{1000 * min(times):11.1f}"
    print(line)

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="tile-size"
query, key, value = one_head(2048)
everything = torch.ones(1, 2048, 2048, dtype=torch.bool)
for size in (64, 128, 256, 512):
    memory = SlowMemory()
    tiled_attention(query, key, value, everything, query_tile=size, memory=memory)
    print(f"tiles of {size:3} queries: {memory.moved:11,} bytes")

# %% name="overflow"
scores = torch.tensor([90.0, 89.0])
plain = scores.exp() / scores.exp().sum()
safe = (scores - scores.max()).exp() / (scores - scores.max()).exp().sum()
print(f"e^90 in float32: {scores[0].exp():.3g}; the weights: {plain.tolist()}")
print(f"relative to the highest: {[round(number, 4) for number in safe.tolist()]}")
assert plain.isnan().all() and safe.sum() == 1

# %% [markdown] lang="ko"
# ## 누가 실행하는가
# %% [markdown] lang="en"
# ## What runs it

# %% name="backends"
from llmref.attention.backends import choose
from llmref.attention.scoring import Scoring

some = torch.zeros(1, 4, 64, 32)  # four heads, 64 tokens
triangle = torch.ones(1, 64, 64, dtype=torch.bool).tril()
for name, scoring in (("plain scores", Scoring()), ("a soft cap", Scoring(soft_cap=50.0))):
    choice = choose(some, some, some, triangle, scoring)
    print(f"{name}: {choice.backend}")
    for refused, reason in choice.refusals.items():
        print(f"    not {refused}: it {reason}")
assert choose(some, some, some, triangle).backend == "sdpa"
