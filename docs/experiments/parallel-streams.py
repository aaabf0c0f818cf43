# %% [markdown] lang="ko"
# # 나란히 흐르는 계산 스트림
# 토큰 하나를 바꾸어 무엇이 달라지는지 봅니다.
# 한 번에 계산할 때와 하나씩 계산할 때를 비교하고, 문맥 길이를 넘겨 봅니다.
# %% [markdown] lang="en"
# # Parallel streams
# One token changed: what else changes. One pass against many. And past the context length.

# %% name="load"
import time
from dataclasses import replace

import torch

import llmref

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
n_blocks = len(model.blocks)
attention = [llmref.Cut(f"blocks.{number}.attention") for number in range(n_blocks)]


def prompt_ids(text):
    return [model.config.bos_id, *tokenizer.encode(text)]


# %% [markdown] lang="ko"
# ## 토큰 하나를 바꾸면
# 다람쥐를 토끼로 바꿉니다. 나머지 토큰은 그대로입니다.
# %% [markdown] lang="en"
# ## Change one token
# The squirrel becomes a rabbit. All other tokens stay.

# %% name="changes"
pairs = {
    "en": ("The dog chased the squirrel because it was hungry.", " squirrel", " rabbit"),
    "ko": ("강아지가 다람쥐를 쫓아갔습니다. 그것이 배가 고팠기 때문입니다.", " 다람쥐를", " 토끼를"),
}
stages = ["embedding"]
for number in range(n_blocks):
    stages += [f"blocks.{number}.middle", f"blocks.{number}.output"]  # after attention; after feedforward


def changes(text, old, new, cuts=()):
    """How much each hidden state changes, as a share of its length [stages, tokens], and which token did."""
    first, second = prompt_ids(text), prompt_ids(text.replace(old, new))
    changed = [place for place, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    one, two = (llmref.trace(model, ids, cuts=cuts) for ids in (first, second))
    rows = [(two[stage] - one[stage])[0].norm(dim=-1) / one[stage][0].norm(dim=-1) for stage in stages]
    assert len(changed) == 1
    return torch.stack(rows), changed[0]


def count(change, place):
    """For each stage: how many streams changed before the token, at it, and after it."""
    hit = change > 0
    return hit[:, :place].sum(dim=1), hit[:, place], hit[:, place + 1 :].sum(dim=1)


for language, pair in pairs.items():
    change, place = changes(*pair)
    before, own, after = count(change, place)
    print(
        f"{language}: token {place} of 0 to {change.shape[1] - 1} is another; streams that changed, by stage:"
    )
    print(f"  before it {before.tolist()}")
    print(f"  after it  {after.tolist()}")
    assert before.sum() == 0  # exactly zero, at every stage
    assert own.all() and after[0] == 0  # the embedding: one stream only
    assert (after[1:] == change.shape[1] - place - 1).all()  # the first attention reaches all that follow

# %% name="cut"
for language, pair in pairs.items():
    change, place = changes(*pair, cuts=attention)
    before, own, after = count(change, place)
    print(f"{language}: streams that changed, by stage: {(before + own + after).tolist()}")
    assert own.all() and (before + after).sum() == 0  # exactly zero everywhere else

# %% name="changes-figure"
from figures import COLORS, figure, heatmap


def labels(ids):
    """The tokens as text; the bytes of a broken syllable are drawn as dots."""
    pieces = [piece.strip() for piece in tokenizer.pieces(ids[1:])]
    return ["⊢", *("·" if piece.startswith("\\x") else piece for piece in pieces)]


for page in figure(
    "changes",
    en="Two grids, one column per token, one row per half block, from the embedding at the top. Squirrel "
    "was changed. With attention, its column and all columns after it are filled from the first attention "
    "on, and the columns before stay empty. Without attention only its own column is filled.",
    ko="격자 두 개. 열은 토큰, 행은 블록의 절반이고 맨 위가 임베딩입니다. '다람쥐를'을 바꾸었습니다. "
    "어텐션이 있으면 첫 어텐션부터 그 열과 뒤의 모든 열이 칠해지고 앞의 열은 비어 있습니다. "
    "어텐션을 끄면 그 열만 칠해집니다.",
    size=(5, 8),
    subplots=(2, 1),
):
    text, old, new = pairs[page.language]
    names = labels(prompt_ids(text))
    parts = (page.text(en="attention", ko="어텐션"), page.text(en="feedforward", ko="피드포워드"))
    rows = [page.text(en="embedding", ko="임베딩")]
    rows += [f"{parts[half]} {number}" for number in range(n_blocks) for half in (0, 1)]
    titles = (page.text(en="as it is", ko="그대로"), page.text(en="all attention cut", ko="어텐션을 모두 끔"))
    for axes, title, cuts in zip(page.axes, titles, ((), attention), strict=True):
        change, place = changes(text, old, new, cuts)
        shade = torch.where(change > 0, 0.35 + 0.65 * change.clamp(max=1), change)  # zero alone is empty
        heatmap(axes, shade, rows=rows, columns=names, maximum=1)
        axes.set_xticks([i + 0.5 for i in range(len(names))], names, rotation=60, ha="right")
        axes.get_xticklabels()[place].set_color(COLORS[1])
        axes.vlines(range(1, len(names)), 0, len(rows), color=COLORS[0], linewidth=0.4, alpha=0.5)
        axes.set_title(title)

# %% name="alone"
largest = 0.0
for text, _, _ in pairs.values():
    ids = prompt_ids(text)
    together = llmref.trace(model, ids, cuts=attention)["final_norm"][0]
    for place, token_id in enumerate(ids):
        alone = llmref.trace(model, [token_id], positions=torch.tensor([[place]]), cuts=attention)
        largest = max(largest, (alone["final_norm"][0, 0] - together[place]).abs().max().item())
print(f"each stream computed all alone, attention cut: the same to 1e-4: {largest < 1e-4}")
assert largest < 1e-4

# %% [markdown] lang="ko"
# ## 한 번에, 또는 하나씩
# %% [markdown] lang="en"
# ## At once, or one by one


# %% name="one-pass"
def one_by_one(model, ids):
    """The logits of every position by one pass for each token; earlier tokens lie in a cache."""
    cache, rows = llmref.GrowingCache(), []
    for place in range(ids.shape[1]):
        rows.append(model(ids[:, place : place + 1], torch.tensor([[place]]), cache))
    return torch.cat(rows, dim=1)


for text, _, _ in pairs.values():
    ids = torch.tensor([prompt_ids(text)])
    with torch.no_grad():
        at_once = model(ids, llmref.sequential_positions(ids))
        difference = (at_once - one_by_one(model, ids)).abs().max().item()
    print(f"1 pass: logits {tuple(at_once.shape)}; {ids.shape[1]} passes: the same {difference < 1e-3}")
    assert difference < 1e-3

# %% name="time"
block = llmref.BlockConfig(
    llmref.AttentionConfig(n_heads=8, n_kv_heads=8, head_dim=32), llmref.FeedForwardConfig(d_ff=688)
)
larger = llmref.Transformer(
    llmref.ModelConfig(vocab_size=1024, d_model=256, context_length=256, blocks=(block,) * 4)
)  # untrained: the time does not depend on the values of the weights


def milliseconds(run, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


lengths, times = [16, 32, 64, 128], []
print(f"{'tokens':>6}{'1 pass over all':>18}{'a pass for each':>18}")
with torch.inference_mode():
    for length in lengths:
        ids = torch.zeros(1, length, dtype=torch.long)
        positions = llmref.sequential_positions(ids)
        at_once = milliseconds(lambda: larger(ids, positions), 4)  # noqa: B023
        each = milliseconds(lambda: one_by_one(larger, ids), 2)  # noqa: B023
        times.append((at_once, each))
        print(f"{length:6}{at_once:15.1f} ms{each:15.1f} ms")

# %% name="time-figure"
from figures import figure

for page in figure(
    "time",
    en="Milliseconds against the number of tokens, both axes logarithmic. A pass for each token takes many "
    "times as long as one pass over all tokens.",
    ko="토큰 수에 따른 밀리초. 두 축 모두 로그 눈금입니다. "
    "토큰마다 한 번씩 계산하면 모두 한 번에 계산할 때보다 수십 배 오래 걸립니다.",
    size=(5, 3.4),
):
    names = (page.text(en="1 pass over all", ko="모두 한 번에"), page.text(en="a pass for each", ko="하나씩"))
    for name, column, marker in zip(names, zip(*times, strict=True), "os", strict=True):
        page.axes.plot(lengths, column, marker=marker, label=name)
    page.axes.set_xscale("log", base=2)
    page.axes.set_yscale("log")
    page.axes.set_xticks(lengths, [str(length) for length in lengths])
    page.axes.set_xlabel(page.text(en="tokens", ko="토큰 수"))
    page.axes.set_ylabel(page.text(en="milliseconds", ko="밀리초"))
    page.axes.legend()

# %% [markdown] lang="ko"
# ## 문맥 길이
# %% [markdown] lang="en"
# ## The context length

# %% name="limit"
limit = model.config.context_length
print(f"context length: {limit} tokens")

ids = torch.zeros(1, limit + 1, dtype=torch.long)
for name, call in (
    ("a pass that is too long", lambda: model(ids, llmref.sequential_positions(ids))),
    ("a prompt that is too long", lambda: llmref.generate(model, tokenizer, "Once upon a time " * 80)),
):
    try:
        call()
        raise AssertionError("there must be an error")
    except ValueError as error:
        print(f"{name}: {error}")

at_limit = model(ids[:, :limit], llmref.sequential_positions(ids[:, :limit]))
print(f"exactly at the limit there is no error: logits {tuple(at_limit.shape)}")

# %% [markdown] lang="ko"
# ## 위치에 따른 손실
# 훈련에 쓰지 않은 글에서 잽니다.
# 정확한 손실은 이 세계의 확률로 계산하며, 어떤 모델도 평균적으로 더 낮출 수 없습니다.
# %% [markdown] lang="en"
# ## The loss by position
# On fresh documents. The exact loss comes from the world's own probabilities.
# No model can beat it on average.

# %% name="by-position"
import math

from llmref.corpus import World
from llmref.training.data import IGNORE, pack

world, end = World(), model.config.eos_id
documents = [tokenizer.encode(text) for text in world.documents(200, seed=999_999_999)]
print(f"the longest of {len(documents)} documents: {max(map(len, documents)) + 1} tokens")


def losses(model, ids, targets, positions, mask=None):
    """The loss of every prediction, in nats; 0 where there is no target."""
    with torch.inference_mode():
        logits = model(ids, positions, mask=mask)
        return torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), targets, ignore_index=IGNORE, reduction="none"
        )


width = 16
found, exact, number = (torch.zeros(160 // width) for _ in range(3))
for start in range(0, len(documents), 50):
    some = pack(documents[start : start + 50], limit, end, end)
    mask = llmref.causal() & llmref.documents(some.documents)
    each = losses(model, some.ids, some.targets, some.positions, mask)
    real = some.targets != IGNORE
    bucket = some.positions[real] // width
    found.index_add_(0, bucket, each[real])
    number.index_add_(0, bucket, torch.ones(len(bucket)))
for document in documents:
    for place, (chances, token_id) in enumerate(
        zip(world.next_tokens(document, tokenizer), [*document, end], strict=True)
    ):
        exact[place // width] -= math.log(chances[token_id])

print("position     predictions    loss    exact loss")
for start, (loss, truth, many) in enumerate(zip(found, exact, number, strict=True)):
    if many >= 200:
        print(f"{start * width:3} to {start * width + width - 1:3}{many:13,.0f}", end="")
        print(f"{loss / many:11.3f}{truth / many:11.3f}")
        assert loss / many < truth / many + 0.06  # near the truth at every position it was trained on

# %% name="past"
tall = llmref.Transformer(replace(model.config, context_length=1024))  # the same weights, a higher limit
tall.load_state_dict(model.state_dict())
length, rows = 768, []
for seed in range(12):  # fresh documents, one after another, each begun by ⊢
    ids, owner = [], []
    for which, text in enumerate(world.documents(60, seed=5_000_000_000 + seed)):
        ids += prompt_ids(text)
        owner += [which] * (len(ids) - len(owner))
    rows.append((ids[: length + 1], owner[:length]))
long_ids = torch.tensor([ids for ids, _ in rows])
owners = torch.tensor([owner for _, owner in rows])
positions = llmref.sequential_positions(long_ids[:, :-1])
masks = {
    "sees everything before it": llmref.causal(),
    "sees the last 128 tokens": llmref.causal() & llmref.window(128),
    "sees its own document": llmref.causal() & llmref.documents(owners),
}
step, curves = 128, {}
print(f"{'loss from position':27}" + "".join(f"{start:>7}" for start in range(0, length, step)))
for name, mask in masks.items():
    each = losses(tall, long_ids[:, :-1], long_ids[:, 1:], positions, mask)
    curves[name] = each.unflatten(1, (-1, step)).mean(dim=-1)  # [rows, stretches of 128 positions]
    print(f"{name:27}" + "".join(f"{loss:7.2f}" for loss in curves[name].mean(dim=0)))


def interval(differences):
    """The mean over the rows and its 95% interval."""
    error = 1.96 * differences.std().item() / len(differences) ** 0.5
    mean = differences.mean().item()
    return mean, mean - error, mean + error


everything, near, own = curves.values()
rise = interval(everything[:, -2:].mean(dim=1) - near[:, -2:].mean(dim=1))
drift = interval(own[:, -2:].mean(dim=1) - own[:, :2].mean(dim=1))
print("the last 256 positions: everything in sight against 128 tokens in sight")
print(f"  {rise[0]:+.2f}, 95% interval {rise[1]:+.2f} to {rise[2]:+.2f}")
print("its own document in sight: the last 256 positions against the first 256")
print("  {:+.2f}, 95% interval {:+.2f} to {:+.2f}".format(*(round(x, 2) + 0.0 for x in drift)))
assert rise[1] > 0.5  # too much in sight makes it worse,
assert drift[2] < 0.2  # a high position alone does not

# %% name="past-figure"
from figures import COLORS, figure

for page in figure(
    "past",
    en="Loss against position up to 768; a dashed line marks the context length. With everything before it "
    "in sight the loss climbs all the way. With the last 128 tokens in sight it stays level after a first "
    "rise. With only its own document in sight it stays low.",
    ko="768까지 위치에 따른 손실. 점선은 문맥 길이입니다. 앞을 모두 볼 때는 손실이 계속 올라갑니다. "
    "마지막 128토큰만 볼 때는 처음에 오른 뒤 그 수준에 머뭅니다. 자기 글만 볼 때는 계속 낮습니다.",
    size=(5, 3.8),
):
    names = (
        page.text(en="sees everything", ko="모두 봄"),
        page.text(en="sees the last 128", ko="마지막 128개만 봄"),
        page.text(en="sees its own document", ko="자기 글만 봄"),
    )
    middles = [start + step / 2 for start in range(0, length, step)]
    for name, curve, marker in zip(names, curves.values(), "os^", strict=True):
        page.axes.plot(middles, curve.mean(dim=0).tolist(), marker=marker, label=name)
    page.axes.axvline(limit, ymax=0.66, color="#000", linewidth=1, linestyle="--")
    page.axes.set_xlim(0, length)
    page.axes.set_ylim(0, 5.6)
    page.axes.set_xticks(range(0, length + 1, 128))
    page.axes.set_xlabel(page.text(en="position", ko="위치"))
    page.axes.set_ylabel(page.text(en="loss (nats)", ko="손실(나트)"))
    page.axes.legend(loc="upper left", fontsize=11)

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="one-attention"
for language, pair in pairs.items():
    change, place = changes(*pair, cuts=[cut for cut in attention if cut.layer != "blocks.2.attention"])
    after = count(change, place)[2].tolist()
    first = stages[next(number for number, streams in enumerate(after) if streams)]
    print(f"{language}: after it {after}, first at {first}")
    assert first == "blocks.2.middle"

# %% name="full"
long_prompt = long_ids[0, : limit - 6].tolist()
new_ids = list(llmref.generate_ids(model, long_prompt, llmref.strategy(temperature=0), 50))
print(f"prompt of {len(long_prompt)} tokens, 50 more asked for: {len(new_ids)} came")
assert len(new_ids) <= 6
