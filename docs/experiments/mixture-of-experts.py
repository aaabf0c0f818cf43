# %% [markdown] lang="ko"
# # 전문가 혼합
# 피드포워드 신경망을 여러 개 두고 토큰마다 몇 개만 지나가게 합니다.
# 파라미터와 계산을 세고, 경로를 따라가 보고, 무엇이 좋아지는지 재고, 전문가마다 어떤 토큰이 오는지 봅니다.
# %% [markdown] lang="en"
# # Mixture of experts
# Several feedforward networks, of which each token goes through a few: parameters and work counted, one token
# followed, what it is good for measured, and which expert gets which tokens.

# %% name="load"
import torch

import llmref
from llmref.mixture_of_experts import MixtureOfExperts, naive_mixture
from llmref.twins import load_twin

torch.set_num_threads(1)
_, tokenizer = llmref.load_tiny()
model = load_twin("experts")
last = len(model.blocks) - 1
mixture = model.config.blocks[last].feedforward
print(f"{len(model.blocks)} blocks with {mixture.n_experts} experts each, {mixture.n_active} for a token")


# %% name="route"
def trace(text):
    return llmref.trace(model, [model.config.bos_id, *tokenizer.encode(text)])


sentences = {
    "en": "The fox chased the rabbit because it was hungry.",
    "ko": "여우가 토끼를 쫓아갔습니다. 그것이 배가 고팠기 때문입니다.",
}
routes = {}
for language, text in sentences.items():
    seen = trace(text)
    choices = seen[f"blocks.{last}.feedforward.router.choices"][0]
    weights = seen[f"blocks.{last}.feedforward.router.weights"][0]
    routes[language] = torch.zeros(len(choices), mixture.n_experts).scatter(1, choices, weights)
    assert torch.allclose(routes[language].sum(dim=1), torch.ones(len(choices)))
    assert (routes[language] > 0).sum(dim=1).eq(mixture.n_active).all()
    print(f"{language}: {len(choices)} tokens, each to {mixture.n_active} of {mixture.n_experts} experts")

# %% name="route-figure"
from figures import figure, heatmap

for page in figure(
    "route",
    en="Rows are the tokens of a sentence, columns the 8 experts. In each row two cells are filled, with the "
    "weights of the two experts that the token goes to; the two weights of a row sum to 1.",
    ko="행은 문장의 토큰이고 열은 전문가 8개. 행마다 두 칸이 칠해져 있고, 그 토큰이 가는 두 전문가의 "
    "가중치가 적혀 있습니다. 한 행의 두 가중치를 더하면 1입니다.",
    size=(6, 5),
):
    pieces = ["⊢", *(piece.strip() for piece in tokenizer.pieces(tokenizer.encode(sentences[page.language])))]
    heatmap(page.axes, routes[page.language], rows=pieces, columns=[str(e) for e in range(8)], maximum=1.4)
    for row, column in routes[page.language].nonzero().tolist():
        number = f"{routes[page.language][row, column]:.2f}"
        page.axes.text(column + 0.5, row + 0.5, number, ha="center", va="center", fontsize=11)
    page.axes.set_xlabel(page.text(en="expert", ko="전문가"))

# %% [markdown] lang="ko"
# ## 토큰 하나를 따라가기
# %% [markdown] lang="en"
# ## One token, step by step

# %% name="stream"
layer, seen = model.blocks[last].feedforward, trace(sentences["en"])
fox = 2  # its place: after the token that begins the text, and "The"
print("token:", tokenizer.pieces(tokenizer.encode(sentences["en"]))[fox - 1].strip())
with torch.no_grad():
    stream = model.blocks[last].feedforward_norm(seen[f"blocks.{last}.middle"])
numbers = ", ".join(f"{number:.2f}" for number in stream[0, fox, :4])
print(f"what the layer reads: {stream.shape[-1]} numbers, {numbers} …")

# %% name="scores"
with torch.no_grad():
    logits = layer.router.weight @ stream[0, fox]  # one row for each expert
scores = logits.softmax(dim=-1)
print("expert  " + "".join(f"{expert:7}" for expert in range(8)))
print("logits  " + "".join(f"{number:7.2f}" for number in logits))
print("scores  " + "".join(f"{number:7.3f}" for number in scores))

# %% name="choice"
best = scores.topk(2)
weights = best.values / best.values.sum()
print(f"the two best: experts {best.indices.tolist()}")
print(f"their scores: {', '.join(f'{score:.3f}' for score in best.values)}")
print(f"their weights: {', '.join(f'{weight:.3f}' for weight in weights)}")
assert torch.allclose(weights, logits[best.indices].softmax(dim=-1))  # a softmax over these two is the same

# %% name="sum"
with torch.no_grad():
    outputs = [layer.experts[expert](stream[0, fox]) for expert in best.indices]
    mixed = weights[0] * outputs[0] + weights[1] * outputs[1]
for expert, weight, output in zip(best.indices, weights, outputs, strict=True):
    print(f"{weight:.3f} × expert {expert}: {', '.join(f'{n:6.2f}' for n in output[:5])} …")
print(f"       their sum: {', '.join(f'{n:6.2f}' for n in mixed[:5])} …")

# %% name="same"
whole = seen[f"blocks.{last}.feedforward.output"]
with torch.no_grad():
    naive = naive_mixture(layer, stream)
print("the layer gives the same:", torch.allclose(whole[0, fox], mixed, atol=1e-5))
print("and for all tokens, one by one:", torch.allclose(whole, naive, atol=1e-5))
assert torch.allclose(whole[0, fox], mixed, atol=1e-5) and torch.allclose(whole, naive, atol=1e-5)

# %% [markdown] lang="ko"
# ## 파라미터와 계산
# %% [markdown] lang="en"
# ## Parameters and work

# %% name="count"
from llmref.cost import cost
from llmref.twins.recipe import COMPARISONS, TWINS

print(f"{'':22}{'parameters':>11}{'a token meets':>15}{'feedforward FLOPs':>19}{'all':>9}")
work = {}
for label, twin in COMPARISONS["experts"].items():
    counted = cost(TWINS[twin], context=1)
    total, work[label] = counted.total, counted.feedforward.prefill_flops
    print(f"{label:22}{total.parameters:>11,}{total.active_parameters:>15,}", end="")
    print(f"{work[label]:>19,}{total.prefill_flops:>9,}")
routers = 3 * 2 * 64 * 8  # three blocks, a multiplication and an addition for each number of a matrix
assert work["8 experts"] == work["dense"] + routers
assert work["dense, 4 times as wide"] == 4 * work["dense"]

# %% [markdown] lang="ko"
# ## 외우기
# 층 하나에게 이름 1,000개와 그 짝을 외우게 합니다. 이름은 무작위 벡터이고, 짝은 32가지 중 하나입니다.
# %% [markdown] lang="en"
# ## Learning by heart
# One layer is to learn 1,000 names and their answers. A name is a random vector, an answer is one of 32.

# %% name="store"
from llmref.config import FeedForwardConfig, MixtureConfig
from llmref.feedforward import FeedForward
from llmref.mixture_of_experts import balancing_loss
from llmref.training.loss import routing

n_names, n_answers, d_model, steps = 1000, 32, 16, 200


def learn(config, seed):
    """How many of the names a layer has learned, in percent, and how many numbers it has."""
    torch.manual_seed(seed)
    names, answers = torch.randn(1, n_names, d_model), torch.randint(n_answers, (n_names,))
    kind = MixtureOfExperts if isinstance(config, MixtureConfig) else FeedForward
    layer, head = kind(config, d_model), torch.nn.Linear(d_model, n_answers)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    for _ in range(steps):
        with routing(layer) as (scores, choices):
            logits = head(layer(names))[0]
        loss = torch.nn.functional.cross_entropy(logits, answers)
        for one, other in zip(scores, choices, strict=True):
            loss = loss + 0.01 * balancing_loss(one, other)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    right = (logits.argmax(dim=-1) == answers).float().mean().item()
    return 100 * right, sum(parameter.numel() for parameter in layer.parameters())


def experts(n_experts):
    return MixtureConfig(n_experts, n_active=2, expert=FeedForwardConfig(d_ff=8))


layers = {
    "dense": FeedForwardConfig(d_ff=16),
    "4 experts": experts(4),
    "8 experts": experts(8),
    "dense, 4 times as wide": FeedForwardConfig(d_ff=64),
}
learned = {}
print(f"{'':24}{'parameters':>12}{'learned, %, mean of 3 seeds':>30}")
for label, config in layers.items():
    runs = [learn(config, seed) for seed in (1, 2, 3)]
    learned[label] = [right for right, _ in runs]
    average = sum(learned[label]) / 3
    print(f"{label:24}{runs[0][1]:>12,}{average:>14.0f}", end="")
    print(f"  ({min(learned[label]):.0f} to {max(learned[label]):.0f})")
assert max(learned["dense"]) + 15 < min(learned["4 experts"])
assert max(learned["4 experts"]) + 15 < min(learned["8 experts"])

# %% name="store-figure"
from figures import COLORS, figure

for page in figure(
    "store",
    en="How many names each layer has learned, with a dot for each seed: the dense layer least, 4 experts "
    "more, 8 experts nearly all, the dense layer of four times the width all.",
    ko="층마다 외운 이름의 비율, 시드마다 점 하나. 밀집 층이 가장 적게, 전문가 4개가 더 많이, 전문가 8개는 "
    "거의 모두, 네 배 넓은 밀집 층은 모두 외웠습니다.",
    size=(5, 3),
):
    for place, right in enumerate(learned.values()):
        page.axes.bar(place, sum(right) / 3, color=COLORS[1] if place in (1, 2) else COLORS[0], alpha=0.6)
        page.axes.plot([place] * 3, right, "o", color="#000", markersize=4)
    labels = (
        ["밀집", "전문가\n4개", "전문가\n8개", "밀집,\n네 배"]
        if page.language == "ko"
        else ["dense", "4\nexperts", "8\nexperts", "dense,\n4 × wide"]
    )
    page.axes.set_xticks(range(4), labels)
    page.axes.set_yticks([0, 50, 100])
    page.axes.set_ylabel(page.text(en="names learned (%)", ko="외운 이름(%)"))

# %% [markdown] lang="ko"
# ## 언어 모델에서는
# %% [markdown] lang="en"
# ## In a language model

# %% name="twins"
from llmref.twins import comparison, spread

twins = comparison("experts")
print("mean of three seeds, and the lowest and the highest of them")
print(f"{'':24}{'loss, nats per token':>26}{'facts right, %':>20}")
for label, found in twins.items():
    loss, facts = spread(found, "loss"), spread(found, "facts")
    print(f"{label:24}{loss.mean:>9.4f} ({loss.low:.4f}–{loss.high:.4f})", end="")
    print(f"{facts.mean:>10.1f} ({facts.low:.1f}–{facts.high:.1f})")

# %% name="twins-interval"
from math import sqrt
from statistics import mean, stdev

T_95 = 4.303  # Student's t for three differences, 95 in 100
interval = {}
for label in ("4 experts", "8 experts", "dense, 4 times as wide"):
    pairs = zip(twins[label], twins["dense"], strict=True)
    more = [100 * (own.loss / dense.loss - 1) for own, dense in pairs]  # %, by seed
    half = T_95 * stdev(more) / sqrt(len(more))
    low, high = interval[label] = mean(more) - half, mean(more) + half
    print(f"{label:22} {mean(more):+.2f}% against dense", end="")
    print(f", 95% interval {low:+.2f}% to {high:+.2f}%")
assert max(high for _, high in interval.values()) < 0.5  # no twin is 0.5% worse than dense,
low, high = interval["dense, 4 times as wide"]
assert -1.5 < low < high < 0  # and the widest is better, by a little

# %% [markdown] lang="ko"
# ## 어느 전문가에게 어떤 토큰이 오는가
# %% [markdown] lang="en"
# ## Which expert gets which tokens

# %% name="documents"
from llmref.tiny.measure import HELD_OUT_SEED
from llmref.training import next_token_loss, pack
from llmref.twins.make import is_korean
from llmref.twins.recipe import CONTEXT_LENGTH, ShortDocuments


def routed(texts):
    """Each token of some documents, the one that follows it, and the experts it went to in each block."""
    batch = pack([tokenizer.encode(text) for text in texts], CONTEXT_LENGTH, bos_id=0, eos_id=0)
    with torch.inference_mode(), routing(model) as (_, choices):
        next_token_loss(model, batch)
    real = batch.positions >= 0  # the rest is padding
    return batch.ids[real], batch.targets[real], [block[real] for block in choices]


texts = ShortDocuments(HELD_OUT_SEED)(0, 400)
parts = {
    "ko": routed([text for text in texts if is_korean(text)]),
    "en": routed([text for text in texts if not is_korean(text)]),
}
for language, (ids, _, _) in parts.items():
    print(f"{language}: {len(ids):,} tokens")

# %% name="languages"
everywhere = [
    100 * korean / (korean + english)
    for result in comparison("experts")["8 experts"]
    for blocks in zip(*result.expert_shares.values(), strict=True)
    for korean, english in zip(*blocks, strict=True)
]
print(f"{len(everywhere)} experts: 8 in each of 3 blocks, 3 seeds")
print(f"Korean's part of what an expert gets: {min(everywhere):.0f}% to {max(everywhere):.0f}%")
assert min(everywhere) > 10 and max(everywhere) < 90

# %% name="guess"
ids, following = (torch.cat([part[index] for part in parts.values()]) for index in (0, 1))
chosen = [torch.cat(blocks) for blocks in zip(*(part[2] for part in parts.values()), strict=True)]
language = torch.cat([torch.full_like(part[0], number) for number, part in enumerate(parts.values())])
half, other_half = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0)).chunk(2)


def guessed(known, first):
    """One half of the tokens says which expert is usual for what is known; how often is it, in the other?"""
    counts = torch.zeros(int(known.max()) + 1, 8)
    counts.index_put_((known[half], first[half]), torch.ones(len(half)), accumulate=True)
    return 100 * (counts[known[other_half]].argmax(dim=1) == first[other_half]).float().mean().item()


print("right guesses of a token's first expert, %    block 0   block 1   block 2")
right = {}
for name, known in {
    "knowing nothing": torch.zeros_like(ids),
    "knowing the language": language,
    "knowing the token": ids,
    "knowing the token that follows": following,
}.items():
    right[name] = [guessed(known, blocks[:, 0]) for blocks in chosen]
    print(f"{name:43}" + "".join(f"{number:10.0f}" for number in right[name]))
for block in range(3):
    assert right["knowing the language"][block] < right["knowing nothing"][block] + 10
    assert right["knowing the token"][block] > right["knowing the language"][block] + 30

# %% name="kinds"
from llmref.corpus import words

pieces = [piece.strip() for piece in tokenizer.pieces(list(range(tokenizer.vocab_size)))]
nouns = [*words.ANIMALS, *words.HOMES, *words.FOODS, *words.DREAMS]
particles = ("이", "가", "은", "는", "을", "를", "의", "에게")
english = {word.en for word in nouns}
korean = {word.ko + end for word in nouns for end in ("", *particles)}
kinds = {
    "English nouns": lambda piece: piece in english,
    "Korean nouns": lambda piece: piece in korean,
    "Korean verb endings": lambda piece: piece.endswith("니다"),
    "Korean particles": lambda piece: piece in particles,
    "English articles": lambda piece: piece in ("the", "The", "a"),
    "English is, was, are": lambda piece: piece in ("is", "was", "are"),
    "full stop": lambda piece: piece == ".",
}
shares = {}
for name, belongs in kinds.items():
    table = torch.tensor([belongs(piece) for piece in pieces])
    visits = chosen[last][table[ids]]
    shares[name] = visits.flatten().bincount(minlength=8) / len(visits)
    print(f"{name:22}{len(visits):6,} tokens, {100 * shares[name][0]:3.0f}% of them to expert 0")
assert (
    min(shares["English nouns"][0], shares["Korean verb endings"][0]) > 0.9 > 0.7 > shares["Korean nouns"][0]
)

# %% name="ends"
full_stop = tokenizer.encode(".")[0]
for number, name in enumerate(parts):
    going = []
    for before in (True, False):
        part = chosen[last][((following == full_stop) == before) & (language == number)]
        going.append(100 * (part == 0).any(dim=1).float().mean().item())
    print(f"{name}: {going[0]:.0f}% of the tokens before a full stop go to expert 0, ", end="")
    print(f"{going[1]:.0f}% of the others")
    assert going[0] > 85 and going[1] < 25

# %% name="kinds-figure"
from figures import figure, heatmap

for page in figure(
    "kinds",
    en="Rows are kinds of tokens, columns the 8 experts of the last block, with the share of the tokens "
    "that go to each. Nearly all English nouns and Korean verb endings go to expert 0. Korean nouns are "
    "spread out.",
    ko="행은 토큰의 종류이고 열은 마지막 블록의 전문가 8개. 칸은 그 전문가에게 가는 토큰의 비율입니다. "
    "영어 명사와 한국어 서술어 끝은 거의 모두 0번 전문가에게 갑니다. "
    "한국어 명사는 여러 전문가에게 흩어집니다.",
    size=(6, 3.4),
):
    names = (
        ["영어 명사", "한국어 명사", "한국어 서술어 끝", "한국어 조사", "영어 관사", "is, was, are", "마침표"]
        if page.language == "ko"
        else list(shares)
    )
    table = torch.stack(list(shares.values()))
    heatmap(page.axes, table, rows=names, columns=[str(expert) for expert in range(8)], maximum=1.4)
    for row, column in (table > 0.005).nonzero().tolist():
        number = f"{100 * table[row, column]:.0f}"
        page.axes.text(column + 0.5, row + 0.5, number, ha="center", va="center", fontsize=11)
    page.axes.set_xlabel(page.text(en="expert (% of the tokens)", ko="전문가(토큰의 %)"))

# %% [markdown] lang="ko"
# ## 균형
# %% [markdown] lang="en"
# ## Balance

# %% name="balance"
korean_part = (language == 0).float().mean().item()
print(f"{'':8}{'loss':>7}{'fewest tokens':>18}{'most tokens':>18}{'the busiest has':>23}")
busiest = {}
for label, found in comparison("balancing").items():
    if label == "dense":
        continue
    rows = []
    for result in found:
        for korean, english in zip(*result.expert_shares.values(), strict=True):
            both = zip(korean, english, strict=True)
            part = [100 * (korean_part * ko + (1 - korean_part) * en) for ko, en in both]
            rows.append((min(part), max(part)))
    print(f"{label:8}{spread(found, 'loss').mean:>7.4f}", end="")
    for ends in zip(*rows, strict=True):
        print(f"{f'{min(ends):.1f}% to {max(ends):.1f}%':>18}", end="")
    busiest[label] = [most / (100 / 8) for _, most in rows]
    low, high = min(busiest[label]), max(busiest[label])
    print(f"{f'{low:.1f} to {high:.1f} × its part':>23}")
assert max(busiest["with"]) < 1.3 < min(busiest["without"])

# %% [markdown] lang="ko"
# ## 다르게 고르기
# %% [markdown] lang="en"
# ## Other ways to choose

# %% name="variants"
from llmref.config import RouterConfig
from llmref.mixture_of_experts import Router

ways = {
    "softmax, made to sum to 1": RouterConfig(),
    "softmax, as it is": RouterConfig(normalize=False),
    "sigmoid, made to sum to 1": RouterConfig(score="sigmoid"),
    "two groups, the better one": RouterConfig(n_groups=2, group_score="best_two"),
}
for name, config in ways.items():
    router = Router(config, n_experts=8, n_active=2, d_model=64)
    router.weight = layer.router.weight  # the logits of the token above, "fox"
    with torch.no_grad():
        weights, picked = router(stream[:, fox])
    parts_of_sum = zip(weights[0], picked[0], strict=True)
    shown = " + ".join(f"{one:.3f} × expert {number}" for one, number in parts_of_sum)
    print(f"{name:26} {shown}  (sum {weights.sum():.3f})")
    if name == "softmax, made to sum to 1":
        assert torch.allclose(weights[0], best.values / best.values.sum())

# %% name="choice-bias"
torch.manual_seed(0)
router = Router(RouterConfig(score="sigmoid", choice_bias=True), n_experts=8, n_active=2, d_model=64)
# Tokens that have something in common, so that some experts suit all of them.
some = torch.randn(1, 2000, 64) + 1
print("tokens of the 8 experts, % of all choices")
for step in range(101):
    with torch.no_grad():
        _, picked = router(some)
    part = picked.flatten().bincount(minlength=8) / picked.numel()
    if step in (0, 10, 20, 100):
        print(f"after {step:3} steps: " + "".join(f"{100 * one:6.1f}" for one in part))
    # An expert with too few tokens goes a little up, one with too many a little down.
    router.choice_bias += 0.01 * torch.sign(1 / 8 - part)
assert part.min() > 0.1 and part.max() < 0.15

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="active"
from dataclasses import replace

text = [tokenizer.encode(text) for text in texts[:100]]
small = pack(text, CONTEXT_LENGTH, bos_id=0, eos_id=0)
losses = []
for n_active in (1, 2, 4, 8):
    blocks = tuple(
        replace(block, feedforward=replace(mixture, n_active=n_active)) for block in model.config.blocks
    )
    other = llmref.Transformer(replace(model.config, blocks=blocks))
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        losses.append(next_token_loss(other, small).item())
    print(f"{n_active} of 8 experts: loss {losses[-1]:.3f}")
assert losses[0] > 1.05 * losses[1] and min(losses) == losses[1]

# %% name="real-shape"
from llmref.cost import count, size


def mixtral():
    """The shape of Mixtral 8x7B."""
    config = llmref.config
    experts = config.MixtureConfig(8, n_active=2, expert=config.FeedForwardConfig(14336))
    block = config.BlockConfig(config.AttentionConfig(32, 8, 128), experts)
    return config.ModelConfig(32000, 4096, 32768, (block,) * 32, tied_embeddings=False)


total = llmref.cost(mixtral(), context=1).total
print(f"{count(total.parameters)} parameters, of which a token meets {count(total.active_parameters)}")
for at_once in (1, 2, 4, 64):
    step = llmref.cost(mixtral(), batch=at_once, context=1)
    print(f"{at_once:2} texts at once: {size(step.decode_bytes)} of weights to read at most", end="")
    print(f", {count(step.total.decode_flops)}FLOP")
