# %% [markdown] lang="ko"
# # LM 헤드
# 마지막 은닉 상태가 모든 항목의 확률이 됩니다. 그 확률을 참값과 견주고, 블록마다 헤드에 물어봅니다.
# %% [markdown] lang="en"
# # The LM head
# The last hidden state becomes a probability for every entry: beside the truth, and asked block by block.

# %% name="load"
import torch

import llmref
from llmref.corpus import World

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
world = World()
prompts = {
    "ko": "옛날에 민지라는 아이가 숲에 살았습니다. 어느 날 민지는",
    "en": "Once upon a time, a child named Minji lived in the forest. One day, Minji went to the",
}


def prompt_ids(text):
    return [model.config.bos_id, *tokenizer.encode(text)]


# %% [markdown] lang="ko"
# ## 손으로 계산하기
# %% [markdown] lang="en"
# ## By hand

# %% name="by-hand"
W = model.lm_head.weight.detach()  # one row for each entry of the vocabulary
for prompt in prompts.values():
    seen = llmref.trace(model, prompt_ids(prompt))
    h = seen["final_norm"][0, -1]  # the last hidden state of the newest token
    z = W @ h  # one dot product for each entry: the logits
    p = torch.exp(z - z.max()) / torch.exp(z - z.max()).sum()  # softmax
    print(f"h {tuple(h.shape)}, W {tuple(W.shape)}, z {tuple(z.shape)}, p {tuple(p.shape)}")
    print(f"logits from {z.min():.1f} to {z.max():.1f}; sum of all probabilities {p.sum():.4f}; ", end="")
    print(f"none is 0: {bool((p > 0).all())}")
    assert torch.allclose(z, seen["logits"][0, -1], atol=1e-4)
    assert torch.allclose(p, seen["logits"][0, -1].softmax(dim=-1), atol=1e-6)
    assert abs(p.sum().item() - 1) < 1e-4 and (p > 0).all()

# %% name="tied"
print("the head's matrix is the embedding's table:", model.lm_head.weight is model.embedding.weight)

# %% name="head-figure"
from figures import COLORS, figure

for page in figure(
    "head",
    en="Six entries of the vocabulary after a prompt, likeliest first, and two entries that do not fit. Left "
    "their logits as bars, right their probabilities: the two that do not fit vanish there.",
    ko="프롬프트 다음에 올 어휘사전의 항목. 확률이 가장 높은 여섯 개와 어울리지 않는 두 개입니다. "
    "왼쪽은 로짓, 오른쪽은 확률을 막대로 나타냈고, 어울리지 않는 둘은 확률에서 사라집니다.",
    size=(6, 3.6),
    subplots=(1, 2),
):
    logits = llmref.trace(model, prompt_ids(prompts[page.language]))["logits"][0, -1]
    entries = [*logits.topk(6).indices.tolist()]
    entries += tokenizer.encode(page.text(en=" dog sleepy", ko=" 강아지 졸린"))
    names = [tokenizer.decode([entry]).strip() for entry in entries]
    titles = (page.text(en="logits", ko="로짓"), page.text(en="probabilities", ko="확률"))
    for axes, title, values in zip(page.axes, titles, (logits, logits.softmax(dim=-1)), strict=True):
        axes.barh(range(8), values[entries], color=[COLORS[0]] * 6 + [COLORS[1]] * 2)
        axes.set_ylim(7.5, -0.5)
        axes.set_yticks(range(8), names if axes is page.axes[0] else [""] * 8)
        axes.set_title(title, loc="left")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

# %% [markdown] lang="ko"
# ## 참값과 견주기
# %% [markdown] lang="en"
# ## Beside the truth

# %% name="truth"
for prompt in prompts.values():
    ids = prompt_ids(prompt)
    p = llmref.trace(model, ids)["logits"][0, -1].softmax(dim=-1)
    true = world.next_token(ids, tokenizer)  # the world's own rules, exact
    print(prompt)
    for entry in p.topk(5).indices.tolist():
        print(f"  model {p[entry]:.3f}  true {true.get(entry, 0):.3f}  {tokenizer.decode([entry]).strip()}")
        assert abs(p[entry].item() - true.get(entry, 0)) < 0.03
    elsewhere = 1 - sum(p[entry].item() for entry in true)
    print(f"  {len(true)} tokens can come; probability that the model gives to all others: {elsewhere:.4f}")

# %% name="everywhere"
texts = list(world.documents(40, seed=2026))  # none of them was used in training
lenses = [*(f"blocks.{i}.input" for i in range(len(model.blocks))), f"blocks.{len(model.blocks) - 1}.output"]
distances, truths, surprise = [], [], []
with torch.inference_mode():
    for text in texts:
        ids = prompt_ids(text)
        rows = torch.zeros(len(ids), tokenizer.vocab_size)
        for place, true in enumerate(world.next_tokens(ids[1:], tokenizer)):
            rows[place, list(true)] = torch.tensor(list(true.values()))
        seen = llmref.trace(model, ids)
        p = seen["logits"][0].softmax(dim=-1)
        distances.append((p - rows).abs().sum(dim=-1).mean().item() / 2)
        truths.append(rows)
        # What the head would say of the stream at each depth: the loss on the token that came.
        following = torch.tensor([*ids[1:], model.config.eos_id])
        streams = [model.final_norm(seen[name][0]) for name in lenses]
        surprise.append([torch.nn.functional.cross_entropy(model.lm_head(x), following) for x in streams])


def interval(values):
    """The mean over documents, with its 95% interval."""
    values = torch.tensor(values)
    mean, half = values.mean().item(), 1.96 * values.std().item() / len(values) ** 0.5
    return mean, mean - half, mean + half


usual = torch.cat(truths).mean(dim=0)  # how often each token comes, whatever stands before it
blind = [(usual - rows).abs().sum(dim=-1).mean().item() / 2 for rows in truths]
own, other = interval(distances), interval(blind)
print(f"{len(texts)} fresh documents, every position; distance 0 is equal, 1 has nothing in common")
print(f"distance of the model from the truth {own[0]:.3f}  (95% interval {own[1]:.3f} to {own[2]:.3f})")
print(f"of a guess that does not read        {other[0]:.3f}  ({other[1]:.3f} to {other[2]:.3f})")
assert own[2] < 0.06 < 0.5 < other[1]

# %% [markdown] lang="ko"
# ## 블록마다 물어보기
# %% [markdown] lang="en"
# ## Asked after every block

# %% name="lens"
sentences = {
    "ko": "강아지가 다람쥐를 쫓아갔습니다. 그것이 배가 고팠기 때문입니다. 배가 고픈 쪽은",
    "en": "The dog chased the squirrel because it was hungry. The hungry one was the",
}
rivals = {"ko": (" 강아지였습니다", " 다람쥐였습니다"), "en": (" dog", " squirrel")}


def lens(text):
    """What the head would say of the newest token: before the first block, and after each one."""
    seen = llmref.trace(model, prompt_ids(text))
    with torch.no_grad():
        return [model.lm_head(model.final_norm(seen[name][0, -1])).softmax(dim=-1) for name in lenses]


for language, sentence in sentences.items():
    print(sentence)
    dog, squirrel = (tokenizer.encode(rival)[0] for rival in rivals[language])
    for depth, p in enumerate(lens(sentence)[1:]):
        first = tokenizer.decode([p.argmax()]).strip()
        print(f"  after block {depth}: dog {p[dog]:.2f}, squirrel {p[squirrel]:.2f}; first choice {first}")
    assert p.argmax() == dog

# %% name="lens-figure"
from figures import figure

for page in figure(
    "lens",
    en="Probability of dog and of squirrel as the head would give it after each block. "
    "Squirrel is ahead in early blocks; dog has nearly all of it after the last block.",
    ko="블록을 하나씩 지날 때마다 헤드가 강아지와 다람쥐에 줄 확률. 가운데 블록에서는 다람쥐가 앞서지만, "
    "마지막 블록을 지나면 강아지가 거의 전부를 차지합니다.",
    size=(5.4, 3.2),
):
    steps = lens(sentences[page.language])[1:]
    labels = (page.text(en="dog", ko="강아지"), page.text(en="squirrel", ko="다람쥐"))
    for rival, label, marker in zip(rivals[page.language], labels, "os", strict=True):
        values = [p[tokenizer.encode(rival)[0]].item() for p in steps]
        page.axes.plot(range(len(steps)), values, marker=marker, label=label)
    page.axes.set_xticks(range(len(steps)))
    page.axes.set_ylim(0, 1.05)
    page.axes.set_xlabel(page.text(en="after block", ko="지나온 블록"))
    page.axes.set_ylabel(page.text(en="probability", ko="확률"))
    page.axes.legend()

# %% name="depth"
losses = torch.tensor(surprise)
for depth in range(len(lenses)):
    mean, low, high = interval(losses[:, depth])
    where = "before block 0" if depth == 0 else f"after block {depth - 1}"
    print(f"{where:<15} loss {mean:6.3f} nats per token  (95% interval {low:.3f} to {high:.3f})")
steps = losses[:, 1:] - losses[:, :-1]  # paired: the same documents at both depths
assert all(interval(step)[2] < 0 for step in steps.T)

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="shift"
logits = llmref.trace(model, prompt_ids(prompts["en"]))["logits"][0, -1]
before = logits.softmax(dim=-1)
print(
    f"100 added:  largest change of a probability {((logits + 100).softmax(dim=-1) - before).abs().max():.0e}"
)
print(
    f"doubled:    the first choice goes from {before.max():.2f} to {(2 * logits).softmax(dim=-1).max():.2f}"
)
assert torch.allclose((logits + 100).softmax(dim=-1), before, atol=1e-5)

# %% name="echo"
for sentence in sentences.values():
    p = lens(sentence)[0]
    last = prompt_ids(sentence)[-1]
    said = tokenizer.decode([p.argmax()])
    print(f"read: {tokenizer.decode([last])!r}   the head says: {said!r}, p = {p.max():.2f}")
    assert p.argmax() == last
