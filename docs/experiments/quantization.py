# %% [markdown] lang="ko"
# # 양자화
# 가중치를 작은 정수와 배율로 저장합니다. 비트를 줄여 가며 바이트와 손실을 잽니다.
# %% [markdown] lang="en"
# # Quantization
# Weights as small integers with a scale: bytes and loss with fewer and fewer bits, and what breaks when.

# %% name="load"
import os

os.environ["TQDM_DISABLE"] = "1"  # no progress bars here

import torch
from torch import nn

import llmref
from llmref.quantization import from_integers, pack, quantization_of, to_integers, unpack
from llmref.quantization.linear import grouped
from llmref.quantization.model import quantizable, weight_bytes

torch.set_num_threads(1)
tiny, tokenizer = llmref.load_tiny()

# %% [markdown] lang="ko"
# ## 손으로 계산하기
# %% [markdown] lang="en"
# ## By hand

# %% name="by-hand"
row = torch.tensor([0.52, -1.27, 0.03, 0.9])


def show(name, values, form="{:8.2f}"):
    print(f"{name:32}" + "".join(form.format(value) for value in values.tolist()))


show("a row of weights", row)
for bits in (8, 4, 2):
    largest = 2 ** (bits - 1) - 1
    numbers, scale = to_integers(row, largest)
    print(f"{bits} bits: scale = 1.27 / {largest} = {scale.item():.4f}")
    show("  integers", numbers, "{:8}")
    show("  integers times scale", from_integers(numbers, scale))
    assert (from_integers(numbers, scale) - row).abs().max() <= scale / 2

# %% name="packed"
numbers, scale = to_integers(row, 7)
packed = pack(numbers)
print("four integers:", numbers.tolist())
for first, second, byte in zip(numbers[:2].tolist(), numbers[2:].tolist(), packed.tolist(), strict=True):
    print(f"  {second:2} above, {first:2} below: {second + 8:04b} {first + 8:04b} = {byte}")
print("two bytes:", packed.tolist(), "and out again:", unpack(packed).tolist())
assert torch.equal(unpack(packed), numbers)

# %% [markdown] lang="ko"
# ## 진짜 가중치
# 작은 모델의 행렬 하나에서 한 행을 골라, 128개의 가중치가 어느 자리로 옮겨 가는지 봅니다.
# %% [markdown] lang="en"
# ## Real weights
# One row of one matrix of the tiny model: to which levels its 128 weights move.

# %% name="levels"
matrix = tiny.blocks[2].feedforward.up.weight.detach()
one = matrix[5]
print(f"a row of {len(one)} weights, the largest by size is {one.abs().max():.3f}")
for bits in (8, 4, 2):
    numbers, scale = to_integers(one, 2 ** (bits - 1) - 1)
    error = (from_integers(numbers, scale) - one).abs()
    zeros = (numbers == 0).sum().item()
    print(
        f"{bits} bits: {2**bits - 1:3} levels, {scale.item():.4f} apart; "
        f"error {error.mean():.4f} on average, {error.max():.4f} at most; {zeros:3} weights become 0"
    )
    assert error.max() <= scale.item() / 2 * 1.0001

# %% name="levels-figure"
from figures import COLORS, figure

for page in figure(
    "levels",
    en="The histogram of 128 weights of one row, three times, with the levels as vertical lines. At 8 bits "
    "the lines are so dense that they fill the ground. At 4 bits there are 15 of them, several under the "
    "hump. At 2 bits there are three: nearly all weights lie nearer to 0 than to the outer two.",
    ko="한 행의 가중치 128개의 히스토그램을 세 번 그리고, 정수로 나타낼 수 있는 값마다 세로줄을 그은 그림. "
    "8비트에서는 줄이 촘촘해서 바탕을 다 채웁니다. 4비트에서는 줄이 15개이고, 그중 여럿이 봉우리 "
    "아래에 있습니다. 2비트에서는 세 개뿐이고, 거의 모든 가중치가 바깥 두 줄보다 0에 더 가깝습니다.",
    size=(7, 5),
    subplots=(3, 1),
):
    for axes, bits in zip(page.axes, (8, 4, 2), strict=True):
        largest = 2 ** (bits - 1) - 1
        _, scale = to_integers(one, largest)
        levels = [number * scale.item() for number in range(-largest, largest + 1)]
        over = 3 if bits < 8 else 1  # 255 lines would hide the bars
        axes.vlines(
            levels, 0, 1, transform=axes.get_xaxis_transform(), color=COLORS[1], linewidth=1.2, zorder=over
        )
        axes.hist(one.tolist(), bins=40, color=COLORS[0], zorder=2)
        axes.set_yticks([])
        axes.set_ylabel(page.text(en=f"{bits} bits", ko=f"{bits}비트"))
    page.axes[2].set_xlabel(page.text(en="weight", ko="가중치"))

# %% [markdown] lang="ko"
# ## 비트를 줄여 가며
# 훈련에 나오지 않은 문서의 손실을 재고, 사실과 가리키는 말을 묻습니다. 3비트와 2비트는 반올림만 흉내 냅니다.
# %% [markdown] lang="en"
# ## Fewer and fewer bits
# The loss on fresh documents, and questions about facts and references. 3 and 2 bits are only simulated.

# %% name="variants"


def quantized(kind, group_size=None):
    model, _ = llmref.load_tiny()
    llmref.quantize(model, kind, group_size)
    return model


def rounded(bits, group_size):
    """The same rounding with any number of bits, put back into ordinary layers."""
    model, _ = llmref.load_tiny()
    with torch.no_grad():
        for layer in quantizable(model).values():
            groups = grouped(layer.weight, group_size)
            again = from_integers(*to_integers(groups, 2 ** (bits - 1) - 1, torch.bfloat16))
            layer.weight.copy_(again.flatten(1)[:, : layer.in_features])
    return model


variants = {
    "float32": tiny,
    "bfloat16": llmref.load_tiny(dtype=torch.bfloat16)[0],
    "int8, rows": quantized("int8"),
    "int4, groups of 128": quantized("int4", 128),
    "int4, groups of 32": quantized("int4", 32),
    "3 bits, groups of 32": rounded(3, 32),
    "2 bits, groups of 32": rounded(2, 32),
}
same = [torch.equal(layer.weight, variants["int4, groups of 32"].get_submodule(name).weight)
        for name, layer in quantizable(rounded(4, 32)).items()]  # fmt: skip
assert all(same)  # what is simulated is what the real layers do

# %% name="bytes"
weights = sum(layer.weight.numel() for layer in quantizable(tiny).values())
rest = weight_bytes(tiny) - 4 * weights
print(f"{weights:,} weights in the linear layers of the blocks; the rest, {rest:,} bytes, stays as it is")
print(f"{'':22}{'bytes of the linear layers':>28}{'bits per weight':>18}")
for name in ("float32", "int8, rows", "int4, groups of 128", "int4, groups of 32"):
    n_bytes = weight_bytes(variants[name]) - rest
    print(f"{name:22}{n_bytes:28,}{8 * n_bytes / weights:18.2f}")
    counted = llmref.cost(
        tiny.config, bytes_per_number=4, quantization=quantization_of(variants[name])
    ).total.weight_bytes  # from the config alone
    assert counted == weight_bytes(variants[name])

# %% name="measure"
from llmref.corpus import World
from llmref.tiny.measure import accuracy
from llmref.training import pack as pack_documents

world = World()
texts = list(world.documents(100, seed=4_000_000_000))  # documents that no training has seen
fresh = pack_documents([tokenizer.encode(text) for text in texts], 256, 0, 0)
exact = -sum(world.log_probability(text) for text in texts) / fresh.n_targets
questions = {
    "facts": [probe for language in ("ko", "en") for probe in world.fact_probes(language)[1::2]],
    "references": [
        probe
        for language in ("ko", "en")
        for probe in world.reference_probes(language, held_out=True, count=20)
    ],
}


def document_losses(model):
    """The loss of each document, in nats."""
    mask = llmref.causal() & llmref.documents(fresh.documents)
    with torch.inference_mode():
        logits = model(fresh.ids, fresh.positions, mask=mask).float()
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), fresh.targets.flatten(), reduction="none")
    which = 100 * torch.arange(len(fresh.ids))[:, None] + fresh.documents  # row and place name a document
    real = fresh.documents.flatten() >= 0
    names, index = which.flatten()[real].unique(return_inverse=True)
    return torch.zeros(len(names)).index_add(0, index, losses[real])


# %% name="quality"
def signed(number):
    return f"{round(float(number), 4) + 0.0:+.4f}"  # and no -0.0000


measured = {}
print(f"the world's own loss on {len(texts)} fresh documents: {exact:.4f} nats per token")
print(f"{'':20}{'loss':>7}{'more than float32 (95%)':>30}{'facts':>8}{'references':>11}")
for name, model in variants.items():
    losses = document_losses(model)
    measured[name] = losses.sum().item() / fresh.n_targets
    if name == "float32":
        reference = losses
    more = (losses - reference) * len(losses) / fresh.n_targets  # document by document
    half = 1.96 * more.std().item() / len(losses) ** 0.5
    right = [accuracy(model, tokenizer, probes)["right_percent"] for probes in questions.values()]
    interval = f"{signed(more.mean())} ({signed(more.mean() - half)} to {signed(more.mean() + half)})"
    print(
        f"{name:20}{measured[name]:7.4f}{interval if name != 'float32' else '':>30}"
        f"{right[0]:7.1f}%{right[1]:10.1f}%"
    )
    if name == "int8, rows":
        assert more.mean() + half < 0.001 and right == [100, 100]
    if name.startswith("int4"):
        assert more.mean() + half < 0.003 and right == [100, 100]
    if name.startswith("2 bits"):
        assert more.mean() - half > 1 and right[0] < 50

# %% name="quality-figure"
from figures import COLORS, figure

for page in figure(
    "quality",
    en="Loss above the world's own, on a logarithmic scale, a bar for each variant. float32, bfloat16 and "
    "int8 are equally low, int4 a little higher, 3 bits not twice as high, 2 bits hundreds of times.",
    ko="세계의 정확한 손실보다 얼마나 높은지를 막대 하나씩으로 나타낸 그림, 로그 눈금. float32, bfloat16, "
    "int8은 똑같이 낮고, int4는 조금 높고, 3비트는 두 배가 안 되고, 2비트는 수백 배입니다.",
    size=(7, 3.2),
):
    names = list(measured)
    labels = names
    if page.language == "ko":
        labels = [
            "float32",
            "bfloat16",
            "int8, 행",
            "int4, 128개씩",
            "int4, 32개씩",
            "3비트, 32개씩",
            "2비트, 32개씩",
        ]
    page.axes.barh(labels, [measured[name] - exact for name in names], color=COLORS[0])
    page.axes.set_xscale("log")
    page.axes.invert_yaxis()
    page.axes.set_xlabel(
        page.text(
            en="loss above the world's own (nats per token)",
            ko="세계의 정확한 손실보다 높은 정도(토큰당 나트)",
        )
    )

# %% name="texts"
beginnings = [
    "Once upon a time",
    "Minji lives in the",
    "The dog",
    "Clara",
    "옛날에",
    "지우는",
    "강아지가",
    "민지의 꿈은",
]


def written(model):
    greedy = llmref.strategy(temperature=0)
    return [
        list(llmref.generate_ids(model, llmref.prompt_ids(model, tokenizer, text), greedy, 30))
        for text in beginnings
    ]


expected = written(tiny)
for name in ("int8, rows", "int4, groups of 32", "3 bits, groups of 32", "2 bits, groups of 32"):
    found = written(variants[name])
    alike = sum(ours == theirs for ours, theirs in zip(found, expected, strict=True))
    print(f"{name:22} {alike} of {len(expected)} texts alike; {tokenizer.decode(found[0])[:42]!r}")

# %% [markdown] lang="ko"
# ## 커다란 가중치 하나
# %% [markdown] lang="en"
# ## One large weight

# %% name="outlier"
spoiled = matrix.clone()
spoiled[5, 40] = 20 * matrix.abs().max()  # one weight of 40,960
views = {
    "one scale for the matrix": lambda weight: weight.flatten()[None],
    "a scale for each row": lambda weight: weight,
    "a scale for each group of 32": lambda weight: grouped(weight, 32),
}


def errors(weight, view):
    """How far each weight is off after rounding to 8 bits."""
    seen = view(weight)
    return (from_integers(*to_integers(seen)) - seen).abs().reshape(weight.shape)


others = torch.ones_like(matrix, dtype=torch.bool)
others[5, 40] = False
print("8 bits, error of all other weights, in percent of their size (root mean square)")
print(f"{'':28}{'as trained':>12}{'large weight':>14}{'become 0':>10}")
grown = {}
for name, view in views.items():
    percent = [
        100 * (errors(weight, view)[others].square().mean() / matrix[others].square().mean()).sqrt().item()
        for weight in (matrix, spoiled)
    ]
    lost = (to_integers(view(spoiled))[0].reshape(matrix.shape) == 0)[others].float().mean().item()
    print(f"{name:28}{percent[0]:11.2f}%{percent[1]:13.2f}%{lost:10.1%}")
    grown[name] = percent[1] / percent[0]
assert grown["one scale for the matrix"] > 10 > 2 > grown["a scale for each group of 32"]

# %% name="outlier-figure"
from figures import figure, heatmap

for page in figure(
    "outlier",
    en="The mean errors of 8 weights each in 12 rows of 128, three times. With one scale for the matrix all "
    "weights are off. With a scale for each row, those of one row; with groups of 32, a quarter of that row.",
    ko="가중치 128개씩 12행의 오차를 8개씩 평균해 세 번 그린 그림. "
    "행렬에 배율이 하나면 모든 가중치가 어긋납니다. 행마다 배율이 있으면 한 행만, 32개씩 묶은 그룹마다 있으면 그 행의 4분의 1만 어긋납니다.",
    size=(7, 4),
    subplots=(3, 1),
):
    titles = page.text(en="matrix|row|group of 32", ko="행렬|행|32개 그룹").split("|")
    for axes, view, title in zip(page.axes, views.values(), titles, strict=True):
        shown = errors(spoiled, view)[:12].unflatten(1, (-1, 8)).mean(dim=-1).clamp(max=0.1)
        heatmap(axes, shown)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_ylabel(title)

# %% [markdown] lang="ko"
# ## 파일
# %% [markdown] lang="en"
# ## A file

# %% name="file"
import json
import tempfile
from pathlib import Path

small = variants["int4, groups of 32"]
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    llmref.save(small, tokenizer, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    print(config["quantization_config"])
    print(f"model.safetensors: {(folder / 'model.safetensors').stat().st_size:,} bytes")
    again, _ = llmref.load(folder)
    ids = torch.tensor([llmref.prompt_ids(tiny, tokenizer, "Once upon a time")])
    positions = llmref.sequential_positions(ids)
    with torch.no_grad():
        print("the same logits:", torch.equal(again(ids, positions), small(ids, positions)))

    config["quantization_config"]["version"] = 2
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    try:
        llmref.load(folder)
    except ValueError as error:
        print("Error:", str(error).removeprefix(f"{folder}{os.sep}"))

# %% [markdown] lang="ko"
# ## 실제 크기에서
# %% [markdown] lang="en"
# ## At a real size

# %% name="real-size"
from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.cost import count, size
from llmref.roofline import duration

block = BlockConfig(AttentionConfig(32, 8, 128), FeedForwardConfig(14336))
llama = ModelConfig(128_256, 4096, 131_072, (block,) * 32, tied_embeddings=False)  # Llama 3.1 8B
gpu = llmref.Device("H100", flops=989e12, bandwidth=3.35e12)  # by its data sheet
parameters = count(llmref.cost(llama).total.parameters).strip()
print(f"{parameters} parameters; a decode step over 1,024 tokens on an H100")
print(f"{'':22}{'weights':>12}{'step moves':>14}{'least time':>14}  bound by")
times = []
for name, scheme in (
    ("bfloat16", None),
    ("int8, rows", llmref.Quantization("int8")),
    ("int4, groups of 128", llmref.Quantization("int4", 128)),
    ("int4, groups of 32", llmref.Quantization("int4", 32)),
):
    found = llmref.cost(llama, context=1024, quantization=scheme)
    step = llmref.roofline(found, gpu).decode
    times.append(step.seconds)
    print(
        f"{name:22}{size(found.total.weight_bytes):>12}{size(step.n_bytes):>14}"
        f"{duration(step.seconds):>14}  {step.bound}"
    )
assert times == [times[0], times[1], *sorted(times[2:])] and times[1] < 0.55 * times[0]

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="embedding"
model, _ = llmref.load_tiny()
with torch.no_grad():
    table = model.embedding.weight
    groups = grouped(table, 32)
    table.copy_(from_integers(*to_integers(groups, 7, torch.bfloat16)).flatten(1))
blocks = document_losses(variants["int4, groups of 32"])
for name, losses in (("embedding and LM head", document_losses(model)), ("blocks", blocks)):
    more = (losses - reference) * len(losses) / fresh.n_targets
    half = 1.96 * more.std().item() / len(losses) ** 0.5
    interval = f"{signed(more.mean() - half)} to {signed(more.mean() + half)}"
    print(f"4 bits in {name:22} loss {signed(more.mean())} (95%: {interval}) nats per token")

# %% name="zero-point"


def with_zero_point(groups, bits):
    """From the smallest to the largest of a group in equal steps: one number more for each group."""
    low, high = groups.amin(dim=-1, keepdim=True), groups.amax(dim=-1, keepdim=True)
    step = ((high - low) / (2**bits - 1)).bfloat16().float()
    low = low.bfloat16().float()
    return ((groups - low) / step).round().clamp(0, 2**bits - 1) * step + low


print("error of the weights (root mean square), and loss against float32")
for bits in (4, 3, 2):
    for name in ("symmetric", "zero-point"):
        model, _ = llmref.load_tiny()
        off = total = 0.0
        with torch.no_grad():
            for layer in quantizable(model).values():
                groups = grouped(layer.weight, 32 if name == "symmetric" else 64)
                numbers = to_integers(groups, 2 ** (bits - 1) - 1, torch.bfloat16)
                near = from_integers(*numbers) if name == "symmetric" else with_zero_point(groups, bits)
                off += (near - groups).square().sum().item()
                total += groups.square().sum().item()
                layer.weight.copy_(near.flatten(1)[:, : layer.in_features])
        found = document_losses(model) * len(reference) / fresh.n_targets
        more = found.mean().item() - measured["float32"]
        per_weight = bits + (16 / 32 if name == "symmetric" else (16 + 16) / 64)
        print(
            f"{bits} bits, {name:11} {per_weight:.1f} bits per weight"
            f"{100 * (off / total) ** 0.5:8.1f}%{more:+10.4f} nats per token"
        )
        if name == "symmetric":
            symmetric = found
    less = symmetric - found
    half = 1.96 * less.std().item() / len(less) ** 0.5
    low, high = signed(less.mean() - half), signed(less.mean() + half)
    print(f"  the zero-point gains {less.mean():.4f} (95%: {low} to {high})")
