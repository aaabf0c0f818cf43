# %% [markdown] lang="ko"
# # 희소 어텐션
# 점수를 매기는 쌍을 줄입니다. 마스크를 그리고, 쌍과 시간과 메모리를 재고, 그 대가로 무엇을 잃는지 봅니다.
# %% [markdown] lang="en"
# # Sparse attention
# Fewer pairs to score: masks drawn; pairs, time and memory measured; and what it costs the model.

# %% name="load"
import time

import torch

import llmref
from llmref.attention import blocks, causal, dot_product_attention, global_tokens, strided, window
from llmref.attention.flash import tiled_attention
from llmref.attention.memory import PeakMemory

torch.set_num_threads(1)
torch.manual_seed(0)
model, tokenizer = llmref.load_tiny()

# %% [markdown] lang="ko"
# ## 마스크
# 희소 패턴은 마스크의 식으로 적습니다.
# %% [markdown] lang="en"
# ## The masks
# A sparse pattern is an expression of masks.


# %% name="patterns"
def patterns(size):
    """Each pattern with windows, strides and blocks of this size."""
    return {
        "causal": causal(),
        "window": causal() & window(size),
        "blocks": causal() & blocks(size),
        "strided": causal() & strided(size),
        "window, strided": causal() & (window(size) | strided(size)),
        "window, global": causal() & (window(size) | global_tokens(1)),
    }


positions = torch.arange(16)[None]
for name, mask in patterns(4).items():
    pairs = mask.dense(positions, positions).sum().item()
    print(f"{name:16} {pairs:4} pairs   {mask}")

# %% name="masks-figure"
from figures import draw_mask, figure

for page in figure(
    "masks",
    en="Six squares of 16 by 16 tokens, queries down, keys across. Causal: the lower triangle. Window: "
    "a band along the diagonal. Blocks: small triangles on the diagonal. Strided: diagonal lines four apart. "
    "Window and strided: both. Window and global: the band and the first column.",
    ko="16 x 16 토큰의 정사각형 여섯 개. 세로는 쿼리, 가로는 키. "
    "코잘은 아래쪽 삼각형, 윈도는 대각선을 따라가는 띠, 블록은 대각선 위의 작은 삼각형들, "
    "스트라이드는 네 칸 간격의 대각선들, 윈도와 스트라이드는 둘 다, 윈도와 전역은 띠와 첫 열입니다.",
    size=(5, 7.4),
    subplots=(3, 2),
):
    korean = ("코잘", "윈도", "블록", "스트라이드", "윈도 + 스트라이드", "윈도 + 전역")
    english = ("causal", "window", "blocks", "strided", "window + strided", "window + global")
    titles = korean if page.language == "ko" else english
    for axes, title, mask in zip(page.axes.flat, titles, patterns(4).values(), strict=True):
        draw_mask(axes, mask, 16, faint=causal())
        axes.set_title(title)
    for axes in page.axes[:, 0]:
        axes.set_ylabel(page.text(en="query", ko="쿼리"))
    for axes in page.axes[-1]:
        axes.set_xlabel(page.text(en="key", ko="키"))

# %% [markdown] lang="ko"
# ## 쌍의 수
# %% [markdown] lang="en"
# ## Pairs

# %% name="pairs"
size, lengths = 64, (256, 512, 1024, 2048)
counted = {name: [] for name in patterns(size)}
for length in lengths:
    positions = torch.arange(length)[None]
    for name, mask in patterns(size).items():
        counted[name].append(mask.dense(positions, positions).sum().item())

print("pairs     length" + "".join(f"{length:>11,}" for length in lengths))
for name, counts in counted.items():
    print(f"{name:16}" + "".join(f"{count:11,}" for count in counts))
    for n, pairs in zip(lengths, counts, strict=True):
        w, band = size, size * n - size * (size - 1) // 2
        far = sum(i // w for i in range(n))  # one key for each whole stride behind the query
        formulas = {
            "causal": n * (n + 1) // 2,
            "window": band,
            "blocks": n * (w + 1) // 2,
            "strided": n + far,
            "window, strided": band + far,
            "window, global": band + n - w,
        }
        assert pairs == formulas[name]

# %% name="pairs-figure"
from figures import figure

for page in figure(
    "pairs",
    en="Pairs against length, both axes logarithmic. The causal line rises twice as steeply as those of "
    "the window and the blocks; that of the window with strides rises a little more steeply than these.",
    ko="길이에 따른 쌍의 수, 두 축 모두 로그 눈금. 코잘의 선은 윈도와 블록의 선보다 두 배 가파르고, "
    "윈도에 스트라이드를 더한 선은 윈도의 선보다 조금 더 가파릅니다.",
    size=(5, 3.6),
):
    labels = {
        "causal": page.text(en="causal", ko="코잘"),
        "window, strided": page.text(en="window + strided", ko="윈도 + 스트라이드"),
        "window": page.text(en="window", ko="윈도"),
        "blocks": page.text(en="blocks", ko="블록"),
    }
    for (name, label), marker in zip(labels.items(), "osD^", strict=True):
        page.axes.plot(lengths, counted[name], marker=marker, label=label)
    page.axes.set_xscale("log", base=2)
    page.axes.set_yscale("log")
    page.axes.set_xticks(lengths, [str(length) for length in lengths])
    page.axes.set_xlabel(page.text(en="length", ko="길이"))
    page.axes.set_ylabel(page.text(en="pairs", ko="쌍의 수"))
    page.axes.legend()

# %% [markdown] lang="ko"
# ## 시간과 메모리
# 마스크만으로는 아무것도 줄지 않습니다. 허용된 쌍이 하나도 없는 타일을 건너뛰어야 줄어듭니다.
# %% [markdown] lang="en"
# ## Time and memory
# A mask alone saves nothing. What saves is to skip the tiles in which no pair is allowed.


# %% name="time"
def measure(mask, length, tile):
    """Scores computed, most bytes held, milliseconds; without tiles every score is computed."""
    query, key, value = torch.randn(3, 1, 1, length, 64).unbind()
    positions = torch.arange(length)[None]
    made = {}  # the mask of each tile, None where no pair is allowed: made once, it serves all layers

    def allowed(rows, columns):
        part = mask.dense(positions[:, rows], positions[:, columns])
        made[rows.start, columns.start] = part if part.any() else None
        return part

    def run(allowed):
        if tile is None:
            dot_product_attention(query, key, value, allowed(slice(0, length), slice(0, length)))
        else:
            tiled_attention(query, key, value, allowed, query_tile=tile, key_tile=tile)

    with PeakMemory() as memory:
        run(allowed)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        run(lambda rows, columns: made[rows.start, columns.start])
        times.append(time.perf_counter() - start)
    scores = sum(part.numel() for part in made.values() if part is not None)
    return scores, memory.peak, 1000 * min(times)


ways = {
    "naive, causal": (causal(), None),
    "naive, window": (causal() & window(128), None),
    "tiled, causal": (causal(), 128),
    "tiled, window": (causal() & window(128), 128),
}
found = {}
print("                length      scores   peak bytes       ms")
for name, (mask, tile) in ways.items():
    for length in (1024, 2048):
        found[name, length] = measure(mask, length, tile)
        scores, peak, milliseconds = found[name, length]
        print(f"{name:16}{length:6}{scores:12,}{peak:13,}{milliseconds:9.1f}")

for length in (1024, 2048):
    tiles = length // 128
    assert found["naive, window", length][0] == found["naive, causal", length][0] == length**2
    assert found["tiled, causal", length][0] == 128**2 * tiles * (tiles + 1) // 2
    assert found["tiled, window", length][0] == 128**2 * (2 * tiles - 1)  # two a row, but one in the first
assert found["naive, window", 2048][1] > 3.8 * found["naive, window", 1024][1]
assert found["tiled, window", 2048][1] < 2.1 * found["tiled, window", 1024][1]

# %% [markdown] lang="ko"
# ## 윈도보다 멀리
# 블록을 하나 지날 때마다 정보가 한 윈도만큼 더 멀리 갑니다.
# %% [markdown] lang="en"
# ## Farther than the window
# Each block passes information on by one more window.

# %% name="reach"
ids = torch.randint(1, 2048, (1, 64), generator=torch.Generator().manual_seed(0))
other = ids.clone()
other[0, 0] = (other[0, 0] + 1) % 2048  # another first token
n_blocks = len(model.blocks)
for size in (2, 4, 8):
    seen = [llmref.trace(model, some, mask=causal() & window(size)) for some in (ids, other)]
    reach = []
    for block in range(n_blocks):
        before, after = (one[f"blocks.{block}.output"][0] for one in seen)
        changed = (before != after).any(dim=-1).nonzero().flatten()
        reach.append(changed.max().item())
    print(f"window({size}): token 0 changes tokens up to {reach}, block by block")
    assert reach == [(size - 1) * (block + 1) for block in range(n_blocks)]

# %% [markdown] lang="ko"
# ## 작은 모델의 윈도를 줄이면
# 윈도 없이 훈련한 모델에, 훈련이 끝난 뒤 윈도를 씌웁니다.
# %% [markdown] lang="en"
# ## The tiny model, its window shrunk
# The model was trained without a window, and gets one afterwards.

# %% name="questions"
from llmref.corpus import World

world, count = World(), 40


def batch(language):
    """Questions who "it" is: ids, the last place, the right animal's token, the other one's."""
    rows = []
    for probe in world.reference_probes(language, held_out=True, count=count):
        ids = [model.config.bos_id, *tokenizer.encode(probe.prefix)]
        right, wrong = tokenizer.encode(probe.right), tokenizer.encode(probe.wrong[0])
        while right[0] == wrong[0]:  # up to the first token in which the two answers part
            ids, right, wrong = ids + right[:1], right[1:], wrong[1:]
        rows.append((ids, right[0], wrong[0]))
    longest = max(len(ids) for ids, _, _ in rows)
    padded = [ids + [0] * (longest - len(ids)) for ids, _, _ in rows]  # on the right, where nobody looks
    last = [len(ids) - 1 for ids, _, _ in rows]
    return (torch.tensor(part) for part in (padded, last, *list(zip(*rows, strict=True))[1:]))


for language, sentences in (("en", 2), ("ko", 3)):  # how many sentences from the end
    prefix = world.reference_probes(language, held_out=True, count=2)[0].prefix
    print("…", ". ".join(prefix.split(". ")[-sentences:]), "…")

# %% name="shrunk"
sizes = (4, 8, 16, 24, 32, None)
right_percent = {}
print("window          " + "".join(f"{size or 'all':>6}" for size in sizes))
for language in ("en", "ko"):
    ids, last, right, wrong = batch(language)
    each, line = torch.arange(count), f"{language}, right (%)   "
    for size in sizes:
        mask = causal() if size is None else causal() & window(size)
        with torch.no_grad():
            hidden = model.hidden_states(ids, llmref.sequential_positions(ids), mask=mask)
            logits = model.lm_head(hidden[each, last])
        correct = (logits[each, right] > logits[each, wrong]).sum().item()
        right_percent[language, size] = 100 * correct / count
        line += f"{right_percent[language, size]:6.0f}"
    print(line)
    assert right_percent[language, None] >= 95 and right_percent[language, 32] >= 95
    assert right_percent[language, 8] < 75  # one of two animals: a coin is right in half of the cases

# %% name="shrunk-figure"
from figures import figure

for page in figure(
    "shrunk",
    en="Right answers against the window, English and Korean. With a window of 4 or 8 tokens about half are "
    "right, which is chance; from 24 on nearly all.",
    ko="윈도에 따른 정답 비율, 영어와 한국어. 윈도가 4나 8이면 절반쯤으로 우연과 같고, "
    "24부터는 거의 모두 맞힙니다.",
    size=(5, 3.2),
):
    places = range(len(sizes))
    for language, marker in (("en", "o"), ("ko", "s")):
        names = {"en": page.text(en="English", ko="영어"), "ko": page.text(en="Korean", ko="한국어")}
        heights = [right_percent[language, size] for size in sizes]
        page.axes.plot(places, heights, marker=marker, label=names[language])
    page.axes.axhline(50, color="#000", linewidth=1, linestyle="--")
    page.axes.set_xticks(places, [str(size or page.text(en="all", ko="모두")) for size in sizes])
    page.axes.set_ylim(0, 105)
    page.axes.set_xlabel(page.text(en="window (tokens)", ko="윈도(토큰)"))
    page.axes.set_ylabel(page.text(en="right (%)", ko="정답 비율(%)"))
    page.axes.legend(loc="lower right")

# %% [markdown] lang="ko"
# ## 윈도를 두고 훈련한 쌍둥이 모델
# 윈도만 다르고 나머지는 모두 같은 작은 모델들입니다. 저마다 시드 세 개로 훈련했습니다.
# %% [markdown] lang="en"
# ## Twins trained with a window
# Small models that differ in the window alone, each trained with three seeds.

# %% name="twins"
from llmref.twins import comparison, spread

twins = comparison("window")
losses = {label: spread(results, "loss") for label, results in twins.items()}
references = {label: spread(results, "references_held_out") for label, results in twins.items()}
print("window   loss, nats per token (three seeds)   right animal, % (three seeds)")
for label in twins:
    loss, right = losses[label], references[label]
    print(f"{label:>6}   {loss.mean:.3f}  ({loss.low:.3f} to {loss.high:.3f})", end="")
    print(f"{right.mean:22.1f}  ({right.low:.1f} to {right.high:.1f})")
for narrow, wide in (("4", "8"), ("8", "16"), ("16", "all")):
    assert losses[narrow].low > losses[wide].high  # a narrower window costs more, whatever the seed
assert max(references["4"].high, references["8"].high) < references["16"].low  # and loses the references

# %% name="twins-figure"
from figures import figure

for page in figure(
    "twins",
    en="Loss against the window. The narrowest window has the highest loss, and the line falls towards that "
    "of the model that looks at everything.",
    ko="윈도에 따른 손실. 가장 좁은 윈도의 손실이 가장 크고, "
    "윈도가 넓어질수록 모두 보는 모델의 손실에 가까워집니다.",
    size=(5, 3.2),
):
    places = range(len(twins))
    for place, loss in zip(places, losses.values(), strict=True):
        page.axes.plot([place, place], [loss.low, loss.high], color="#000", linewidth=1)
    page.axes.plot(places, [loss.mean for loss in losses.values()], marker="o")
    page.axes.set_xticks(places, [page.text(en=label, ko=label.replace("all", "모두")) for label in twins])
    page.axes.set_xlabel(page.text(en="window (tokens)", ko="윈도(토큰)"))
    page.axes.set_ylabel(page.text(en="loss (nats)", ko="손실(나트)"))

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="double"
for name in ("causal", "window", "window, strided"):
    times_as_many = counted[name][-1] / counted[name][-2]
    print(f"{name:16} from 1,024 to 2,048 tokens: {times_as_many:.2f} times the pairs")

# %% name="last-row"
for length in (100, 1_000, 10_000):
    here, keys = torch.tensor([[length - 1]]), torch.arange(length)[None]
    looked_at = (causal() & window(64)).dense(here, keys).sum().item()
    print(f"token {length:6,}: looks at {looked_at} keys")
    assert looked_at == 64

# %% [markdown] lang="ko"
# ## 무작위 블록과 첫 토큰
# %% [markdown] lang="en"
# ## Random blocks and first tokens

# %% name="hops"
from llmref.attention import random_blocks


def blocks_to_reach(mask, length):
    """How many transformer blocks it takes until the last token can know of every other one."""
    places = torch.arange(length)[None]
    sees = mask.dense(places, places)[0].float()
    reached, count = torch.eye(length), 0
    while not reached[-1].all():
        reached, count = (reached @ sees > 0).float(), count + 1
    return count, int(sees.sum())


ways = {
    "window": causal() & window(4),
    "window, random": causal() & (window(4) | random_blocks(4, 1, seed=0)),
    "window, strided": causal() & (window(4) | strided(8)),
}
reach = {name: blocks_to_reach(mask, length=64) for name, mask in ways.items()}
for name, (count, scored) in reach.items():
    print(f"{name:16} {scored:4} pairs, {count:2} blocks until the last of 64 tokens knows of all")
assert reach["window, random"][0] < reach["window"][0] / 2

# %% name="first-figure"
from figures import draw_mask, figure

for page in figure(
    "first",
    en="Two squares of 32 by 32 tokens. Left, Big Bird for a decoder: a band along the diagonal, the first "
    "column, and for every block of four queries one block of four earlier keys, drawn at random. Right, the "
    "window with sinks: a band along the diagonal and the first four columns.",
    ko="32 x 32 토큰의 정사각형 두 개. 왼쪽은 디코더에 맞춘 Big Bird로, 대각선을 따라가는 띠와 첫 열, "
    "그리고 쿼리 네 개의 블록마다 앞쪽에서 무작위로 뽑은 키 네 개의 블록이 있습니다. "
    "오른쪽은 싱크를 둔 윈도로, 대각선을 따라가는 띠와 처음 네 열입니다.",
    size=(6, 3.4),
    subplots=(1, 2),
):
    big_bird = causal() & (window(4) | global_tokens(1) | random_blocks(4, 1, seed=0))
    with_sinks = causal() & (window(8) | global_tokens(4))
    for axes, mask, title in (
        (page.axes[0], big_bird, page.text(en="Big Bird", ko="Big Bird")),
        (page.axes[1], with_sinks, page.text(en="window with sinks", ko="싱크를 둔 윈도")),
    ):
        draw_mask(axes, mask, 32, faint=causal())
        axes.set_title(title)

# %% name="first"
from llmref.corpus import World

stories = {}
for language in ("ko", "en"):
    encoded = map(tokenizer.encode, World(languages=[language]).documents(400, seed=99))
    stories[language] = [ids for ids in encoded if len(ids) > 60][:30]


def mean_loss(texts, mask):
    """The loss per token of the tiny model, which looks through this mask."""
    total = tokens = 0
    for ids in texts:
        row = torch.tensor([[model.config.bos_id, *ids]])[:, : model.config.context_length]
        with torch.no_grad():
            logits = model(row, llmref.sequential_positions(row), mask=mask)
        total += torch.nn.functional.cross_entropy(logits[0, :-1], row[0, 1:], reduction="sum").item()
        tokens += row.shape[1] - 1
    return total / tokens


for language, texts in stories.items():
    print(f"{language}: a story begins with ⊢ and", tokenizer.pieces(texts[0][:3]))
    print(f"  everything in sight {mean_loss(texts, causal()):.3f}")
    for size in (8, 16):
        alone = mean_loss(texts, causal() & window(size))
        wider = mean_loss(texts, causal() & window(size + 4))
        first = mean_loss(texts, causal() & (window(size) | global_tokens(4)))
        print(f"  window {size:2}: {alone:.3f}   four near more {wider:.3f}   first four {first:.3f}")
        assert max(first, wider) < alone and (first < wider) == (language == "ko")
