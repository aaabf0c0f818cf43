# %% [markdown] lang="ko"
# # 정방향 계산
# 토크나이저, 블록 스택, LM 헤드를 하나씩 손으로 돌립니다.
# 화살표마다 텐서의 크기를 적고, 계산이 어디에 몰려 있는지 셉니다.
# %% [markdown] lang="en"
# # The forward pass
# The tokenizer, the stack of blocks and the LM head, run by hand one after the other:
# a shape for every arrow, and a count of where the computation is.

# %% name="load"
import torch

import llmref
from llmref.corpus import World

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
texts = {
    "ko": "옛날에 민지라는 아이가 숲에 살았습니다. 민지는",
    "en": "Once upon a time, a child named Minji lived in the forest. She",
}

# %% [markdown] lang="ko"
# ## 세 부분을 손으로
# %% [markdown] lang="en"
# ## The three parts by hand

# %% name="tokenizer"
text = texts["en"]
ids = torch.tensor([[model.config.bos_id, *tokenizer.encode(text)]])
print(f"{len(text)} characters became {ids.shape[1]} ids:")
print(ids[0].tolist())

# %% name="embedding"
x = model.embedding(ids)
print("one vector for each id:", tuple(x.shape))
assert torch.equal(x[0, 3], model.embedding.weight[ids[0, 3]])  # a lookup, no arithmetic

# %% name="stack"
positions = llmref.sequential_positions(ids)
allowed = llmref.causal().dense(positions, positions)
for number, block in enumerate(model.blocks):
    x = block(x, positions, allowed)
    print(f"after block {number}: {tuple(x.shape)}")
hidden = model.final_norm(x)

# %% name="head"
logits = model.lm_head(hidden)
probabilities = logits[0, -1].softmax(dim=-1)
print("logits:", tuple(logits.shape))
print(
    "the probabilities of the next token:",
    tuple(probabilities.shape),
    f"with the sum {probabilities.sum():.4f}",
)

# %% name="equal"
whole = model(ids, positions)
difference = (whole - logits).abs().max().item()
print(f"largest difference between the three parts and the model's own pass: {difference:.1e}")
assert difference < 1e-5

# %% name="pipeline-figure"
from figures import COLORS, figure

for page in figure(
    "pipeline",
    en="The forward pass from top to bottom: text, token ids, token embedding, "
    "five transformer blocks, final norm, LM head, probabilities; "
    "the shape of the tensor is written beside each arrow.",
    ko="위에서 아래로 그린 정방향 계산: 텍스트, 토큰 ID, 토큰 임베딩, "
    "트랜스포머 블록 다섯 개, 마지막 정규화, LM 헤드, 확률. 화살표 옆에 텐서의 크기가 적혀 있습니다.",
    size=(5, 7.2),
):
    seen = llmref.trace(model, [model.config.bos_id, *tokenizer.encode(texts[page.language])])
    tokens = seen["logits"].shape[1]

    def shape(name, seen=seen):
        return " × ".join(map(str, seen[name].shape[1:]))

    rows = [
        (
            page.text(en="tokenizer", ko="토크나이저"),
            0,
            page.text(en=f"{tokens} token IDs", ko=f"토큰 ID {tokens}개"),
        ),
        (page.text(en="token embedding", ko="토큰 임베딩"), 1, shape("embedding")),
        *[
            (
                page.text(en=f"transformer block {i}", ko=f"트랜스포머 블록 {i}"),
                2,
                shape(f"blocks.{i}.output"),
            )
            for i in range(len(model.blocks))
        ],
        (page.text(en="final norm", ko="마지막 정규화"), 3, shape("final_norm")),
        (page.text(en="LM head", ko="LM 헤드"), 4, shape("logits")),
    ]
    axes = page.axes
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(-len(rows) - 0.6, 1)
    ends = (
        page.text(en="text", ko="텍스트"),
        page.text(en="probabilities of the next token", ko="다음 토큰의 확률"),
    )
    axes.text(3.5, 0.6, ends[0], ha="center", va="center")
    axes.text(3.5, -len(rows) - 0.35, ends[1], ha="center", va="center")
    axes.annotate("", (3.5, 0.02), (3.5, 0.42), arrowprops={"arrowstyle": "->"})
    for row, (name, color, result) in enumerate(rows):
        axes.barh(-row - 0.25, 6.4, 0.5, 0.3, color=COLORS[color], alpha=0.25)
        axes.text(3.5, -row - 0.25, name, ha="center", va="center")
        axes.annotate("", (3.5, -row - 0.98), (3.5, -row - 0.52), arrowprops={"arrowstyle": "->"})
        axes.text(6.9, -row - 0.75, result, va="center")

# %% [markdown] lang="ko"
# ## 나온 확률은 맞는가
# %% [markdown] lang="en"
# ## Are the probabilities right?

# %% name="truth"
truth = World().next_token(ids[0].tolist(), tokenizer)
for token_id in probabilities.topk(5).indices.tolist():
    piece = tokenizer.decode([token_id])
    print(
        f"{piece!r:<12} the model says {probabilities[token_id]:.3f}, "
        f"the world's own rule {truth.get(token_id, 0):.3f}"
    )
    assert abs(probabilities[token_id].item() - truth.get(token_id, 0)) < 0.1

# %% [markdown] lang="ko"
# ## 파라미터와 계산은 어디에 있는가
# %% [markdown] lang="en"
# ## Where the parameters and the computation are

# %% name="shapes"
from llmref.cost import cost


def shape(d_model, blocks, heads, kv_heads, d_ff, vocabulary, tied, plain=False):
    """A model's config, as far as it decides the counts below."""
    norm = llmref.NormConfig("layer" if plain else "rms")
    block = llmref.BlockConfig(
        llmref.AttentionConfig(heads, kv_heads, d_model // heads, bias=plain, output_bias=plain),
        llmref.FeedForwardConfig(d_ff, gated=not plain, bias=plain),
        norm,
    )
    return llmref.ModelConfig(
        vocab_size=vocabulary,
        d_model=d_model,
        context_length=1024,
        blocks=(block,) * blocks,
        norm=norm,
        tied_embeddings=tied,
        positional_embedding="learned" if plain else None,
    )


shapes = {
    "GPT-2": shape(768, 12, 12, 12, 3072, 50257, True, plain=True),
    "SmolLM3 3B": shape(2048, 36, 16, 4, 11008, 128256, True),
    "Phi-3-mini-4k": shape(3072, 32, 32, 32, 8192, 32064, False),
    "Llama 3.1 8B": shape(4096, 32, 32, 8, 14336, 128256, False),
}
published = [124_439_808, 3_075_098_624, 3_821_079_552, 8_030_261_248]
counted = [cost(config).total.parameters for config in shapes.values()]
print("the published numbers of parameters:", counted == published)
assert counted == published
assert cost(model.config).total.parameters == model.n_parameters
configs = {"llmref tiny": model.config, **shapes}

# %% name="parameters"
print(f"{'parameters':<14} {'embedding':>12} {'attention':>14} {'feedforward':>14} {'LM head':>12}")
for name, config in configs.items():
    parts = cost(config)
    print(
        f"{name:<14} {parts.embedding.parameters:>12,} {parts.attention.parameters:>14,} "
        f"{parts.feedforward.parameters:>14,} {parts.lm_head.parameters:>12,}"
    )


# %% name="flops"
def shares(config, tokens=256):
    """The shares of attention, feedforward and LM head in one pass. The embedding is a lookup."""
    parts = cost(config, context=tokens)
    each = [part.prefill_flops for part in (parts.attention, parts.feedforward, parts.lm_head)]
    return [flops / sum(each) for flops in each]


print(f"{'share of FLOPs':<14} {'attention':>10} {'feedforward':>12} {'LM head':>8} {'stack':>7}")
for name, config in configs.items():
    attention, feedforward, head = shares(config)
    print(f"{name:<14} {attention:>10.0%} {feedforward:>12.0%} {head:>8.0%} {attention + feedforward:>7.0%}")
    assert attention + feedforward > 0.5

# %% name="flops-figure"
from figures import COLORS, figure

for page in figure(
    "flops",
    en="One bar for each model: the share of the computation of a pass over 256 tokens "
    "that is attention, feedforward and LM head. In every model the first two together take more than half.",
    ko="모델마다 막대 하나: 토큰 256개를 읽는 정방향 계산에서 어텐션, 피드포워드, LM 헤드가 차지하는 몫. "
    "어느 모델에서나 앞의 둘을 합치면 절반이 넘습니다.",
    size=(6, 3.2),
):
    names = list(configs)
    labels = (
        page.text(en="attention", ko="어텐션"),
        page.text(en="feedforward", ko="피드포워드"),
        page.text(en="LM head", ko="LM 헤드"),
    )
    start = [0.0] * len(names)
    for part, label in enumerate(labels):
        widths = [shares(configs[name])[part] for name in names]
        page.axes.barh(names, widths, left=start, color=COLORS[part], label=label)
        start = [left + width for left, width in zip(start, widths, strict=True)]
    page.axes.invert_yaxis()
    page.axes.set_xlim(0, 1)
    page.axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    page.axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)

# %% name="last-only"
for name, config in configs.items():
    attention, feedforward, head = shares(config, tokens=256)
    stack = attention + feedforward
    print(f"{name:<14} with the LM head at one token, the stack is {stack / (stack + head / 256):.2%}")
    assert stack / (stack + head / 256) > 0.99

# %% name="every-position"
predicted = whole[0].argmax(dim=-1).tolist()
pieces = tokenizer.pieces(ids[0].tolist())
for piece, token_id, given in list(zip(pieces, predicted, [*pieces[1:], "?"], strict=True))[:8]:
    print(f"after {piece!r:<18} predicted {tokenizer.decode([token_id])!r:<12} what came was {given!r}")
