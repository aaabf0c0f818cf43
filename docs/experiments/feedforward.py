# %% [markdown] lang="ko"
# # 피드포워드 신경망
# 파라미터가 어디에 있는지 세고, 답을 어느 층이 쓰는지 재고, 피드포워드를 끄고, 본 적 없는 조합을 물어봅니다.
# %% [markdown] lang="en"
# # Feedforward
# Where the parameters are, who writes an answer, what is lost without it, and combinations never seen.

# %% name="load"
import random

import torch

import llmref
from llmref.corpus import World

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
n_blocks, end = len(model.blocks), model.config.eos_id
world, languages = World(), ("en", "ko")

# %% [markdown] lang="ko"
# ## 파라미터의 몫
# %% [markdown] lang="en"
# ## Share of the parameters

# %% name="share"
from llmref.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, NormConfig
from llmref.cost import cost

gpt2_block = BlockConfig(
    AttentionConfig(12, 12, 64, bias=True, rope=None, output_bias=True),
    FeedForwardConfig(3072, "gelu", gated=False, bias=True),
    norm=NormConfig("layer"),
)
configs = {
    "tiny": model.config,
    "GPT-2": ModelConfig(
        vocab_size=50257,
        d_model=768,
        context_length=1024,
        blocks=(gpt2_block,) * 12,
        norm=NormConfig("layer"),
        positional_embedding="learned",
    ),
}
for name, vocab_size, d_model, n_layers, heads, kv_heads, d_ff in (
    ("Llama 2 7B", 32000, 4096, 32, 32, 32, 11008),
    ("Llama 3.1 8B", 128256, 4096, 32, 32, 8, 14336),
    ("Llama 3.1 70B", 128256, 8192, 80, 64, 8, 28672),
):
    block = BlockConfig(AttentionConfig(heads, kv_heads, 128), FeedForwardConfig(d_ff))
    configs[name] = ModelConfig(vocab_size, d_model, 4096, (block,) * n_layers, tied_embeddings=False)

shares = {}
print(f"{'':14}{'parameters':>16}{'feedforward':>16}{'of a block':>12}{'of the model':>14}")
for name, config in configs.items():
    parts = {part: one.parameters for part, one in cost(config, context=1).parts.items()}
    total, inside = sum(parts.values()), parts["attention"] + parts["feedforward"]
    shares[name] = {part: 100 * number / total for part, number in parts.items()}
    of_block = 100 * parts["feedforward"] / inside
    print(f"{name:14}{total:16,}{parts['feedforward']:16,}{of_block:11.0f}%", end="")
    print(f"{shares[name]['feedforward']:13.0f}%")
    assert of_block > 50
assert cost(model.config, context=1).total.parameters == model.n_parameters

# %% name="share-figure"
from figures import COLORS, figure

for page in figure(
    "share",
    en="One bar for each of five models, split into feedforward, attention, and the rest. In each of them "
    "feedforward is the largest part; in the three Llamas it is well over half of the bar.",
    ko="모델 다섯 개의 막대. 피드포워드, 어텐션, 나머지로 나뉩니다. "
    "어느 모델에서나 피드포워드가 가장 크고, Llama 세 개에서는 막대의 절반이 훨씬 넘습니다.",
    size=(5, 3),
):
    left = [0.0] * len(shares)
    for color, names, label in (
        (COLORS[1], ("feedforward",), page.text(en="feedforward", ko="피드포워드")),
        (COLORS[0], ("attention",), page.text(en="attention", ko="어텐션")),
        (COLORS[2], ("embedding", "lm_head", "norms"), page.text(en="the rest", ko="나머지")),
    ):
        widths = [sum(share[name] for name in names) for share in shares.values()]
        page.axes.barh(list(shares), widths, left=left, color=color, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    page.axes.invert_yaxis()
    page.axes.set_xlim(0, 100)
    page.axes.set_xlabel(page.text(en="share of all parameters (%)", ko="전체 파라미터에서 차지하는 몫(%)"))
    page.figure.legend(loc="outside upper center", ncols=3, fontsize=11)

# %% [markdown] lang="ko"
# ## 두 가지 형태
# %% [markdown] lang="en"
# ## The two forms

# %% name="forms"
from llmref.config import FeedForwardConfig
from llmref.feedforward import FeedForward

forms = {
    "plain, d_ff 480": FeedForwardConfig(480, "relu", gated=False),
    "gated, d_ff 320": FeedForwardConfig(320, "silu", gated=True),
}
sizes = []
for name, config in forms.items():
    layer = FeedForward(config, d_model=128)
    matrices = [f"{part} {weight.shape[0]}×{weight.shape[1]}" for part, weight in layer.named_parameters()]
    sizes.append(sum(weight.numel() for weight in layer.parameters()))
    print(f"{name}: {sizes[-1]:,} parameters; {', '.join(matrices).replace('.weight', '')}")
assert sizes[0] == sizes[1]  # three matrices two thirds as wide

# %% [markdown] lang="ko"
# ## 활성화 함수의 종류
# %% [markdown] lang="en"
# ## The kinds of activation function

# %% name="activations"
from llmref.feedforward import ACTIVATIONS

at = torch.tensor([-3.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0])
print(f"{'x':14}" + "".join(f"{x:8.1f}" for x in at))
for name, function in ACTIVATIONS.items():
    print(f"{name:14}" + "".join(f"{y:8.3f}" for y in function(at)))
everywhere = torch.linspace(-6, 6, 2401)
exact = ACTIVATIONS["gelu"](everywhere)
apart = {name: (ACTIVATIONS[name](everywhere) - exact).abs().max() for name in ("gelu_tanh", "gelu_sigmoid")}
print("farthest from gelu:", ", ".join(f"{name} {far:.4f}" for name, far in apart.items()))
assert apart["gelu_tanh"] < 0.001 and apart["gelu_sigmoid"] < 0.03

# %% name="activations-figure"
from figures import COLORS, figure

for page in figure(
    "activations",
    en="Four curves of the activation over the input, from −3 to 2. ReLU is 0 below 0 and the input above. "
    "Squared ReLU is 0 below 0 and rises faster and faster. GELU and SiLU follow ReLU from afar, but dip a "
    "little below 0 on the left, SiLU deeper and farther.",
    ko="−3부터 2까지의 입력과 활성화 함수의 곡선 네 개. ReLU는 음수에서 0이고 양수에서 입력 그대로입니다. "
    "제곱 ReLU는 음수에서 0이고 양수에서 점점 더 가파르게 커집니다. GELU와 SiLU는 멀리서 보면 ReLU와 같지만, "
    "왼쪽에서 0보다 조금 내려갑니다. SiLU가 더 깊이, 더 멀리까지 내려갑니다.",
    size=(5.5, 3.2),
):
    x = torch.linspace(-3, 2, 201)
    for color, name, label in (
        (COLORS[0], "relu", "ReLU"),
        (COLORS[4], "relu_squared", page.text(en="squared ReLU", ko="제곱 ReLU")),
        (COLORS[1], "gelu", "GELU"),
        (COLORS[2], "silu", "SiLU"),
    ):
        page.axes.plot(x, ACTIVATIONS[name](x), color=color, label=label)
    page.axes.set_ylim(-0.5, 2.5)
    page.axes.set_xlabel(page.text(en="input", ko="입력"))
    page.axes.set_ylabel(page.text(en="output", ko="출력"))
    page.axes.legend(loc="upper left", fontsize=11)

# %% name="limit"
torch.manual_seed(0)
free = FeedForward(FeedForwardConfig(32, "gelu_sigmoid"), d_model=16)
limited = FeedForward(FeedForwardConfig(32, "gelu_sigmoid", limit=7.0, up_offset=1.0), d_model=16)
limited.load_state_dict(free.state_dict())
seen = {}
for name, layer in (("free", free), ("limited", limited)):
    layer.sites["hidden"].register_forward_hook(
        lambda site, _, hidden, name=name: seen.update({name: hidden})
    )
one_token = torch.randn(1, 1, 16)
for times in (1, 10, 100):
    free(times * one_token), limited(times * one_token)
    largest = {name: hidden.abs().max().item() for name, hidden in seen.items()}
    print(f"input × {times:<4} greatest: free {largest['free']:9.2f}   limited {largest['limited']:6.2f}")
assert largest["limited"] <= 7 * (7 + 1) < largest["free"]

# %% [markdown] lang="ko"
# ## 누가 답을 쓰는가
# 마지막 잔차 흐름은 임베딩과 각 층이 더한 것의 합입니다.
# 그래서 정답 로짓이 다른 답의 평균보다 앞서는 만큼도 층마다 나눌 수 있습니다.
# %% [markdown] lang="en"
# ## Who writes the answer
# The last stream is the sum of the embedding and of what each layer adds.
# So the lead of the right answer's logit over the mean of the other answers' splits into one part for each.

# %% name="questions"
facts = {language: world.fact_probes(language)[::2] for language in languages}
for language in languages:
    probe = facts[language][0]
    print(f"{len(facts[language])} questions: {probe.prefix} →{probe.right}")


def prepare(probe):
    """The ids of a question with its answer, and at which places the model must say which token."""
    prefix, answer = [end, *tokenizer.encode(probe.prefix)], tokenizer.encode(probe.right)
    rivals = [tokenizer.encode(word) for word in probe.wrong]
    deciding = []  # the place, the right token, and the tokens of the other answers that part there
    for place, token_id in enumerate(answer):
        others = {rival[place] for rival in rivals if answer[:place] == rival[:place]} - {token_id}
        if others:
            deciding.append((len(prefix) - 1 + place, token_id, sorted(others)))
    return prefix + answer, deciding


asked = {language: [prepare(probe) for probe in facts[language]] for language in languages}

# %% name="writes"
layers = [f"blocks.{number}.{part}" for number in range(n_blocks) for part in ("attention", "feedforward")]
written = {}
for language in languages:
    rows = []
    for ids, deciding in asked[language]:
        place, token_id, others = deciding[0]
        seen = llmref.trace(model, ids[: place + 1])
        with torch.no_grad():
            stream = seen[f"blocks.{n_blocks - 1}.output"][0, -1]
            added = torch.stack(
                [seen[name][0, -1] for name in ["embedding", *(f"{x}.output" for x in layers)]]
            )
            eps = model.config.norm.eps
            scale = (
                model.final_norm.weight / (stream.pow(2).mean() + eps).sqrt()
            )  # the final norm, held fixed
            rows.append(
                (added * scale) @ (model.lm_head.weight[token_id] - model.lm_head.weight[others].mean(0))
            )
        logits = seen["logits"][0, -1]
        lead = logits[token_id] - logits[others].mean()
        assert abs(rows[-1].sum() - lead) < 1e-3  # the parts make up the whole lead
    written[language] = torch.stack(rows).mean(dim=0)
    by_part = written[language][1:].view(n_blocks, 2).sum(dim=0)
    total = written[language].sum()
    print(f"{language}: lead {total:.1f}; feedforward writes {by_part[1]:.1f} of it", end=" ")
    print(f"({100 * by_part[1] / total:.0f}%), attention {by_part[0]:.1f}")
    last_two = written[language][-4:].view(2, 2)[:, 1].sum()
    assert by_part[1] > total / 2 and last_two > by_part[1] / 2

# %% name="writes-figure"
from figures import COLORS, figure

for page in figure(
    "writes",
    en="Bars for the embedding, attention and feedforward of blocks 0 to 4: how much each adds to the lead "
    "of the right fact. The last feedforward adds most, and feedforward together more than half.",
    ko="임베딩, 그리고 0번부터 4번 블록까지 어텐션과 피드포워드의 막대. "
    "정답이 앞서는 데 각각 얼마나 보탰는지 나타냅니다. "
    "마지막 피드포워드가 가장 많이 보태고, 피드포워드를 모두 합치면 절반이 넘습니다.",
    size=(5, 4.2),
):
    names = (page.text(en="attention", ko="어텐션"), page.text(en="feedforward", ko="피드포워드"))
    labels = [page.text(en="embedding", ko="임베딩")]
    labels += [f"{names[half]} {number}" for number in range(n_blocks) for half in (0, 1)]
    lead = written[page.language].tolist()
    page.axes.barh(range(len(labels)), lead, color=[COLORS[2], *COLORS[:2] * n_blocks])
    for row, number in enumerate(lead):
        page.axes.text(max(number, 0) + 0.08, row, f"{round(number, 1) + 0.0:.1f}", va="center", fontsize=11)
    page.axes.set_yticks(range(len(labels)), labels)
    page.axes.set_ylim(len(labels) - 0.4, -0.6)
    page.axes.set_xlim(min(0, *lead), max(lead) + 0.8)
    page.axes.tick_params(axis="y", length=0)
    page.axes.set_xlabel(page.text(en="adds to the lead of the right answer", ko="정답의 앞섬에 보탠 양"))

# %% [markdown] lang="ko"
# ## 끄면 사실을 잊는가
# %% [markdown] lang="en"
# ## Are the facts lost without it?


# %% name="recall"
def share(count, number):
    """A share in percent with its 95% interval (Wilson)."""
    p, z = count / number, 1.96
    middle = (p + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * (p * (1 - p) / number + z * z / (4 * number**2)) ** 0.5
    return 100 * p, max(100 * (middle - half), 0.0), min(100 * (middle + half), 100.0)


def right(prepared, cuts=()):
    """The share of questions where the likeliest token of the whole vocabulary is the right one."""
    prepared, count = sorted(prepared, key=lambda question: len(question[0])), 0
    with llmref.cutting(model, [llmref.Cut(name) for name in cuts]), torch.inference_mode():
        for start in range(0, len(prepared), 50):
            some = prepared[start : start + 50]
            longest = max(len(ids) for ids, _ in some)
            padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in some])
            hidden = model.hidden_states(padded, llmref.sequential_positions(padded))
            for row, (_, deciding) in enumerate(some):
                likeliest = model.lm_head(hidden[row, [place for place, _, _ in deciding]]).argmax(dim=-1)
                count += likeliest.tolist() == [token_id for _, token_id, _ in deciding]
    return share(count, len(prepared))


def show(found):
    return "{:.0f}% ({:.0f}–{:.0f})".format(*found)


rows = {f"block {number}": [number] for number in range(n_blocks)}
rows |= {"blocks 1 to 4": [1, 2, 3, 4], "all blocks": list(range(n_blocks))}
recall = {"nothing": right(asked["en"] + asked["ko"])}
print(f"nothing cut:{show(recall['nothing']):>20}")
print(f"{'cut in':16}{'feedforward':>16}{'attention':>18}")
for name, numbers in rows.items():
    for kind in ("feedforward", "attention"):
        cuts = [f"blocks.{number}.{kind}" for number in numbers]
        recall[name, kind] = right(asked["en"] + asked["ko"], cuts)
    print(f"{name:16}{show(recall[name, 'feedforward']):>16}{show(recall[name, 'attention']):>18}")
assert recall["nothing"][1] > 95
assert recall["blocks 1 to 4", "feedforward"][2] < 50 and recall["all blocks", "feedforward"][2] < 10
assert recall["block 0", "feedforward"][2] < recall["block 0", "attention"][1]

# %% [markdown] lang="ko"
# ## 본 적 없는 조합
# 훈련에서 두 동물이 이 역할로 함께 나온 적 없는 문장과, 나온 적 있는 문장을 나란히 물어봅니다.
# %% [markdown] lang="en"
# ## Combinations never seen
# Sentences whose two animals met in these roles in training, and sentences whose animals never did.

# %% name="sentences"
from llmref.corpus.probes import Probe
from llmref.corpus.references import reference_lines
from llmref.corpus.words import ANIMALS, with_particle
from llmref.corpus.world import held_out


class Noun(str):
    """A noun that a template asks for with a particle: {a:가}."""

    def __format__(self, particle):
        return with_particle(self, particle) if particle else str(self)


def sentences(language, never_seen, count=150):
    """Questions about who "it" is, drawn from all pairs of animals of the kind asked for."""
    numbers = range(len(ANIMALS))
    pairs = [(a, b) for a in numbers for b in numbers if a != b and held_out(a, b) == never_seen]
    every = [(line, pair) for _, line in reference_lines(language) for pair in pairs]
    for line, pair in random.Random(0).sample(every, count):
        start, _, slot = line.rpartition(" {")  # slot: "a}." or "b:였습니다}."
        a, b = (Noun(ANIMALS[number].form(language, "")) for number in pair)
        nouns, other = {"a": a, "b": b}, "b" if slot[0] == "a" else "a"
        answer, wrong = (f" {{{letter}{slot[1:]}".format(**nouns) for letter in (slot[0], other))
        yield Probe("reference", language, start.format(**nouns), answer, (wrong,))


kinds = {"met in training": False, "never met": True}
pairs = {
    (language, kind): list(map(prepare, sentences(language, never)))
    for language in languages
    for kind, never in kinds.items()
}
ordered = [(a, b) for a in range(len(ANIMALS)) for b in range(len(ANIMALS)) if a != b]
print(f"{sum(held_out(a, b) for a, b in ordered)} of {len(ordered)} pairs never met")
for language in languages:
    probe = next(sentences(language, never_seen=True))
    print(f"{probe.prefix} →{probe.right}")

# %% name="combinations"
late = [f"blocks.{number}.feedforward" for number in range(1, n_blocks)]
settings = {"nothing": [], "feedforward 4": late[-1:], "feedforward 1 to 4": late}
found = {}
print(f"{'cut':20}{'':4}{'met in training':>18}{'never met':>18}")
for name, cuts in settings.items():
    for language in languages:
        for kind in kinds:
            found[name, language, kind] = right(pairs[language, kind], cuts)
        columns = "".join(f"{show(found[name, language, kind]):>18}" for kind in kinds)
        print(f"{name:20}{language:4}{columns}")
for language in languages:
    for kind in kinds:
        assert found["nothing", language, kind][1] > 95
        assert found["feedforward 1 to 4", language, kind][2] < 90


# %% name="pair-chance"
def chance(text, words):
    """The probability of each word after a text, in the model."""
    chances = []
    for word in words:
        start = [end, *tokenizer.encode(text)]
        ids = torch.tensor([start + tokenizer.encode(word)])
        with torch.inference_mode():
            logs = model(ids, llmref.sequential_positions(ids))[0].log_softmax(dim=-1)
        chances.append(sum(logs[at - 1, ids[0, at]] for at in range(len(start), ids.shape[1])).exp().item())
    return chances


starts = {"en": "The {a} chased the", "ko": "{a:가}"}
for language in languages:
    seconds = [" " + (with_particle(word.ko, "를") if language == "ko" else word.en) for word in ANIMALS]
    together, apart = [], []
    for first, word in enumerate(ANIMALS):
        chances = chance(starts[language].format(a=Noun(word.form(language, ""))), seconds)
        for second, one in enumerate(chances):
            if second != first:
                (apart if held_out(first, second) else together).append(one)
    print(f"{language}: chance of a partner that it met {100 * sum(together) / len(together):.1f}%", end=", ")
    print(f"of one that it never met {100 * sum(apart) / len(apart):.1f}%")
    ratio = (sum(apart) / len(apart)) / (sum(together) / len(together))
    assert ratio < {"en": 1, "ko": 0.25}[language]

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="streams"
from llmref.corpus.facts import HEROES


def recall_without(language, which):
    """Recall when feedforward 1 to 4 is cut in the streams of the name only, or in the later ones only."""
    count = 0
    for probe, (ids, deciding) in zip(facts[language], asked[language], strict=True):
        hero = next(hero for hero in HEROES if probe.name.startswith(hero.name.en.lower() + "-"))
        stop = 1 + len(tokenizer.encode(hero.name.form(language, "")))
        cut = slice(1, stop) if which == "name" else slice(stop, None)

        def silence(module, inputs, output, cut=cut):
            output = output.clone()
            output[:, cut] = 0
            return output

        sites = [block.feedforward.sites["output"] for block in model.blocks[1:]]
        hooks = [site.register_forward_hook(silence) for site in sites]
        tokens = torch.tensor([ids])
        with torch.inference_mode():
            likeliest = model(tokens, llmref.sequential_positions(tokens))[0].argmax(dim=-1)
        for hook in hooks:
            hook.remove()
        count += all(likeliest[place] == token_id for place, token_id, _ in deciding)
    return share(count, len(asked[language]))


for language in languages:
    in_name, later = (recall_without(language, which) for which in ("name", "later"))
    print(f"{language}: cut in the name {show(in_name)}, after the name {show(later)}")
    assert later[2] < in_name[1]

# %% name="stranger"
for known, unknown in (
    ("Minji lives in the", "Mina lives in the"),
    ("민지가 사는 곳은", "미나가 사는 곳은"),
):
    for text in (known, unknown):
        ids = torch.tensor([[end, *tokenizer.encode(text)]])
        with torch.inference_mode():
            chances = model(ids, llmref.sequential_positions(ids))[0, -1].softmax(dim=-1)
        best = chances.topk(3)
        shown = [
            f"{tokenizer.decode([i]).strip()} {p:.0%}"
            for p, i in zip(*map(torch.Tensor.tolist, best), strict=True)
        ]
        print(f"{text} … {', '.join(shown)}")
