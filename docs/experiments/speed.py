# %% [markdown] lang="ko"
# # 속도
# 새 토큰 하나를 쓰려면 메모리에서 무엇을 얼마나 읽어야 하는지 세고, 곱셈 하나로 재 봅니다.
# %% [markdown] lang="en"
# # Speed
# Counts what must be read from memory to write one new token, and measures a single product.

# %% name="load"
import statistics
import time
from copy import deepcopy
from dataclasses import replace

import torch

import llmref
from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.cost import cost, count, size
from llmref.fast import join_projections, prepare
from llmref.generation import generate_naive
from llmref.quantization import Quantization
from llmref.roofline import Device, duration, roofline

model, tokenizer = llmref.load_tiny()

# %% [markdown] lang="ko"
# ## 한계
# 가중치는 토큰마다 한 번씩 읽어야 합니다. 읽을 바이트를 대역폭으로 나누면 가장 짧은 시간이 나옵니다.
# %% [markdown] lang="en"
# ## The floor
# Each weight has to be read once for each token. The bytes divided by the bandwidth are the least time.


# %% name="shapes"
def llama(vocab, d_model, n_blocks, n_heads, n_kv_heads, d_ff):
    """A model shaped like Llama's, by its sizes."""
    attention = AttentionConfig(n_heads, n_kv_heads, head_dim=d_model // n_heads)
    blocks = (BlockConfig(attention, FeedForwardConfig(d_ff)),) * n_blocks
    return ModelConfig(vocab, d_model, 32_768, blocks, tied_embeddings=False)


shapes = {
    "tiny": replace(model.config, context_length=32_768),
    "134M": llama(32_000, 768, 12, 12, 12, 2048),
    "8B": llama(128_256, 4096, 32, 32, 8, 14_336),
}
devices = {
    "laptop": Device("laptop", flops=1e12, bandwidth=50e9),  # round numbers for a good one
    "H100": Device("H100", flops=989e12, bandwidth=3.35e12),  # by its data sheet
}

# %% name="floor"
print("16-bit weights, 1,024 tokens of context: one new token")
print(f"{'':14}{'reads':>10}{'computes':>13}{'FLOP/byte':>11}{'least time':>12}{'bound by':>10}")
for shape, config in shapes.items():
    for name, device in devices.items():
        step = roofline(cost(config, context=1024), device).decode
        print(
            f"{shape:5} {name:8}{size(step.n_bytes):>10}{count(step.flops) + 'FLOP':>13}"
            f"{step.intensity:11.1f}{duration(step.seconds):>12}{step.bound:>10}"
        )
        assert step.bound == "memory" and step.intensity < 4

# %% [markdown] lang="ko"
# ## 곱셈 하나로 재기
# 같은 행렬에 벡터를 1개부터 512개까지 곱합니다. 읽는 속도도 같은 때에 잽니다.
# %% [markdown] lang="en"
# ## Measured with a single product
# One matrix times 1 to 512 vectors; the rate of reading is measured at the same time.

# %% name="measure"
side = 4096
matrix, much = torch.ones(side, side), torch.ones(2**26)
inputs = {tokens: torch.ones(tokens, side) for tokens in (1, 8, 64, 512)}


def seconds(call, rounds=5):
    """The median time of a call."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


bandwidth = much.nbytes / seconds(much.sum)
taken = {tokens: seconds(lambda x=x: x @ matrix.T) for tokens, x in inputs.items()}
print(f"this machine reads {count(bandwidth)}B/s; {torch.get_num_threads()} thread(s)")
print(f"a matrix of {size(matrix.nbytes)} takes at least {duration(matrix.nbytes / bandwidth)} to read")
print(f"{'tokens':>6}{'time':>11}{'for each':>11}{'FLOP/byte':>11}{'reached':>15}")
for tokens, time_taken in taken.items():
    flops = 2 * tokens * matrix.numel()
    moved = matrix.nbytes + 2 * inputs[tokens].nbytes
    print(
        f"{tokens:6}{duration(time_taken):>11}{duration(time_taken / tokens):>11}{flops / moved:11.1f}"
        f"{count(flops / time_taken) + 'FLOP/s':>15}"
    )

# %% name="measure-figure"
from figures import figure

for page in figure(
    "measure",
    en="The time for each token against how many tokens are multiplied at once, both axes logarithmic. The "
    "line falls steeply at first, because one reading of the matrix serves more tokens.",
    ko="한꺼번에 곱하는 토큰의 수에 따른 토큰 하나의 시간, 두 축 모두 로그 눈금. 행렬을 한 번 읽어 더 많은 "
    "토큰에 쓰므로 처음에는 선이 가파르게 내려갑니다.",
    size=(5, 3),
):
    each = [1000 * taken[tokens] / tokens for tokens in taken]
    page.axes.plot(list(taken), each, "-o", markersize=6)
    page.axes.set_xscale("log", base=2)
    page.axes.set_yscale("log")
    page.axes.set_xticks(list(taken), [str(tokens) for tokens in taken])
    page.axes.set_xlabel(page.text(en="tokens at once", ko="한꺼번에 곱하는 토큰"))
    page.axes.set_ylabel(page.text(en="ms for each token", ko="토큰 하나에 걸린 시간(ms)"))

# %% [markdown] lang="ko"
# ## 같은 글
# 정확해야 하는 단계들은 같은 ID를 씁니다. 컴파일한 단계는 패키지의 테스트가 확인합니다.
# %% [markdown] lang="en"
# ## The same text
# The steps that are exact write the same ids. The compiled step is left to the package's tests.

# %% name="same-ids"
ids = llmref.prompt_ids(model, tokenizer, "Once upon a time")
greedy, new = llmref.strategy(temperature=0), 32
joined = deepcopy(model)
join_projections(joined)
prepared = prepare(model, backend=None)  # all but the compiler


def text(writer, cache=None):
    return list(llmref.generate_ids(writer, ids, greedy, new, cache=cache))


def static():
    return llmref.StaticCache(model.config, len(ids) + new)


expected = generate_naive(model, ids, new)
texts = {
    "growing cache": text(model, llmref.GrowingCache()),
    "static cache": text(model, static()),
    "joined projections": text(joined, static()),
    "prepared": text(prepared),
}
for name, found in texts.items():
    same = sum(map(int.__eq__, found, expected))
    print(f"{name:20}{same} of {new} ids as without a cache")
    assert found == expected

# %% [markdown] lang="ko"
# ## 더 적게 읽기
# %% [markdown] lang="en"
# ## Reading less

# %% name="fewer-bytes"
config = shapes["134M"]
kinds = {
    "float32": (4, None),
    "bfloat16": (2, None),
    "int8": (2, Quantization("int8")),
    "int4": (2, Quantization("int4")),
}
print("134M: what a step reads, and of it the cache")
print(f"{'':10}" + "".join(f"{context:>13,} tokens" for context in (128, 4096, 32_768)))
read = {}
for name, (number, quantization) in kinds.items():
    costs = [
        cost(config, context=context, bytes_per_number=number, quantization=quantization)
        for context in (128, 4096, 32_768)
    ]
    read[name] = [one.decode_bytes for one in costs]
    shares = (f"{size(one.decode_bytes)} ({one.total.cache_bytes / one.decode_bytes:.0%})" for one in costs)
    print(f"{name:10}" + "".join(f"{share:>20}" for share in shares))
for more, fewer in zip(list(read)[:-1], list(read)[1:], strict=True):
    assert all(one > other for one, other in zip(read[more], read[fewer], strict=True))

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="batch"
print("134M, 16-bit, 1,024 tokens of context each: what a step reads, and for each text")
for batch in (1, 8, 64):
    step = cost(config, batch=batch, context=1024)
    weights = step.decode_bytes - step.total.cache_bytes
    print(
        f"{batch:3} texts: weights {size(weights)}, caches {size(step.total.cache_bytes)}, "
        f"for each {size(step.decode_bytes // batch)}"
    )
    assert weights == cost(config, context=1024).decode_bytes - cost(config, context=1024).total.cache_bytes

# %% name="draft"
print("a pass over 5 tokens reads what a pass over 1 reads; so with a draft of 4 tokens")
one = cost(config, context=1024).decode_bytes
for accepted in (0, 1, 2, 4):
    print(f"  {accepted} accepted: {accepted + 1} new tokens, {size(one // (accepted + 1))} read for each")
