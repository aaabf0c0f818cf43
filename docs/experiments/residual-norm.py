# %% [markdown] lang="ko"
# # 잔차 연결과 정규화
# 층을 깊이 쌓을 때 그레이디언트가 어디까지 살아서 오는지, 실제로 훈련이 되는지 배치 방식마다 비교합니다.
# %% [markdown] lang="en"
# # Residual connections and normalization
# How far the gradient reaches in a deep stack, and whether the stack learns, arrangement by arrangement.

# %% name="load"
import math

import torch

import llmref
from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.normalization import LayerNorm, RMSNorm

torch.set_num_threads(1)

# %% [markdown] lang="ko"
# ## 배치 방식
# %% [markdown] lang="en"
# ## The arrangements

# %% name="arrangements"
arrangements = {  # name: (residual, norm_position)
    "neither": ("none", "none"),
    "norm alone": ("none", "pre"),
    "residual alone": ("serial", "none"),
    "post-norm": ("serial", "post"),
    "pre-norm": ("serial", "pre"),
    "sandwich": ("serial", "sandwich"),
    "parallel": ("parallel", "pre"),
}
vocabulary, tokens, d_model = 16, 8, 32


def build(name, depth, seed):
    """An untrained model in which every matrix that reads n inputs has the deviation 1 / sqrt(n)."""
    torch.manual_seed(seed)
    residual, norm_position = arrangements[name]
    block = BlockConfig(
        AttentionConfig(n_heads=4, n_kv_heads=4, head_dim=8),
        FeedForwardConfig(d_ff=4 * d_model, activation="gelu", gated=False),
        NormConfig("rms"),
        norm_position=norm_position,
        residual=residual,
    )
    model = llmref.Transformer(
        ModelConfig(vocabulary, d_model, tokens, blocks=(block,) * depth, tied_embeddings=False)
    )
    with torch.no_grad():  # undo what the package does for depth, so that the arrangement alone counts
        for block in model.blocks:
            block.attention.output.weight *= math.sqrt(2 * depth)
            block.feedforward.down.weight *= math.sqrt(2 * depth)
    return model


# %% name="task"
def draw(generator, rows=16):
    return torch.randint(vocabulary, (rows, tokens), generator=generator)


def loss_of(model, ids, partner):
    """At each token but the first: name the partner of the token before it."""
    logits = model(ids, llmref.sequential_positions(ids))[:, 1:]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), partner[ids[:, :-1]].flatten())


generator = torch.Generator().manual_seed(0)
partner = torch.randperm(vocabulary, generator=generator)
ids = draw(generator)
print("tokens: ", *ids[0].tolist())
print("answers:  ", *partner[ids[0, :-1]].tolist())
print(f"loss of a guess: {math.log(vocabulary):.2f} nats")

# %% [markdown] lang="ko"
# ## 블록마다 그레이디언트의 크기
# %% [markdown] lang="en"
# ## The gradient of each block


# %% name="gradients"
def gradients(name, depth, seed=0):
    """The size of the loss's gradient by each block's weights, first block first."""
    model = build(name, depth, seed)
    loss_of(model, ids, partner).backward()
    squares = [sum(p.grad.square().sum() for p in block.parameters()) for block in model.blocks]
    return [square.sqrt().item() for square in squares]


depths, found = (4, 8, 16, 32, 64), {}
print("gradient of the first block, by depth")
print(" " * 16 + "".join(f"{depth:>10}" for depth in depths))
for name in arrangements:
    for depth in depths:
        found[name, depth] = gradients(name, depth)
    print(f"{name:16}" + "".join(f"{found[name, depth][0]:10.1e}" for depth in depths))

first = {key: sizes[0] for key, sizes in found.items()}
assert first["neither", 64] < 1e-10  # vanishes
assert not first["residual alone", 64] < 1e10  # explodes, or is no number any more
for name in ("pre-norm", "sandwich", "parallel"):
    assert all(0.1 < first[name, depth] < 10 for depth in depths)  # stays, at every depth

# %% name="idea-figure"
from figures import COLORS, figure

for page in figure(
    "idea",
    en="Size of the gradient in each of 16 blocks, logarithmic. With neither it lies about a thousand times "
    "lower than the rest. With a residual alone it climbs steeply towards the first block. "
    "With both it stays near 1.",
    ko="블록 16개 각각의 그레이디언트 크기, 로그 눈금. 둘 다 없으면 나머지보다 천 배쯤 작습니다. "
    "잔차 연결만 있으면 첫 블록 쪽으로 가파르게 커집니다. 둘 다 있으면 1 근처에 머뭅니다.",
    size=(5.4, 4),
):
    labels = {
        "neither": page.text(en="neither", ko="둘 다 없음"),
        "residual alone": page.text(en="residual alone", ko="잔차 연결만"),
        "post-norm": page.text(en="both, post-norm", ko="둘 다, 사후 정규화"),
        "pre-norm": page.text(en="both, pre-norm", ko="둘 다, 사전 정규화"),
    }
    colors = (COLORS[1], COLORS[3], COLORS[2], COLORS[0])
    for (name, label), color, marker in zip(labels.items(), colors, "ovs^", strict=True):
        page.axes.plot(found[name, 16], marker=marker, markersize=4, color=color, label=label)
    page.axes.set_yscale("log")
    page.axes.set_ylim(1e-4, 1e4)
    page.axes.set_xticks([0, 5, 10, 15])
    page.axes.set_xlabel(page.text(en="block, first to last", ko="블록(처음부터 끝까지)"))
    page.axes.set_ylabel(page.text(en="size of the gradient", ko="그레이디언트의 크기"))
    page.axes.legend(ncols=2, fontsize=11)

# %% [markdown] lang="ko"
# ## 훈련이 되는가
# %% [markdown] lang="en"
# ## Does it learn?


# %% name="train"
def learn(name, depth, seed, steps=40, warmup=1):
    """The loss on fresh rows after a short training; the same steps for every arrangement."""
    model, generator = build(name, depth, seed), torch.Generator().manual_seed(seed)
    partner = torch.randperm(vocabulary, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0, fused=True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 4e-3 * min(1, (step + 1) / warmup)
        loss = loss_of(model, draw(generator), partner)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        return loss_of(model, draw(generator, rows=128), partner).item()


compared, seeds, losses = ("neither", "residual alone", "post-norm", "pre-norm"), (0, 1, 2), {}
print(f"loss after 40 steps, 3 seeds; a guess: {math.log(vocabulary):.2f}")
for depth in (2, 12):
    for name in compared:
        losses[name, depth] = [learn(name, depth, seed) for seed in seeds]
        print(f"{depth:2} blocks, {name:15}" + "".join(f"{loss:8.2f}" for loss in losses[name, depth]))

assert max(losses["post-norm", 2]) < 1.5  # with 2 blocks post-norm learns,
assert min(losses["post-norm", 12]) > 2.5  # with 12 it does not, at these steps,
assert max(losses["pre-norm", 12]) < 2.2  # and pre-norm does

# %% name="train-figure"
from figures import COLORS, figure

for page in figure(
    "train",
    en="Loss after training, with 2 blocks and with 12, a bar for each arrangement; a line marks a guess. "
    "With 2 blocks post-norm is lowest. With 12 only pre-norm stays far below the line.",
    ko="블록 2개와 12개로 훈련한 뒤의 손실. 막대는 배치 방식이고, 찍었을 때의 손실을 선으로 표시했습니다. "
    "블록이 2개이면 사후 정규화가 가장 낮고, 12개이면 사전 정규화만 선보다 훨씬 낮습니다.",
    size=(5.4, 3.2),
):
    labels = (page.text(en="post-norm", ko="사후 정규화"), page.text(en="pre-norm", ko="사전 정규화"))
    for shift, name, label, color in zip(
        (0, 0.4), ("post-norm", "pre-norm"), labels, (COLORS[2], COLORS[0]), strict=True
    ):
        for place, depth in enumerate((2, 12)):
            runs = losses[name, depth]
            page.axes.bar(
                place + shift, sum(runs) / 3, width=0.36, color=color, label=label if depth == 2 else None
            )
            page.axes.plot([place + shift] * 3, runs, "o", color="#000", markersize=4)
    guess = math.log(vocabulary)
    page.axes.axhline(guess, color="#000", linewidth=1, linestyle="--")
    page.axes.text(-0.2, guess + 0.06, page.text(en="a guess", ko="찍었을 때"))
    page.axes.set_ylim(0, 4)
    page.axes.set_xticks([0.2, 1.2], [page.text(en=f"{n} blocks", ko=f"블록 {n}개") for n in (2, 12)])
    page.axes.set_ylabel(page.text(en="loss (nats)", ko="손실(나트)"))
    page.axes.legend(loc="upper center", ncols=2)

# %% [markdown] lang="ko"
# ## 가중치를 조금 건드리면
# %% [markdown] lang="en"
# ## A small nudge to the weights


# %% name="nudge"
def movement(model):
    """How far the final hidden states move when every weight of every block changes by about 2%."""
    torch.manual_seed(0)
    with torch.no_grad():
        before = model.hidden_states(ids, llmref.sequential_positions(ids))
        for parameter in model.blocks.parameters():
            parameter *= 1 + 0.02 * torch.randn_like(parameter)
        after = model.hidden_states(ids, llmref.sequential_positions(ids))
    return 100 * ((after - before).norm() / before.norm()).item()


print("movement of the final hidden states in percent, by depth")
print(" " * 12 + "".join(f"{depth:>8}" for depth in depths))
moved = {}
for name in ("post-norm", "pre-norm", "sandwich", "parallel"):
    moved[name] = [movement(build(name, depth, seed=0)) for depth in depths]
    print(f"{name:12}" + "".join(f"{percent:7.1f}%" for percent in moved[name]))
assert moved["post-norm"][-1] > 2 * moved["post-norm"][0]  # in post-norm it grows with the depth,
assert moved["pre-norm"][-1] < 2 * moved["pre-norm"][0]  # in pre-norm it does not

# %% [markdown] lang="ko"
# ## 식 네 개
# %% [markdown] lang="en"
# ## Four formulas

# %% name="formulas"
positions, allowed = torch.arange(tokens)[None], torch.ones(1, tokens, tokens, dtype=torch.bool).tril()
x = torch.randn(1, tokens, d_model)


def parts(name):
    """One block, its two layers and its norms, as functions of x."""
    block = build(name, depth=1, seed=0).blocks[0]
    return block, lambda x: block.attention(x, positions, allowed), block.feedforward


with torch.no_grad():
    block, attention, feedforward = parts("post-norm")
    middle = block.attention_norm(x + attention(x))
    by_hand = {"post-norm": block.feedforward_norm(middle + feedforward(middle))}

    block, attention, feedforward = parts("pre-norm")
    middle = x + attention(block.attention_norm(x))
    by_hand["pre-norm"] = middle + feedforward(block.feedforward_norm(middle))

    block, attention, feedforward = parts("sandwich")
    middle = x + block.attention_output_norm(attention(block.attention_norm(x)))
    fed = feedforward(block.feedforward_norm(middle))
    by_hand["sandwich"] = middle + block.feedforward_output_norm(fed)

    block, attention, feedforward = parts("parallel")
    by_hand["parallel"] = x + attention(block.attention_norm(x)) + feedforward(block.feedforward_norm(x))

    for name, expected in by_hand.items():
        assert torch.allclose(parts(name)[0](x, positions, allowed), expected, atol=1e-5)
        print(f"{name}: the block gives what the formula gives")

# %% [markdown] lang="ko"
# ## RMSNorm과 LayerNorm
# %% [markdown] lang="en"
# ## RMSNorm and LayerNorm

# %% name="by-hand"
vector = torch.tensor([3.0, -1.0, 1.0, 5.0])
mean = vector.mean()
root_mean_square = vector.square().mean().sqrt()
deviation = (vector - mean).square().mean().sqrt()
print(f"mean {mean:.2f}, root mean square {root_mean_square:.2f}, standard deviation {deviation:.2f}")
print("RMSNorm:  ", *(f"{number:6.2f}" for number in (vector / root_mean_square).tolist()))
print("LayerNorm:", *(f"{number:6.2f}" for number in ((vector - mean) / deviation).tolist()))
assert torch.allclose(RMSNorm(4)(vector), vector / root_mean_square, atol=1e-4)
assert torch.allclose(LayerNorm(4)(vector), (vector - mean) / deviation, atol=1e-4)

# %% name="mean-free"
vectors = torch.randn(1000, 128)
mean_free = vectors - vectors.mean(dim=-1, keepdim=True)
rms, layer = RMSNorm(128), LayerNorm(128)
print("same on vectors of mean 0:", torch.allclose(rms(mean_free), layer(mean_free), atol=1e-5))
print("same on the others:       ", torch.allclose(rms(vectors), layer(vectors), atol=1e-5))
for name, norm in (("RMSNorm", rms), ("LayerNorm", layer)):
    print(f"parameters of {name}: {sum(parameter.numel() for parameter in norm.parameters())}")
assert torch.allclose(rms(mean_free), layer(mean_free), atol=1e-5)
assert not torch.allclose(rms(vectors), layer(vectors), atol=1e-5)

# %% name="tiny-mean"
tiny, tokenizer = llmref.load_tiny()
seen = llmref.trace(tiny, [tiny.config.bos_id, *tokenizer.encode("Once upon a time")])
print("what each norm of the tiny model reads: the share of the mean in the mean square")
for block in range(len(tiny.blocks)):
    shares = []
    for site in ("input", "middle"):
        read = seen[f"blocks.{block}.{site}"]
        shares.append((read.mean(dim=-1).square() / read.square().mean(dim=-1)).mean().item())
    print(
        f"block {block}: before attention {100 * shares[0]:.1f}%, before feedforward {100 * shares[1]:.1f}%"
    )
    assert max(shares) < 0.05

# %% [markdown] lang="ko"
# ## 그 밖의 방식
# %% [markdown] lang="en"
# ## Other forms

# %% name="deep-norm"
from dataclasses import replace

from llmref.deep_norm import deep_norm, initialize_deep_norm


def other(block, depth):
    """A model of this block, drawn as the post-norm one is."""
    model = build("post-norm", depth, seed=0)
    weights = model.state_dict()
    model = llmref.Transformer(replace(model.config, blocks=(block,) * depth))
    model.load_state_dict({name: weights.get(name, tensor) for name, tensor in model.state_dict().items()})
    return model


post = build("post-norm", 1, seed=0).config.blocks[0]
print("movement of the final hidden states in percent, by depth")
print(" " * 12 + "".join(f"{depth:>8}" for depth in depths))
for name in ("output norm", "DeepNorm"):
    moved[name], added = [], []
    for depth in depths:
        block = replace(post, norm_position="output") if name == "output norm" else deep_norm(post, depth)
        model = other(block, depth)
        if name == "DeepNorm":
            initialize_deep_norm(model.blocks)
        moved[name].append(movement(model))
        added.append(block.residual_multiplier)
    print(f"{name:12}" + "".join(f"{percent:7.1f}%" for percent in moved[name]))
print("DeepNorm: what a layer adds is multiplied by", ", ".join(f"{each:.2f}" for each in added))
assert moved["DeepNorm"][-1] < moved["post-norm"][-1] / 2
assert moved["output norm"][-1] < moved["post-norm"][-1] / 2

# %% name="unit-offset"
learned = torch.tensor([0.001, -0.001, 0.003])  # how far a norm's scale has moved from 1
half = torch.bfloat16
print("stored as 1 + w:", [f"{scale:.4f}" for scale in (1 + learned).to(half).tolist()])
print("stored as w:    ", [f"{1 + w:.4f}" for w in learned.to(half).tolist()])
assert ((1 + learned).to(half) == 1).all() and not (1 + learned.to(half).float() == 1).any()

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="scaled"
for name, norm in (("RMSNorm", RMSNorm(4)), ("LayerNorm", LayerNorm(4))):
    with torch.no_grad():
        for change, changed in (("x", vector), ("10x", 10 * vector), ("x + 10", vector + 10)):
            print(f"{name:10}{change:7}", *(f"{number:6.2f}" for number in norm(changed).tolist()))

# %% name="warm-up"
for name, warmup in (("from the first step", 1), ("rising over 75 steps", 75)):
    loss = learn("post-norm", 12, seed=0, steps=110, warmup=warmup)
    print(f"post-norm, 12 blocks, 110 steps, full learning rate {name}: loss {loss:.2f}")
