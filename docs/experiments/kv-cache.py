# %% [markdown] lang="ko"
# # KV 캐시
# 같은 토큰을 훨씬 적은 계산으로 얻습니다. 계산한 위치를 세고, 시간을 재고, 바이트를 셉니다.
# %% [markdown] lang="en"
# # KV cache
# The same tokens for far less work: positions counted, time measured, bytes counted.

# %% name="load"
import time
from contextlib import contextmanager

import torch

import llmref
from llmref.generation import generate_naive

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
prompts = {"ko": "옛날에", "en": "Once upon a time"}


def prompt_ids(text):
    return [model.config.bos_id, *tokenizer.encode(text)]


# %% [markdown] lang="ko"
# ## 앞 토큰의 키와 값은 변하지 않는다
# %% [markdown] lang="en"
# ## Keys and values of earlier tokens do not change


# %% name="unchanged"
def change_of_earlier(ids, mask=None):
    """The largest change in the keys and values of all earlier tokens when the last token joins."""
    before, after = (llmref.trace(model, some, mask=mask) for some in (ids[:-1], ids))
    names = [name for name in after if name.endswith((".key", ".value"))]
    kept = len(ids) - 1
    return max((after[name][:, :, :kept] - before[name]).abs().max().item() for name in names)


for prompt in prompts.values():
    change = change_of_earlier(prompt_ids(prompt))
    print(f"{prompt}: keys and values of the earlier tokens unchanged to 1e-5: {change < 1e-5}")
    assert change < 1e-5

# %% name="ahead"
everything = llmref.causal() | ~llmref.causal()  # a mask that allows every pair
for prompt in prompts.values():
    change = change_of_earlier(prompt_ids(prompt), mask=everything)
    print(f"{prompt}: without the causal mask they change by up to {change:.2f}")
    assert change > 0.01

# %% [markdown] lang="ko"
# ## 같은 토큰
# %% [markdown] lang="en"
# ## The same tokens

# %% name="same-ids"
new_tokens = 24
greedy = llmref.strategy(temperature=0)
for prompt in prompts.values():
    ids = prompt_ids(prompt)
    naive = generate_naive(model, ids, new_tokens)
    growing = list(llmref.generate_ids(model, ids, greedy, new_tokens))
    static_cache = llmref.StaticCache(model.config, length=len(ids) + new_tokens)
    static = list(llmref.generate_ids(model, ids, greedy, new_tokens, cache=static_cache))
    print(f"{len(naive)} new ids, all three equal: {naive == growing == static}")
    print(tokenizer.decode(ids[1:] + naive))
    assert naive == growing == static

# %% [markdown] lang="ko"
# ## 계산한 위치의 수
# %% [markdown] lang="en"
# ## Positions computed


# %% name="count"
@contextmanager
def counting():
    """Collects how many positions each forward pass computes."""
    counted = []
    hook = model.blocks[0].register_forward_pre_hook(lambda block, inputs: counted.append(inputs[0].shape[1]))
    yield counted
    hook.remove()


counts = {}
for language, prompt in prompts.items():
    ids = prompt_ids(prompt)
    p, n = len(ids), new_tokens
    with counting() as without:
        generate_naive(model, ids, n)
    with counting() as cached:
        list(llmref.generate_ids(model, ids, greedy, n))
    counts[language] = (without, cached)
    print(f"{prompt}: {p} tokens in the prompt, ⊢ included, and {n} new ones")
    print(f"  without: {str(without[:8])[:-1]}, …], {sum(without)} in all")
    print(f"  cached:  {str(cached[:8])[:-1]}, …], {sum(cached)} in all")
    assert sum(without) == n * p + n * (n - 1) // 2
    assert sum(cached) == p + n - 1

# %% name="count-figure"
from figures import COLORS, figure
from matplotlib.patches import Rectangle

for page in figure(
    "count",
    en="Two grids, one row per step, one column per token. Without a cache each row fills every token so "
    "far, one more than the row above, like stairs; with a cache each row after the first fills one token, "
    "a diagonal.",
    ko="격자 두 개. 행은 단계, 열은 토큰입니다. 캐시가 없으면 행마다 그때까지의 토큰이 모두 칠해져 "
    "한 행에 하나씩 늘어나는 계단 모양이고, 캐시가 있으면 첫 행 다음부터 한 칸만 칠해져 대각선 모양입니다.",
    size=(5, 6.4),
    subplots=(2, 1),
):
    ids = prompt_ids(prompts[page.language])
    steps, width = 6, len(ids) + 5
    made = ids + generate_naive(model, ids, 5)
    names = ["⊢", *(piece.strip() for piece in tokenizer.pieces(made[1:]))]
    titles = (page.text(en="without a cache", ko="캐시 없음"), page.text(en="with a cache", ko="캐시 있음"))
    for axes, title, passes in zip(page.axes, titles, counts[page.language], strict=True):
        for step in range(steps):
            known = len(ids) + step
            for place in range(known):
                computed = place >= known - passes[step]
                axes.add_patch(
                    Rectangle(
                        (place + 0.06, step + 0.06),
                        0.88,
                        0.88,
                        facecolor=COLORS[0] if computed else "none",
                        edgecolor=COLORS[0],
                        linewidth=1,
                    )
                )
        axes.set_xlim(0, width)
        axes.set_ylim(steps, 0)
        axes.set_title(title)
        axes.set_xticks([i + 0.5 for i in range(width)], names, rotation=45, ha="right")
        axes.set_yticks([i + 0.5 for i in range(steps)], [str(i + 1) for i in range(steps)])
        axes.set_ylabel(page.text(en="step", ko="단계"))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

# %% [markdown] lang="ko"
# ## 길이에 따른 시간
# 훈련하지 않은 더 큰 모델로 잽니다. 시간은 가중치의 값과 상관없습니다.
# %% [markdown] lang="en"
# ## Time against length
# Measured on a larger, untrained model: the time does not depend on the values of the weights.

# %% name="time"
block = llmref.BlockConfig(
    llmref.AttentionConfig(n_heads=8, n_kv_heads=8, head_dim=32), llmref.FeedForwardConfig(d_ff=688)
)
config = llmref.ModelConfig(vocab_size=1024, d_model=256, context_length=1024, blocks=(block,) * 4)
larger = llmref.Transformer(config)
repeats = 5


def one_token(length, cache):
    """Milliseconds of the pass that ends with token number `length`: the fastest of a few."""
    ids = torch.zeros(1, length, dtype=torch.long)
    positions = llmref.sequential_positions(ids)
    kept = 0 if cache is None else length - repeats
    if kept:
        larger(ids[:, :kept], positions[:, :kept], cache)
    times = []
    for repeat in range(repeats):
        new = slice(0, length) if cache is None else slice(kept + repeat, kept + repeat + 1)
        start = time.perf_counter()
        larger(ids[:, new], positions[:, new], cache)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


lengths, times = (32, 64, 128, 256, 512, 1024), []
print("one new token, milliseconds, CPU, one thread")
print("tokens so far   no cache    growing     static")
with torch.inference_mode():
    one_token(32, None)  # warm up
    for length in lengths:
        caches = (None, llmref.GrowingCache(), llmref.StaticCache(config, length))
        times.append([one_token(length, cache) for cache in caches])
        print(f"{length:13}" + "".join(f"{value:11.1f}" for value in times[-1]))

# %% name="time-figure"
from figures import figure

for page in figure(
    "time",
    en="Milliseconds for one new token against the tokens so far, both axes logarithmic. "
    "Without a cache the line climbs with the length; with either cache it stays far lower.",
    ko="지금까지의 토큰 수에 따른 새 토큰 하나의 시간(밀리초), 두 축 모두 로그 눈금. "
    "캐시가 없으면 선이 길이를 따라 올라가고, 어느 캐시든 쓰면 훨씬 아래에 머뭅니다.",
    size=(5, 3.4),
):
    labels = (
        page.text(en="no cache", ko="캐시 없음"),
        page.text(en="growing cache", ko="늘어나는 캐시"),
        page.text(en="static cache", ko="고정 캐시"),
    )
    for label, column, marker in zip(labels, zip(*times, strict=True), "os^", strict=True):
        page.axes.plot(lengths, column, marker=marker, label=label)
    page.axes.set_xscale("log", base=2)
    page.axes.set_yscale("log")
    page.axes.set_xticks(lengths, [str(length) for length in lengths])
    page.axes.set_xlabel(page.text(en="tokens so far", ko="지금까지의 토큰 수"))
    page.axes.set_ylabel(page.text(en="milliseconds", ko="밀리초"))
    page.axes.legend()

# %% [markdown] lang="ko"
# ## 바이트
# %% [markdown] lang="en"
# ## Bytes

# %% name="bytes"
ids = torch.tensor([prompt_ids(prompts["en"])])
cache = llmref.GrowingCache()
with torch.no_grad():
    model(ids, llmref.sequential_positions(ids), cache)

config, tokens = model.config, ids.shape[1]
blocks, attention = len(config.blocks), config.blocks[0].attention
per_token = 2 * blocks * attention.n_kv_heads * attention.head_dim * 4  # key and value; 4: float32
print(f"2 x {blocks} blocks x {attention.n_kv_heads} heads x {attention.head_dim} numbers x 4 bytes")
print(f"= {per_token:,} bytes per token; {tokens} tokens: {cache.n_bytes:,} bytes in the cache")
assert cache.n_bytes == per_token * tokens

# %% [markdown] lang="ko"
# ## 늘어나는 캐시와 고정 캐시
# %% [markdown] lang="en"
# ## Growing and static


# %% name="two-caches"
def run(cache, tokens=32):
    """Feeds one token at a time; gives the last logits, the bytes held and the keys' shape by step."""
    ids = torch.arange(1, tokens + 1)[None]
    held, shapes = [], []
    with torch.no_grad():
        for place in range(tokens):
            logits = model(ids[:, place : place + 1], torch.tensor([[place]]), cache)
            held.append(cache.n_bytes)
            shapes.append(tuple(cache.keys[0].shape) if hasattr(cache, "keys") else ())
    return logits, held, shapes


growing, growing_held, growing_shapes = run(llmref.GrowingCache())
static, static_held, static_shapes = run(llmref.StaticCache(model.config, length=32))
print("keys of block 0, step by step")
print("  growing:", *growing_shapes[:3], "…", growing_shapes[-1])
print("  static: ", *static_shapes[:3], "…", static_shapes[-1])
written = {"growing": sum(growing_held), "static": 32 * per_token}  # growing writes all of it anew
print(f"bytes written in 32 steps: growing {written['growing']:,}, static {written['static']:,}")
print(f"bytes held after step 1:   growing {growing_held[0]:,}, static {static_held[0]:,}")
assert torch.allclose(growing, static, atol=1e-4)
assert written["growing"] == per_token * 32 * 33 // 2
assert len(set(static_shapes)) == 1 and static_held[0] == growing_held[-1]

# %% [markdown] lang="ko"
# ## 더 작은 캐시
# %% [markdown] lang="en"
# ## Smaller caches

# %% name="rolling"
from dataclasses import replace

windowed = llmref.Transformer(
    replace(
        model.config,
        blocks=tuple(
            replace(block, attention=replace(block.attention, window=8)) for block in model.config.blocks
        ),
    )
)
windowed.load_state_dict(model.state_dict())


def held_by(cache, tokens=32):
    """One token at a time through the model with windows of 8: the last logits, and the bytes by step."""
    ids, held = torch.arange(1, tokens + 1)[None], []
    with torch.no_grad():
        for place in range(tokens):
            logits = windowed(ids[:, place : place + 1], torch.tensor([[place]]), cache)
            held.append(cache.n_bytes)
    return logits, held


all_kept, growing_bytes = held_by(llmref.GrowingCache())
rolled, rolling_bytes = held_by(llmref.RollingCache(windowed.config))
print(f"after step {'':5}" + "".join(f"{step:9}" for step in (4, 8, 16, 32)))
for name, held in (("growing", growing_bytes), ("rolling", rolling_bytes)):
    print(f"{name:8} bytes " + "".join(f"{held[step - 1]:9,}" for step in (4, 8, 16, 32)))
assert torch.allclose(all_kept, rolled, atol=1e-4)
assert max(rolling_bytes) == 7 * per_token  # the window but for the token itself, which comes anew

# %% name="quantized"
quantized_cache = llmref.QuantizedCache()
quantized, quantized_held, _ = run(quantized_cache)
probabilities, expected = quantized.softmax(dim=-1), growing.softmax(dim=-1)
print(f"bytes after 32 steps: float32 {growing_held[-1]:,}, 8-bit {quantized_held[-1]:,}")
print(f"no key or value is off by more than {quantized_cache.error:.4f}")
print(f"no probability is off by more than {(probabilities - expected).abs().max():.4f}")
assert quantized_held[-1] < 0.3 * growing_held[-1]
assert (probabilities - expected).abs().max() < 0.02

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="hundred"
p = n = 100
without, cached = n * p + n * (n - 1) // 2, p + n - 1
print(f"without: {without:,} positions; with a cache: {cached:,}; {without / cached:.0f} times fewer")
