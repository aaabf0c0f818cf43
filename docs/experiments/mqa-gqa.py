# %% [markdown] lang="ko"
# # 키와 값을 함께 쓰기
# 쿼리 헤드 여러 개가 키와 값을 함께 쓰면 캐시가 얼마나 줄고, 품질이 얼마나 떨어지는지 봅니다.
# %% [markdown] lang="en"
# # Sharing keys and values
# Several query heads use the same keys and values: what the cache saves, and what the quality loses.

# %% name="load"
import time

import torch

import llmref
from llmref.attention import MultiHeadAttention

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
ids = [model.config.bos_id, *tokenizer.encode("The dog chased the squirrel because it was hungry.")]
x = llmref.trace(model, ids)["blocks.0.input"]
tokens, d_model = x.shape[1], x.shape[2]
positions = torch.arange(tokens)[None]
allowed = llmref.causal().dense(positions, positions)


def layer(n_kv_heads, n_heads=4, head_dim=32):
    """An attention layer with fresh weights, always the same ones."""
    torch.manual_seed(0)
    return MultiHeadAttention(llmref.AttentionConfig(n_heads, n_kv_heads, head_dim), d_model)


# %% [markdown] lang="ko"
# ## 어느 헤드가 어느 키와 값을 쓰는가
# 키/값 헤드를 하나씩 바꾸어 보고, 어느 쿼리 헤드의 출력이 달라지는지 봅니다.
# %% [markdown] lang="en"
# ## Which head uses which keys and values
# Change one key/value head at a time, and look whose output changes.


# %% name="who-uses"
def changed_heads(attention, changed):
    """Which query heads give something else when one key/value head's keys and values change."""
    outputs = []
    for factor in (1.0, 2.0):

        def change(key, value, factor=factor):
            scale = torch.ones(key.shape[1])
            scale[changed] = factor
            return key * scale[:, None, None], value * scale[:, None, None]

        seen = {}
        hook = attention.sites["head_outputs"].register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.update(output=output)
        )
        with torch.no_grad():
            attention(x, positions, allowed, change)
        hook.remove()
        outputs.append(seen["output"])
    return [head for head in range(4) if not torch.equal(outputs[0][:, head], outputs[1][:, head])]


names = {4: "MHA", 2: "GQA", 1: "MQA"}
uses = {}
for n_kv_heads, name in names.items():
    attention = layer(n_kv_heads)
    uses[name] = [changed_heads(attention, changed) for changed in range(n_kv_heads)]
    print(f"{name}: changing key/value head 0, 1, … changes query heads {uses[name]}")
    group = 4 // n_kv_heads
    assert all(head // group == shared for shared, heads in enumerate(uses[name]) for head in heads)

# %% name="who-uses-figure"
from figures import COLORS, figure

for page in figure(
    "who-uses",
    en="Three drawings of four query heads above and key/value heads below, joined by lines. MHA: four "
    "key/value heads, each joined to one query head. GQA: two, each joined to two. MQA: one, joined to all.",
    ko="위에 쿼리 헤드 네 개, 아래에 키/값 헤드를 두고 선으로 이은 그림 세 개. MHA는 키/값 헤드 네 개가 "
    "쿼리 헤드와 하나씩 이어지고, GQA는 두 개가 둘씩, MQA는 하나가 네 개 모두와 이어집니다.",
    size=(5.2, 3),
    subplots=(1, 3),
):
    for axes, (name, joined) in zip(page.axes, uses.items(), strict=True):
        places = [sum(heads) / len(heads) for heads in joined]
        for color, place, heads in zip(COLORS, places, joined, strict=False):
            for head in heads:
                axes.plot([head, place], [1, 0], color=color, zorder=1)
            axes.scatter([place], [0], s=200, marker="s", color=color, zorder=2)
            axes.scatter(heads, [1] * len(heads), s=200, color=color, zorder=2)
        axes.set_title(name)
        axes.set_xlim(-0.6, 3.6)
        axes.set_ylim(-0.3, 1.3)
        axes.axis("off")
    page.figure.supxlabel(
        page.text(en="above: query heads; below: key/value heads", ko="위: 쿼리 헤드, 아래: 키/값 헤드"),
        fontsize=13,
    )

# %% [markdown] lang="ko"
# ## 함께 쓴다는 것의 뜻
# %% [markdown] lang="en"
# ## What sharing means

# %% name="copies"
shared, separate = layer(n_kv_heads=2), layer(n_kv_heads=4)
weights = shared.state_dict()
for name in ("key.weight", "value.weight"):
    by_head = weights[name].unflatten(0, (2, 32))  # [kv heads, head_dim, d_model]
    weights[name] = by_head.repeat_interleave(2, dim=0).flatten(0, 1)  # one copy for each of its users
separate.load_state_dict(weights)
with torch.no_grad():
    difference = (shared(x, positions, allowed) - separate(x, positions, allowed)).abs().max().item()
print(f"2 shared heads, and 4 separate heads that are copies: equal to 1e-5: {difference < 1e-5}")
assert difference < 1e-5

# %% [markdown] lang="ko"
# ## 캐시
# %% [markdown] lang="en"
# ## The cache


# %% name="cache"
def stored(n_kv_heads):
    """The bytes that a real cache holds after this layer has read the sentence."""
    cache = llmref.GrowingCache()
    cache.extend(positions)
    with torch.no_grad():
        layer(n_kv_heads)(x, positions, allowed, lambda key, value: cache.update(0, key, value))
    return cache.n_bytes


held = {name: stored(n_kv_heads) for n_kv_heads, name in names.items()}
print(f"{tokens} tokens, 4 query heads of 32 numbers, 4 bytes each number")
for n_kv_heads, name in names.items():
    print(f"{name}: {n_kv_heads} key/value heads, {held[name]:>6,} bytes, {held[name] / held['MHA']:.0%}")
    assert held[name] * 4 == held["MHA"] * n_kv_heads

# %% [markdown] lang="ko"
# ## 진짜 모델의 크기로
# Llama 3.1 8B의 크기로, 키/값 헤드의 수만 바꾸어 셉니다.
# %% [markdown] lang="en"
# ## At a real model's size
# The shape of Llama 3.1 8B, with the number of key/value heads alone changed.

# %% name="real-shape"
from llmref.cost import cost, size


def llama(n_kv_heads):
    block = llmref.BlockConfig(
        llmref.AttentionConfig(n_heads=32, n_kv_heads=n_kv_heads, head_dim=128),
        llmref.FeedForwardConfig(d_ff=14_336),
    )
    return llmref.ModelConfig(
        vocab_size=128_256, d_model=4096, context_length=131_072, blocks=(block,) * 32, tied_embeddings=False
    )


print("16 texts of 8,192 tokens, 16-bit numbers; what one decode step reads")
print(f"{'key/value heads':>16}{'weights':>12}{'cache':>12}{'read':>12}")
read = {}
for n_kv_heads in (32, 8, 1):
    total = cost(llama(n_kv_heads), batch=16, context=8192)
    read[n_kv_heads] = total.decode_bytes
    weights = total.decode_bytes - total.total.cache_bytes
    print(
        f"{n_kv_heads:16}{size(weights):>12}{size(total.total.cache_bytes):>12}{size(total.decode_bytes):>12}"
    )
assert read[32] > 2 * read[8] > 2 * read[1]

# %% [markdown] lang="ko"
# ## 디코드 단계의 시간
# 쿼리 하나가 긴 캐시를 훑는 시간을 잽니다. 함께 쓰는 헤드의 키를 복사하지 않습니다.
# %% [markdown] lang="en"
# ## Time of a decode step
# One query reads a long cache; the shared keys are not copied.


# %% name="time"
def decode(query, key, value):
    """One new token's attention: the heads of a group stand side by side, and read the same keys."""
    grouped = query.unflatten(1, (key.shape[1], -1)).squeeze(3)  # [batch, kv heads, group, head_dim]
    scores = grouped @ key.transpose(-2, -1) * key.shape[-1] ** -0.5
    return (scores.softmax(dim=-1) @ value).flatten(1, 2)


torch.manual_seed(0)
heads, head_dim, length, repeats = 32, 64, 8192, 5
query = torch.randn(1, heads, 1, head_dim)
print(f"{heads} query heads, {length:,} cached tokens, CPU, one thread")
for n_kv_heads in (32, 8, 1):
    key, value = torch.randn(2, 1, n_kv_heads, length, head_dim).unbind()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = decode(query, key, value)
        times.append(time.perf_counter() - start)
    copied = [tensor.repeat_interleave(heads // n_kv_heads, dim=1) for tensor in (key, value)]
    expected = torch.nn.functional.scaled_dot_product_attention(query, *copied)[:, :, 0]
    assert torch.allclose(found, expected, atol=1e-4)
    print(f"{n_kv_heads:2} key/value heads: {size(2 * key.numel() * 4):>8} read, {1000 * min(times):6.1f} ms")

# %% [markdown] lang="ko"
# ## 품질
# 다른 것은 모두 같게 하고 키/값 헤드의 수만 바꾸어 훈련한 작은 모델들입니다.
# 시드가 같으면 세 모델이 같은 문서를 읽었습니다.
# %% [markdown] lang="en"
# ## Quality
# Small models trained alike, but for the number of key/value heads; with one seed all three read the same
# documents.

# %% name="quality"
from llmref.twins import comparison, spread
from llmref.twins.recipe import COMPARISONS, TWINS

sharing = comparison("sharing")
print("mean of three seeds, and the lowest and the highest of them")
print(f"{'':4}{'cache':>9}{'parameters':>12}{'loss, nats per token':>26}{'references right, %':>24}")
for name, found in sharing.items():
    loss = spread(found, "loss")
    per_token = cost(TWINS[COMPARISONS["sharing"][name]], context=1).total.cache_bytes
    right = spread(found, "references")
    print(
        f"{name:4}{size(per_token):>9}{found[0].parameters:>12,}"
        f"{loss.mean:>11.4f} ({loss.low:.4f}-{loss.high:.4f})"
        f"{right.mean:>10.1f} ({right.low:.1f}-{right.high:.1f})"
    )

# %% name="quality-interval"
from math import sqrt
from statistics import mean, stdev

T_95 = 4.303  # Student's t for three differences, 95 in 100
for name in ("GQA", "MQA"):
    pairs = zip(sharing[name], sharing["MHA"], strict=True)
    more = [100 * (own.loss / full.loss - 1) for own, full in pairs]  # per cent, seed by seed
    half = T_95 * stdev(more) / sqrt(len(more))
    low, high = mean(more) - half, mean(more) + half
    print(f"{name} against MHA: loss {mean(more):+.2f}%, 95% interval {low:+.2f}% to {high:+.2f}%")
    assert high < 2, "more than 2% worse: no longer nearly the quality"

# %% name="quality-figure"
from figures import COLORS, figure

full = mean(result.loss for result in sharing["MHA"])
for page in figure(
    "quality",
    en="Loss of MHA, GQA and MQA in percent above the mean of MHA: three dots each, one for each seed, and a "
    "line at their mean.",
    ko="MHA, GQA, MQA의 손실이 MHA의 평균보다 몇 퍼센트 높은지 나타낸 그림. 시드마다 점 하나씩 세 점이 있고, "
    "평균에 선을 그었습니다.",
    size=(5, 3),
):
    for place, found in enumerate(sharing.values()):
        above = [100 * (result.loss / full - 1) for result in found]
        page.axes.scatter([place] * 3, above, color=COLORS[place], s=60)
        page.axes.plot([place - 0.2, place + 0.2], [mean(above)] * 2, color=COLORS[place])
    page.axes.set_xticks(range(3), sharing)
    page.axes.set_xlim(-0.6, 2.6)
    page.axes.set_ylabel(page.text(en="loss against MHA (%)", ko="MHA와의 손실 차이(%)"))

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="long-text"
for n_kv_heads in (32, 8, 1):
    cache_bytes = cost(llama(n_kv_heads)).total.cache_bytes
    print(f"{n_kv_heads:2} key/value heads, one text of 131,072 tokens: {size(cache_bytes)}")

# %% name="many-texts"
for n_kv_heads in (32, 8, 1):
    one = cost(llama(n_kv_heads), context=8192).total
    texts = one.weight_bytes / one.cache_bytes
    print(f"{n_kv_heads:2} key/value heads: {texts:.1f} texts of 8,192 tokens take as much as the weights")
