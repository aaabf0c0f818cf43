# %% [markdown] lang="ko"
# # 디코딩
# 같은 확률 분포에서 전략마다 다르게 고릅니다. 탐욕적 디코딩, 샘플링, 벌점, 빔 탐색을 차례로 시험합니다.
# %% [markdown] lang="en"
# # Decoding
# One distribution, and each strategy chooses from it in its own way: greedy, sampling, penalties, beams.

# %% name="load"
import math

import torch

import llmref
from llmref.corpus import World
from llmref.decoding import strategy
from llmref.generation import beam_search

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
world = World()
prompts = {"ko": "옛날에 민지라는", "en": "Once upon a time, a"}


def prompt_ids(text):
    return [model.config.bos_id, *tokenizer.encode(text)]


def next_logits(ids):
    """What the model predicts. Every strategy below gets the same numbers."""
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        return model(tokens, llmref.sequential_positions(tokens))[0, -1]


def label(ids, token):
    """A token as text, whole characters, and "…" where the word goes on."""
    tokens = [token]
    while True:
        following = int(next_logits(ids + tokens).argmax())
        if "\ufffd" not in tokenizer.decode(tokens):
            begin = tokenizer.decode([following])[:1]  # a new word begins with a space
            return tokenizer.decode(tokens).strip() + "…" * (begin.isalpha() or begin == "\ufffd")
        tokens.append(following)


# %% [markdown] lang="ko"
# ## 분포 하나, 전략 여럿
# %% [markdown] lang="en"
# ## One distribution, every strategy

# %% name="strategies"
strategies = {
    "as predicted": strategy(),
    "greedy": strategy(temperature=0),
    "temperature 0.5": strategy(temperature=0.5),
    "temperature 2": strategy(temperature=2),
    "top-k 3": strategy(top_k=3),
    "top-p 0.8": strategy(top_p=0.8),
    "min-p 0.1": strategy(min_p=0.1),
    "presence penalty 2": strategy(presence_penalty=2),
}


def after(language, chooser):
    """The distribution after the prompt, as a strategy changes it."""
    ids = prompt_ids(prompts[language])
    logits = next_logits(ids)
    so_far = torch.tensor([*ids, int(logits.argmax())])  # for penalties: as if the first choice was written
    return chooser.probabilities(logits, so_far, prompt_length=len(ids))


for language, prompt in prompts.items():
    predicted = next_logits(prompt_ids(prompt)).softmax(dim=-1)
    first = predicted.topk(3).indices
    print(f"{prompt} …: {', '.join(label(prompt_ids(prompt), token) for token in first.tolist())}")
    for name, chooser in strategies.items():
        found = after(language, chooser)
        chances = "  ".join(f"{chance:.3f}" for chance in found[first].tolist())
        print(f"  {name:<19} {chances}   tokens that can come {int((found > 0).sum()):>5}")
        assert abs(found.sum().item() - 1) < 1e-4
    # Choosing has changed nothing of what the model predicts.
    assert torch.equal(next_logits(prompt_ids(prompt)).softmax(dim=-1), predicted)

# %% name="strategies-figure"
from figures import COLORS, figure

names = {
    "as predicted": "예측 그대로",
    "greedy": "탐욕적",
    "temperature 0.5": "온도 0.5",
    "temperature 2": "온도 2",
    "top-k 3": "탑-k 3",
    "top-p 0.8": "탑-p 0.8",
    "min-p 0.1": "min-p 0.1",
    "presence penalty 2": "존재 벌점 2",
}
for page in figure(
    "strategies",
    en="Eight small bar charts of the same eight tokens. As predicted, one token has about half. Greedy "
    "keeps only that one; a low temperature makes it longer, a high one levels the bars; top-k, top-p and "
    "min-p cut off lower bars; the penalty shortens the first one.",
    ko="같은 토큰 여덟 개를 그린 막대그래프 여덟 개. 예측 그대로는 한 토큰이 절반쯤입니다. "
    "탐욕적 디코딩은 그 토큰만 남기고, 낮은 온도는 그 막대를 더 길게, 높은 온도는 막대를 고르게 만듭니다. "
    "탑-k, 탑-p, min-p는 아래쪽 막대를 잘라 내고, 벌점은 첫 막대를 줄입니다.",
    size=(6, 8.4),
    subplots=(4, 2),
):
    ids = prompt_ids(prompts[page.language])
    entries = next_logits(ids).topk(8).indices
    labels = [label(ids, entry) for entry in entries.tolist()]
    for place, (axes, (name, chooser)) in enumerate(zip(page.axes.flat, strategies.items(), strict=True)):
        axes.barh(range(8), after(page.language, chooser)[entries], color=COLORS[0 if place == 0 else 1])
        axes.set_ylim(7.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_yticks(range(8), labels if place % 2 == 0 else [""] * 8, fontsize=11)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.tick_params(axis="y", length=0)
        axes.set_title(page.text(en=name, ko=names[name]), loc="left")

# %% [markdown] lang="ko"
# ## 탐욕적 디코딩
# %% [markdown] lang="en"
# ## Greedy decoding

# %% name="limit"
for language, prompt in prompts.items():
    greedy = after(language, strategy(temperature=0))
    print(f"{prompt} …")
    for temperature in (1, 0.5, 0.2, 0.1, 0.05):
        found = after(language, strategy(temperature=temperature))
        most, rest = found.max().item(), found[greedy == 0].sum().item()
        print(f"  temperature {temperature:<5} likeliest {most:.6f}   all others {rest:.6f}")
    assert torch.allclose(found, greedy, atol=1e-4)

# %% name="ties"
logits = torch.zeros(1, tokenizer.vocab_size)
logits[0, [1900, 17, 1200]] = 5.0  # three equal maxima
for name, chooser in {"greedy": strategy(temperature=0), "top-k 1": strategy(top_k=1)}.items():
    chosen = chooser.choose(logits).item()
    print(f"{name}: of the ids 17, 1200 and 1900, all equally likely, it takes {chosen}")
    assert chosen == 17

# %% name="alike"
for prompt in prompts.values():
    runs = {
        tuple(llmref.generate_ids(model, prompt_ids(prompt), strategy(temperature=0), 6, seed=seed))
        for seed in range(100)
    }
    print(f"100 runs with 100 seeds gave {len(runs)} text: {prompt}{tokenizer.decode([*runs][0])} …")
    assert len(runs) == 1

# %% [markdown] lang="ko"
# ## 샘플링
# %% [markdown] lang="en"
# ## Sampling

# %% name="chi-square"
draws = 5000


def chi_square(counts, probabilities):
    """Pearson's test: how far counts are from what was expected, and how often chance alone goes as far."""
    expected = probabilities * draws
    often = expected >= 5  # what is expected less often is counted as one outcome
    expected = torch.cat([expected[often], expected[~often].sum()[None]]).double()
    counts = torch.cat([counts[often], counts[~often].sum()[None]]).double()
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = torch.tensor(len(expected) - 1, dtype=torch.float64)
    return statistic.item(), torch.special.gammaincc(freedom / 2, statistic / 2).item()


for prompt in prompts.values():
    logits = next_logits(prompt_ids(prompt))
    generator = torch.Generator().manual_seed(1)
    drawn = strategy().choose(logits.expand(draws, -1), generator).bincount(minlength=len(logits))
    print(f"{prompt} …: {draws:,} tokens drawn at temperature 1")
    for temperature in (1, 1.2):
        distance, p = chi_square(drawn, strategy(temperature).probabilities(logits))
        print(f"  beside the probabilities at {temperature:<4} chi-square {distance:6.1f}, p = {p:.3f}")
        assert (p > 0.01) == (temperature == 1)


# %% name="write-many"
def write_many(chooser, texts, seed):
    """So many texts at once, each from nothing but the token that begins every text."""
    generator = torch.Generator().manual_seed(seed)
    cache, written = llmref.GrowingCache(), [[] for _ in range(texts)]
    tokens = torch.full((texts, 1), model.config.bos_id)
    alive = torch.ones(texts, dtype=torch.bool)
    with torch.inference_mode():
        for place in range(128):
            hidden = model.hidden_states(tokens, torch.full((texts, 1), place), cache)
            chosen = chooser.choose(model.lm_head(hidden[:, -1]), generator)
            alive &= chosen != model.config.eos_id
            if not alive.any():
                break
            for row in alive.nonzero()[:, 0].tolist():
                written[row].append(int(chosen[row]))
            tokens = chosen[:, None]
    return [tokenizer.decode(ids) for ids in written]


# %% name="temperatures"
texts = 32


def share(count):
    """The share of the texts, with its 95% interval (Wilson)."""
    p, z = count / texts, 1.96
    middle = (p + z * z / (2 * texts)) / (1 + z * z / texts)
    half = z * math.sqrt(p * (1 - p) / texts + (z / (2 * texts)) ** 2) / (1 + z * z / texts)
    return p, max(0, middle - half), middle + half


def judge(chooser):
    """Different texts, different beginnings, and the share of texts that the world can tell."""
    written = write_many(chooser, texts, seed=1)
    beginnings = {" ".join(text.split()[:6]) for text in written}
    told = sum(world.log_probability(text) > -math.inf for text in written)
    return len(set(written)), len(beginnings), share(told)


def show(name, judged):
    different, beginnings, (p, low, high) = judged
    print(f"{name:<20}{different:>9}{beginnings:>12}{p:>11.0%} ({low:.0%} to {high:.0%})")


print(f"{f'{texts} texts':<20}different  beginnings  the world can tell")
by_temperature = {}
for temperature in (0, 0.3, 0.6, 1, 1.3, 1.6):
    by_temperature[temperature] = judge(strategy(temperature))
    show(f"temperature {temperature}", by_temperature[temperature])
different, beginnings, told = zip(*by_temperature.values(), strict=True)
assert different[0] == 1 and different[3] == texts
assert beginnings[0] < beginnings[1] < beginnings[3]
assert told[3][1] > told[5][2]  # the intervals at 1 and at 1.6 lie apart

# %% name="temperatures-figure"
from figures import figure

for page in figure(
    "temperatures",
    en="Against the temperature: the share of different beginnings climbs from nearly nothing at 0 towards "
    "all; the share of texts that the world can tell stays level up to about 1, and falls steeply beyond.",
    ko="온도에 따른 변화. 서로 다른 첫머리의 비율은 온도 0에서 거의 없다가 점점 전부에 가까워지고, "
    "세계에 있을 수 있는 글의 비율은 1쯤까지 비슷하다가 그 뒤로 가파르게 떨어집니다.",
    size=(5.6, 3.4),
):
    page.axes.plot(
        list(by_temperature),
        [count / texts for count in beginnings],
        marker="o",
        label=page.text(en="different beginnings", ko="서로 다른 첫머리"),
    )
    temperatures = list(by_temperature)[1:]  # at 0 all texts are one
    middle, low, high = (torch.tensor(column) for column in zip(*told[1:], strict=True))
    page.axes.errorbar(
        temperatures,
        middle,
        yerr=torch.stack([middle - low, high - middle]),
        marker="s",
        capsize=4,
        label=page.text(en="the world can tell", ko="세계에 있을 수 있는 글"),
    )
    page.axes.set_ylim(0, 1.05)
    page.axes.set_xlabel(page.text(en="temperature", ko="온도"))
    page.axes.set_ylabel(page.text(en="share of the texts", ko="글 가운데 비율"))
    page.axes.legend(loc="upper left", bbox_to_anchor=(0, 1.3), ncols=2)

# %% name="cutting"
hot = by_temperature[1.6]
show("temperature 1.6", hot)
cut = {
    "top-k 8": strategy(1.6, top_k=8),
    "top-p 0.9": strategy(1.6, top_p=0.9),
    "min-p 0.1": strategy(1.6, min_p=0.1),
}
for name, chooser in cut.items():
    judged = judge(chooser)
    show(f"  and {name}", judged)
# The last one, min-p: far more texts that the world can tell, and still no two alike.
assert judged[2][1] > hot[2][2] and judged[0] == texts

# %% name="fault"
(text,) = write_many(strategy(temperature=0), 1, seed=0)
ids = tokenizer.encode(text)
for place, true in enumerate(world.next_tokens(ids, tokenizer)):
    if place < len(ids) and ids[place] not in true:
        break
p = next_logits([model.config.bos_id, *ids[:place]]).softmax(dim=-1)
before, wrong = tokenizer.decode(ids[place - 6 : place]), tokenizer.decode([ids[place]])
print(f"the greedy text: …{before} >{wrong} <")
print(f"the model gives{wrong} {p[ids[place]]:.3f}, ", end="")
print(f"and the {len(true)} tokens that the world allows there {p[list(true)].sum():.3f} together")
assert place < len(ids) and p[ids[place]] < 0.5 < p[list(true)].sum()

# %% [markdown] lang="ko"
# ## 벌점
# %% [markdown] lang="en"
# ## Penalties

# %% name="penalties"
starts = {"ko": "옛날에", "en": "Once upon a time"}
penalties = {
    "no penalty": strategy(0),
    "repetition 1.1": strategy(0, repetition_penalty=1.1),
    "repetition 2": strategy(0, repetition_penalty=2),
    "frequency 1": strategy(0, frequency_penalty=1),
    "presence 1": strategy(0, presence_penalty=1),
}
for start in starts.values():
    print(f"{start} …, greedy")
    for name, chooser in penalties.items():
        written = list(llmref.generate_ids(model, prompt_ids(start), chooser, 120))
        again = 1 - len(set(written)) / len(written)
        told = world.log_probability(start + tokenizer.decode(written)) > -math.inf
        verdict = "the world can tell it" if told else "the world cannot tell it"
        print(f"  {name:<15} {again:.0%} of the tokens came before; {verdict}")
        if name == "no penalty":
            most = again
        assert again <= most
        assert told or name != "repetition 1.1"
        assert not told or name != "repetition 2"

# %% name="again"
stories = {
    "ko": "옛날에 민지라는 아이가 숲에 살았습니다. 어느 날 민지는 강으로 갔습니다. "
    "나무 아래에서 빨간 열쇠를 보았습니다. 민지는",
    "en": "Once upon a time, a child named Minji lived in the forest. One day, Minji went to the river. "
    "There she found a red key. She put the",
}
keys = {"ko": " 열쇠를", "en": " key"}
for language, story in stories.items():
    ids = prompt_ids(story)
    (key,) = tokenizer.encode(keys[language])
    logits, so_far = next_logits(ids), torch.tensor(ids)
    true = world.next_token(ids, tokenizer)[key]
    print(f"…{story.split('.')[-2]}.{story.split('.')[-1]} >{keys[language]} <")
    chances = []
    for penalty in (1, 1.2, 1.5, 2):
        chances.append(strategy(repetition_penalty=penalty).probabilities(logits, so_far)[key].item())
        print(f"  repetition penalty {penalty:<4} probability {chances[-1]:.3f}   true {true:.3f}")
    assert chances == sorted(chances, reverse=True) and chances[-1] < 0.5 * chances[0]

# %% [markdown] lang="ko"
# ## 빔 탐색
# %% [markdown] lang="en"
# ## Beam search

# %% name="beams"
for start in starts.values():
    greedy = list(llmref.generate_ids(model, prompt_ids(start), strategy(temperature=0), 12))
    found = {
        beams: beam_search(model, prompt_ids(start), beams, max_new_tokens=12)[0] for beams in (1, 4, 16)
    }
    for beams, best in found.items():
        p = math.exp(best.log_probability)
        print(f"beams {beams:>2}   p = {p:.4f}   {start}{tokenizer.decode(best.ids)} …")
    assert found[1].ids == greedy
    assert found[16].log_probability >= found[4].log_probability > found[1].log_probability

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="order"
logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()
for temperature in (0.5, 1, 2):
    kept = strategy(temperature, top_p=0.7).probabilities(logits)
    print(f"temperature {temperature:<4} top-p 0.7 keeps {int((kept > 0).sum())} of 4 tokens")

# %% name="one-left"
for prompt in prompts.values():
    logits = next_logits(prompt_ids(prompt))
    greedy = strategy(temperature=0).probabilities(logits)
    same = [
        torch.equal(strategy(2, **one).probabilities(logits), greedy) for one in ({"top_k": 1}, {"min_p": 1})
    ]
    print(f"{prompt} …: at temperature 2 top-k 1 is greedy: {same[0]}; min-p 1 is greedy: {same[1]}")
    assert all(same)

# %% [markdown] lang="ko"
# ## 실제 모델의 설정
# %% [markdown] lang="en"
# ## Settings of real models

# %% name="real-settings"
settings = {  # generation_config.json of each model on Hugging Face, November 2026
    "meta-llama/Llama-3.1-8B-Instruct": {"temperature": 0.6, "top_p": 0.9},
    "Qwen/Qwen2.5-7B-Instruct": {
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.8,
        "repetition_penalty": 1.05,
    },
    "Qwen/Qwen3-8B": {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
}
for name, values in settings.items():
    print(name, ", ".join(f"{key} {value}" for key, value in values.items()))
    left = [int((after(language, strategy(**values)) > 0).sum()) for language in prompts]
    print(f"  tokens left of the tiny model's {tokenizer.vocab_size:,} after the two prompts: {left}")
