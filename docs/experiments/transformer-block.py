# %% [markdown] lang="ko"
# # 트랜스포머 블록
# 블록을 손으로 계산하고, 두 부분이 잔차 흐름에 무엇을 더하는지 재고, 하나씩 빼 봅니다.
# %% [markdown] lang="en"
# # Transformer block
# A block by hand; what its two parts add to the residual stream; and what breaks when one is taken out.

# %% name="load"
from dataclasses import replace

import torch

import llmref
from llmref.corpus import World
from llmref.training.data import IGNORE, pack

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
n_blocks, end = len(model.blocks), model.config.eos_id
world = World()
print(f"{n_blocks} blocks, residual stream of {model.config.d_model} numbers for each token")

# %% [markdown] lang="ko"
# ## 손으로 계산하는 블록
# %% [markdown] lang="en"
# ## A block by hand

# %% name="by-hand"
ids = [end, *tokenizer.encode("The dog chased the squirrel because it was hungry.")]
seen = llmref.trace(model, ids)
positions = torch.arange(len(ids))[None]
allowed = llmref.causal().dense(positions, positions)

x = seen["embedding"]
with torch.no_grad():
    for block in model.blocks:
        x = x + block.attention(block.attention_norm(x), positions, allowed)
        x = x + block.feedforward(block.feedforward_norm(x))
difference = (x - seen[f"blocks.{n_blocks - 1}.output"]).abs().max().item()
print(f"two lines for each of {n_blocks} blocks: the model's own stream to 1e-4: {difference < 1e-4}")
assert difference < 1e-4

# %% name="sum"
parts = [f"blocks.{number}.{part}" for number in range(n_blocks) for part in ("attention", "feedforward")]
total = seen["embedding"] + sum(seen[f"{part}.output"] for part in parts)
difference = (total - seen[f"blocks.{n_blocks - 1}.output"]).abs().max().item()
print(f"embedding + what {len(parts)} parts add = the last stream, to 1e-4: {difference < 1e-4}")
assert difference < 1e-4

# %% [markdown] lang="ko"
# ## 무엇을 얼마나 더하는가
# 글 40편의 평균입니다. 크기는 벡터에 든 수들의 제곱평균제곱근(RMS)입니다.
# %% [markdown] lang="en"
# ## What each part adds
# The mean over 40 documents. The size of a vector is the root mean square of its numbers.

# %% name="sizes"
documents = [tokenizer.encode(text) for text in world.documents(40, seed=999_999_999)]


def size(vectors):
    return vectors.pow(2).mean(dim=-1).sqrt().mean().item()


added, after = torch.zeros(len(parts) + 1), torch.zeros(len(parts) + 1)
for document in documents:
    seen = llmref.trace(model, [end, *document])
    stream = seen["embedding"][:, 1:]  # all but the token that begins the text: its vectors are unusual
    for row, part in enumerate([None, *parts]):
        new = stream if part is None else seen[f"{part}.output"][:, 1:]
        stream = stream if part is None else stream + new
        added[row] += size(new) / len(documents)
        after[row] += size(stream) / len(documents)

print(f"{'':22}{'adds':>8}{'stream after it':>18}")
for name, new, stream in zip(["embedding", *parts], added, after, strict=True):
    print(f"{name:22}{new:8.2f}{stream:18.2f}")
assert (added[2::2] > added[1::2]).all()  # feedforward adds more than attention, in every block
assert added[2] > 10 * added[0]  # and the first one ten times as much as the embedding

# %% name="sizes-figure"
from figures import COLORS, figure

for page in figure(
    "sizes",
    en="Two bar charts with a row for the embedding and for each part of each block, from top to bottom. "
    "Left: the size of what it adds. The embedding is tiny, the last feedforward adds by far the most. "
    "Right: the size of the stream after it, which grows from row to row.",
    ko="막대그래프 두 개. 위에서 아래로 임베딩과 각 블록의 두 부분이 한 행씩입니다. "
    "왼쪽은 더하는 벡터의 크기로, 임베딩이 아주 작고 마지막 피드포워드가 훨씬 큽니다. "
    "오른쪽은 그 뒤의 잔차 흐름의 크기로, 행마다 커집니다.",
    size=(5, 4.6),
    subplots=(1, 2),
):
    names = (page.text(en="attention", ko="어텐션"), page.text(en="feedforward", ko="피드포워드"))
    labels = [page.text(en="embedding", ko="임베딩")]
    labels += [f"{names[half]} {number}" for number in range(n_blocks) for half in (0, 1)]
    colors = [COLORS[2], *(COLORS[half] for _ in range(n_blocks) for half in (0, 1))]
    titles = (page.text(en="adds", ko="더하는 크기"), page.text(en="stream after it", ko="그 뒤의 흐름"))
    for axes, title, sizes in zip(page.axes, titles, (added.tolist(), after.tolist()), strict=True):
        axes.barh(range(len(labels)), sizes, color=colors)
        for row, number in enumerate(sizes):
            axes.text(number + 0.4, row, f"{number:.1f}", va="center", fontsize=11)
        axes.set_yticks(range(len(labels)), labels if axes is page.axes[0] else [""] * len(labels))
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(0, 17)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(title)

# %% [markdown] lang="ko"
# ## 한 부분을 빼면
# 사실 문제와 "그것"이 가리키는 대상을 묻는 문제를 두 언어로 냅니다.
# 어휘사전 전체에서 가장 그럴듯한 토큰이 정답이어야 맞은 것입니다.
# %% [markdown] lang="en"
# ## Take a part out
# Questions about facts and about references, in both languages.
# Right only where the likeliest token of the whole vocabulary is the right one.

# %% name="questions"
facts = [probe for language in ("en", "ko") for probe in world.fact_probes(language)[::2]]
references = [
    probe for language in ("en", "ko") for probe in world.reference_probes(language, count=80, seed=1)
]
for name, probes in (("facts", facts), ("references", references)):
    shortest = min(probes, key=lambda probe: len(probe.prefix))
    print(f"{len(probes)} questions about {name}, such as:")
    print(f"  {shortest.prefix} →{shortest.right}")


def prepare(probe):
    """The ids of a question with its answer, and at which places the model must say which token."""
    prefix, answer = [end, *tokenizer.encode(probe.prefix)], tokenizer.encode(probe.right)
    rivals = [tokenizer.encode(word) for word in probe.wrong]
    deciding = [  # only where the right word parts from a wrong one
        place
        for place in range(len(answer))
        if any(answer[:place] == rival[:place] and answer[place] != rival[place] for rival in rivals)
    ]
    return prefix + answer, [(len(prefix) - 1 + place, answer[place]) for place in deciding]


def right(prepared):
    """How many questions the model gets right."""
    count = 0
    for start in range(0, len(prepared), 50):
        some = prepared[start : start + 50]
        longest = max(len(ids) for ids, _ in some)
        padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in some])
        hidden = model.hidden_states(padded, llmref.sequential_positions(padded))
        for row, (_, deciding) in enumerate(some):
            likeliest = model.lm_head(hidden[row, [place for place, _ in deciding]]).argmax(dim=-1)
            count += likeliest.tolist() == [token_id for _, token_id in deciding]
    return count


def prepare_all(probes):
    return sorted(map(prepare, probes), key=lambda question: len(question[0]))


asked = {"facts": prepare_all(facts), "references": prepare_all(references)}

# %% name="measure"
batch = pack(documents, model.config.context_length, end, end)
of_document = (batch.documents + 100 * torch.arange(len(batch.ids))[:, None])[batch.targets != IGNORE]
lengths = torch.unique(of_document, return_counts=True)[1]


def document_losses(model):
    """The loss of each document, summed over its tokens."""
    logits = model(batch.ids, batch.positions, mask=llmref.causal() & llmref.documents(batch.documents))
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
    each = losses[batch.targets != IGNORE]
    return torch.stack([each[of_document == number].sum() for number in torch.unique(of_document)])


def share(count, number):
    """A share in percent with its 95% interval (Wilson)."""
    p, z = count / number, 1.96
    middle = (p + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * (p * (1 - p) / number + z * z / (4 * number**2)) ** 0.5
    return 100 * p, max(100 * (middle - half), 0.0), min(100 * (middle + half), 100.0)


def measure(names):
    """Loss and its rise over the whole model's with a 95% interval; shares of right answers."""
    with llmref.cutting(model, [llmref.Cut(name) for name in names]), torch.inference_mode():
        losses = document_losses(model)
        rise = (losses - whole) / lengths.float().mean()
        error = 1.96 * rise.std().item() / len(rise) ** 0.5
        found = {"loss": losses.sum().item() / lengths.sum().item(), "rise": rise.mean().item()}
        found["low"], found["high"] = found["rise"] - error, found["rise"] + error
        return found | {name: share(right(some), len(some)) for name, some in asked.items()}


with torch.inference_mode():
    whole = document_losses(model)
settings = {"nothing": []} | {part: [part] for part in parts}
for kind in ("attention", "feedforward"):
    settings[f"{kind} 1 to 4"] = [f"blocks.{number}.{kind}" for number in range(1, n_blocks)]
    settings[f"all {kind}"] = [f"blocks.{number}.{kind}" for number in range(n_blocks)]

found = {}
print(f"{'cut':20}{'loss':>5}{'95% interval of':>17}{'facts':>11}{'references':>17}")
print(f"{'':25}{'what it rises by':>17}")
for name, names in settings.items():
    one = found[name] = measure(names)
    rise = f"{one['low']:.2f} to {one['high']:.2f}" if names else ""
    columns = (
        f"{p:5.0f}% {f'({low:.0f}–{high:.0f})':8}" for p, low, high in (one["facts"], one["references"])
    )
    print(f"{name:20}{one['loss']:5.2f}{rise:>17}  {' '.join(columns).rstrip()}")

assert all(found[part]["low"] > 0 for part in parts)  # every part lowers the loss
assert found["nothing"]["facts"][1] > 95 and found["nothing"]["references"][1] > 95
for kind in ("attention", "feedforward"):  # of either kind there is a part that is needed for both
    for name in asked:
        assert min(found[f"blocks.{number}.{kind}"][name][2] for number in range(n_blocks)) < 80
late = {kind: found[f"{kind} 1 to 4"] for kind in ("attention", "feedforward")}
assert late["attention"]["references"][2] < late["feedforward"]["references"][1]
assert late["feedforward"]["low"] > late["attention"]["high"]

# %% name="cut-figure"
from figures import COLORS, figure

for page in figure(
    "cut",
    en="Three bar charts over blocks 0 to 4, each with a bar for attention cut and one for feedforward cut: "
    "how much the loss rises, facts right, references right. Cutting the first feedforward breaks "
    "everything, and cutting the first attention does most of the harm after it. Later cuts do far less.",
    ko="0번부터 4번 블록까지 막대그래프 세 개. 블록마다 어텐션을 끌 때와 피드포워드를 끌 때의 막대가 있고, "
    "차례로 손실이 느는 양, 사실 정답률, '그것' 정답률입니다. 첫 피드포워드를 끄면 모두 무너집니다. "
    "그다음으로는 첫 어텐션을 끌 때 가장 나빠지고, 그 뒤의 부분을 끌 때는 훨씬 덜 나빠집니다.",
    size=(5, 7),
    subplots=(3, 1),
):
    kinds = (("attention", page.text(en="attention cut", ko="어텐션을 끔")),)
    kinds += (("feedforward", page.text(en="feedforward cut", ko="피드포워드를 끔")),)
    charts = (
        ("rise", page.text(en="rise of the loss (nats, log)", ko="손실이 느는 양(나트, 로그 눈금)")),
        ("facts", page.text(en="facts right (%)", ko="사실 정답률(%)")),
        ("references", page.text(en="references right (%)", ko="'그것' 정답률(%)")),
    )
    for axes, (what, title) in zip(page.axes, charts, strict=True):
        for half, (kind, label) in enumerate(kinds):
            for number in range(n_blocks):
                one = found[f"blocks.{number}.{kind}"]
                height, low, high = (one["rise"], one["low"], one["high"]) if what == "rise" else one[what]
                place = number + 0.4 * half - 0.2
                axes.bar(
                    place,
                    height,
                    0.36,
                    color=COLORS[half],
                    label=label if number == 0 and what == "rise" else None,
                )
                axes.vlines(place, low, high, color="#000", linewidth=1)
        axes.set_title(title)
        axes.set_xticks(range(n_blocks))
        if what == "rise":
            axes.set_yscale("log")
            axes.set_ylim(0.02, 20)
            axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
            axes.legend()
        else:
            axes.set_yticks([0, 50, 100])
    page.axes[-1].set_xlabel(page.text(en="block", ko="블록"))

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="no-residual"
blocks = tuple(replace(block, residual="none") for block in model.config.blocks)
bare = llmref.Transformer(replace(model.config, blocks=blocks))
bare.load_state_dict(model.state_dict())
with torch.inference_mode():
    loss = document_losses(bare).sum().item() / lengths.sum().item()
guess = torch.tensor(float(model.config.vocab_size)).log().item()
print(f"with the residual stream {found['nothing']['loss']:.2f}, without {loss:.2f}", end="; ")
print(f"a guess among {model.config.vocab_size:,} tokens {guess:.2f}")
assert loss > 4

# %% name="whole-block"
with torch.inference_mode():
    for number in range(n_blocks):
        with llmref.cutting(model, [llmref.Cut(part) for part in parts[2 * number : 2 * number + 2]]):
            losses = document_losses(model)
        print(f"block {number} left out: loss {losses.sum().item() / lengths.sum().item():.2f}")
        assert losses.sum() > (5 if number == 0 else 1) * whole.sum()
