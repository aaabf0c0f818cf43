# %% [markdown] lang="ko"
# # 훈련
# 작은 모델 하나를 처음부터 훈련하면서, 손실이 이 글에서 가능한 가장 낮은 값에 얼마나 다가가는지 봅니다.
# %% [markdown] lang="en"
# # Training
# A very small model, trained from nothing: how near its loss comes to the lowest that these texts allow.

# %% name="load"
import math
import tempfile

import torch

import llmref
from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig
from llmref.training import Batch, TrainingConfig, next_token_loss, pack, train
from llmref.training.optimizer import learning_rate_at

torch.set_num_threads(1)
tiny, tokenizer = llmref.load_tiny()
end = tiny.config.eos_id

# %% [markdown] lang="ko"
# ## 손실
# %% [markdown] lang="en"
# ## The loss

# %% name="surprise"
from llmref.tiny.recipe import WorldDocuments

documents_of_step = WorldDocuments(seed=7)  # used further down: fresh documents for each step
world = documents_of_step.world
examples = (
    "Clara likes grapes. Clara lives in the desert.",
    "지우의 꿈은 가수입니다. 가장 좋아하는 음식은 포도입니다.",
)
print("probability  surprise  the world's own   next token")
for text in examples:
    ids = tokenizer.encode(text)
    tokens, targets = torch.tensor([[end, *ids]]), [*ids, end]
    with torch.no_grad():
        probabilities = tiny(tokens, llmref.sequential_positions(tokens))[0].softmax(dim=-1)
    chosen = probabilities[torch.arange(len(targets)), targets]
    own = [0.0 - math.log(choices[target]) for choices, target in
           zip(world.next_tokens(ids, tokenizer), targets, strict=True)]  # fmt: skip
    for piece, p, best in zip([*tokenizer.pieces(ids), "⊣"], chosen.tolist(), own, strict=True):
        print(f"{p:11.3f}{0.0 - math.log(p):10.2f}{best:17.2f}  {piece}")
    loss = -chosen.log().mean()
    print(f"mean: loss {loss:.2f}, the world's own {sum(own) / len(own):.2f} nats per token")
    assert torch.isclose(loss, next_token_loss(tiny, pack([ids], 32, end, end)), atol=1e-4)

# %% [markdown] lang="ko"
# ## 한 행에 여러 문서
# %% [markdown] lang="en"
# ## Several documents in a row

# %% name="packed"
short = ["Clara likes grapes.", "지우의 꿈은 가수입니다.", "Oscar lives in the cabin."]
documents = [tokenizer.encode(text) for text in short]
batch = pack(documents, length=24, bos_id=end, eos_id=end)
print("document  position  token      target")
rows = (batch.documents, batch.positions, batch.ids, batch.targets)
for document, position, token, target in zip(*(row[0].tolist() for row in rows), strict=True):
    pieces = [tokenizer.pieces([i])[0] if i > end else mark for i, mark in ((token, "⊢"), (target, "⊣"))]
    print(f"{document:8}{position:10}  " + ("{:10} {}".format(*pieces) if document >= 0 else "padding"))

# %% name="packed-figure"
from figures import figure, heatmap

allowed = (llmref.causal() & llmref.documents(batch.documents)).dense(batch.positions, batch.positions)[0]
for page in figure(
    "packed",
    en="Who may look at whom in one packed row: three triangles along the diagonal, one for each document. "
    "Nothing outside the triangles is allowed.",
    ko="한 행에 담은 문서들에서 누가 누구를 볼 수 있는지. 대각선을 따라 삼각형이 세 개 있고, "
    "삼각형 하나가 문서 하나입니다. 삼각형 밖은 볼 수 없습니다.",
    size=(4.4, 4.2),
):
    heatmap(page.axes, allowed)
    page.axes.set_xlabel(page.text(en="key", ko="키"))
    page.axes.set_ylabel(page.text(en="query", ko="쿼리"))

# %% name="apart"
with torch.no_grad():
    together = next_token_loss(tiny, batch).item()
    alone = [(next_token_loss(tiny, pack([one], 28, end, end)).item(), len(one) + 1) for one in documents]
mean = sum(loss * count for loss, count in alone) / sum(count for _, count in alone)
print(f"packed: {together:.4f}, each document alone: {mean:.4f}")
assert math.isclose(together, mean, abs_tol=1e-4)

# %% [markdown] lang="ko"
# ## 학습률
# %% [markdown] lang="en"
# ## The learning rate

# %% name="rate-figure"
from figures import figure

for page in figure(
    "rate",
    en="The learning rate against the step: a short line up to the peak, a long line down to nothing.",
    ko="단계에 따른 학습률. 짧게 곧장 올라가 꼭대기에 닿고, 길게 곧장 내려가 0이 됩니다.",
    size=(5, 2.6),
):
    page.axes.plot([learning_rate_at(step, 0.01, 20, 320) for step in range(320)])
    page.axes.set_xlabel(page.text(en="step", ko="단계"))
    page.axes.set_ylabel(page.text(en="learning rate", ko="학습률"))
    page.axes.set_yticks([0, 0.01])

# %% [markdown] lang="ko"
# ## 이 글에서 가능한 가장 낮은 손실
# 글을 만든 세계의 확률을 알고 있으므로 정확히 계산할 수 있습니다.
# %% [markdown] lang="en"
# ## The lowest loss that these texts allow
# The world that makes the texts knows its own probabilities, so it can be computed exactly.

# %% name="entropy"
entropy = world.entropy() / world.expected_tokens(tokenizer)
print(f"entropy of the world: {entropy:.4f} nats per token")

texts = list(world.documents(100, seed=4_000_000_000))  # documents that no training sees
held_out_ids = [tokenizer.encode(text) for text in texts]
held_out = pack(held_out_ids, 256, end, end)
exact = -sum(world.log_probability(text) for text in texts) / held_out.n_targets
print(f"the world's own loss on {len(texts)} held-out documents: {exact:.4f}")
print(f"a guess among all {tokenizer.vocab_size:,} tokens: {math.log(tokenizer.vocab_size):.4f}")

# %% [markdown] lang="ko"
# ## 훈련
# %% [markdown] lang="en"
# ## The run

# %% name="train"
block = BlockConfig(AttentionConfig(n_heads=4, n_kv_heads=4, head_dim=16), FeedForwardConfig(d_ff=128))
config = ModelConfig(tokenizer.vocab_size, 64, 256, blocks=(block,) * 3, bos_id=end, eos_id=end)
torch.manual_seed(0)
model = llmref.Transformer(config)
recipe = TrainingConfig(
    steps=320, documents_per_step=8, learning_rate=0.01, warmup_steps=20, checkpoint_every=320
)


def held_out_loss(model):
    with torch.inference_mode():
        return next_token_loss(model, held_out).item()


measured = {0: held_out_loss(model)}


def measure(step, loss):
    if step + 1 in (20, 40, 80, 160, 320):
        measured[step + 1] = held_out_loss(model)


with tempfile.TemporaryDirectory() as folder:
    losses = train(model, tokenizer, documents_of_step, recipe, folder, progress=False, after_step=measure)

print(f"{model.n_parameters:,} parameters, {recipe.steps} steps of {recipe.documents_per_step} documents")
print("steps   loss on held-out documents   above the world's own")
for step, loss in measured.items():
    print(f"{step:5}{loss:29.3f}{loss - exact:24.3f}")

gaps = [loss - exact for loss in measured.values()]
assert gaps == sorted(gaps, reverse=True)  # it falls,
assert gaps[-1] < gaps[0] / 10  # by far the most of the way,
assert gaps[-1] > 0  # and not below what the texts allow

# %% name="shipped"
excess = []
with torch.inference_mode():
    for text, one in zip(texts, held_out_ids, strict=True):
        packed = pack([one], 256, end, end)
        model_loss = next_token_loss(tiny, packed).item() * packed.n_targets
        excess.append(model_loss + world.log_probability(text))  # nats above the world's own, this document
shipped = exact + sum(excess) / held_out.n_targets
percent = [100 * one * len(excess) / (exact * held_out.n_targets) for one in excess]
middle = sum(percent) / len(percent)
deviation = math.sqrt(sum((one - middle) ** 2 for one in percent) / (len(percent) - 1))
half = 1.96 * deviation / math.sqrt(len(percent))
print(f"the tiny model, {tiny.n_parameters:,} parameters: {shipped:.4f} on the same documents")
print(f"perplexity, e to the loss: {math.exp(shipped):.2f}; the world's own {math.exp(exact):.2f}")
print(f"above the world's own: {middle:.1f}%, 95% interval {middle - half:.1f}% to {middle + half:.1f}%")
assert middle - half > 0 and middle + half < 4

# %% name="curve-figure"
from figures import COLORS, figure

for page in figure(
    "curve",
    en="Loss against the step, logarithmic: it falls steeply, then more slowly, towards a dashed line, the "
    "entropy, and stays above it. A diamond beside its end, nearly on the dashed line, is the tiny model.",
    ko="단계에 따른 손실, 로그 눈금. 처음에는 가파르게, 나중에는 천천히 점선 쪽으로 내려가고 "
    "그 아래로는 가지 않습니다. 점선은 엔트로피이고, 오른쪽 끝 점선에 거의 닿은 마름모는 작은 모델입니다.",
    size=(5.4, 4),
):
    axes = page.axes
    axes.plot(losses, color=COLORS[0], linewidth=1, label=page.text(en="training", ko="훈련 문서"))
    axes.plot(
        list(measured), list(measured.values()), "o", color=COLORS[1],
        label=page.text(en="held-out documents", ko="따로 둔 문서"),
    )  # fmt: skip
    axes.plot(
        [recipe.steps * 1.08], [shipped], "D", color=COLORS[2], clip_on=False,
        label=page.text(en="tiny model", ko="작은 모델"),
    )  # fmt: skip
    axes.axhline(entropy, color="#000", linestyle="--", label=page.text(en="entropy", ko="엔트로피"))
    axes.set_yscale("log")
    axes.set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    axes.minorticks_off()
    axes.set_xlabel(page.text(en="step", ko="단계"))
    axes.set_ylabel(page.text(en="loss (nats per token)", ko="손실(토큰당 나트)"))
    axes.legend()

# %% [markdown] lang="ko"
# ## 멈췄다가 이어서
# %% [markdown] lang="en"
# ## Stopped, and resumed

# %% name="resume"
small = ModelConfig(tokenizer.vocab_size, 32, 256, blocks=(block,), bos_id=end, eos_id=end)
short_run = TrainingConfig(steps=12, documents_per_step=2, warmup_steps=2, checkpoint_every=4)


def run(folder, stop_after=None):
    """Trains from the same first weights; the losses, and the weights."""
    torch.manual_seed(0)
    model = llmref.Transformer(small)

    def interrupt(step, loss):
        if step == stop_after:
            raise KeyboardInterrupt

    losses = train(
        model, tokenizer, documents_of_step, short_run, folder, progress=False, after_step=interrupt
    )
    return losses, model.state_dict()


with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
    losses_at_once, weights_at_once = run(one)
    try:
        run(other, stop_after=6)  # stopped after step 6; the last checkpoint is that of step 4
    except KeyboardInterrupt:
        print("interrupted")
    losses_resumed, weights_resumed = run(other)

same = all(torch.equal(weights_at_once[name], weights_resumed[name]) for name in weights_at_once)
print(f"last loss, at once {losses_at_once[-1]:.6f}, resumed {losses_resumed[-1]:.6f}; equal weights: {same}")
assert losses_at_once == losses_resumed and same

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="mixed"
no_mask = Batch(
    held_out.ids,
    held_out.targets,
    torch.where(held_out.documents >= 0, torch.arange(256), -1),  # positions that go on,
    held_out.documents.clamp(max=0),  # and one document for the whole row
)
with torch.inference_mode():
    print(f"each document for itself: {next_token_loss(tiny, held_out):.4f}")
    print(f"documents see each other: {next_token_loss(tiny, no_mask):.4f}")

# %% name="batches"
two = [pack(held_out_ids[:1], 256, end, end), pack(held_out_ids[1:6], 256, end, end)]
together = pack(held_out_ids[:6], 256, end, end)
with torch.inference_mode():
    parts = [(next_token_loss(model, batch).item(), batch.n_targets) for batch in two]
    print("two batches:", ", ".join(f"{loss:.3f} over {count} tokens" for loss, count in parts))
    print(f"mean of the two means: {sum(loss for loss, _ in parts) / 2:.3f}")
    print(f"mean over all tokens:  {next_token_loss(model, together):.3f}")
