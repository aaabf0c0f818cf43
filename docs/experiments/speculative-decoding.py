# %% [markdown] lang="ko"
# # 추측 디코딩
# 같은 글을 큰 모델의 계산을 줄여서 씁니다. 받아들인 비율, 계산 횟수, 쓴 토큰의 분포를 잽니다.
# %% [markdown] lang="en"
# # Speculative decoding
# The same text in fewer passes of the big model: what is accepted, how many passes, and which tokens come.

# %% name="load"
import textwrap
import time
from collections import Counter, defaultdict
from dataclasses import replace

import torch

import llmref
from llmref.corpus import World
from llmref.decoding import draw, uniforms
from llmref.generation import DraftModel, PromptLookup, Proposal, SpeculationReport, accept, speculate
from llmref.twins import load_twin

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
greedy, sampling = llmref.strategy(temperature=0), llmref.strategy(temperature=1)
prompts = {"ko": "옛날에 민지라는", "en": "Once upon a time, a"}


def prompt_ids(text):
    return llmref.prompt_ids(model, tokenizer, text)


# %% [markdown] lang="ko"
# ## 초안을 쓰는 것들
# %% [markdown] lang="en"
# ## Who drafts


# %% name="counted"
class CountedDraft:
    """No network at all: which token followed the last few ones most often, in some documents."""

    vocab_size = model.config.vocab_size

    def __init__(self, longest, documents):
        self.longest, self.followers = longest, defaultdict(Counter)
        for ids in documents:
            for place in range(1, len(ids)):
                for length in range(min(longest, place) + 1):
                    self.followers[tuple(ids[place - length : place])][ids[place]] += 1

    def logits(self, ids):
        """The logarithm of the counts, after as many of the last tokens as it has ever met."""
        met = (tuple(ids[len(ids) - length :]) for length in range(self.longest, -1, -1))
        counts = next(self.followers[last] for last in met if last in self.followers)
        row = torch.full((1, self.vocab_size), -torch.inf)
        row[0, list(counts)] = torch.tensor(list(counts.values())).float().log()
        return row

    def propose(self, ids, prompt_length, strategy, uniforms):
        text, rows = list(ids), []
        for number in uniforms:
            rows.append(strategy.probabilities(self.logits(text), torch.tensor([text]), prompt_length))
            text.append(int(draw(rows[-1], number[None])))
        return Proposal(text[len(ids) :], torch.cat(rows) if rows else None)


# %% name="drafts"
begin, end = model.config.bos_id, model.config.eos_id
documents = [[begin, *tokenizer.encode(text), end] for text in World().documents(2000, seed=123)]
first_blocks = llmref.Transformer(replace(model.config, blocks=model.config.blocks[:4]))
first_blocks.load_state_dict(model.state_dict(), strict=False)  # the fifth block's weights are left out
twin = load_twin("experts")
drafts = {
    "counted pairs": CountedDraft(1, documents),
    "counted fours": CountedDraft(3, documents),
    "trained twin": DraftModel(twin),
    "first 4 blocks": DraftModel(first_blocks),
    "prompt look-up": PromptLookup(),
}
print(f"the model: {model.n_parameters:,} parameters, {len(model.blocks)} blocks")
print(f"the twin:  {twin.n_parameters:,} parameters, trained on short documents only")
print(f"the counts are of {len(documents):,} documents, {sum(map(len, documents)):,} tokens")

# %% [markdown] lang="ko"
# ## 같은 글, 더 적은 계산
# %% [markdown] lang="en"
# ## The same text, fewer passes

# %% name="same-text"
plain = {
    name: list(llmref.generate_ids(model, prompt_ids(text), greedy, 80)) for name, text in prompts.items()
}
print(tokenizer.decode(prompt_ids(prompts["en"])[1:] + plain["en"][:11]), "…")
tokens = sum(map(len, plain.values()))
print(f"\n{tokens} greedy tokens (ko + en), 4 drafted for each pass")
print(f"{'draft':15}  same text  passes  drafted  checked  accepted  rate")
for name, draft in drafts.items():
    report, same = SpeculationReport(), True
    for language, text in prompts.items():
        found = speculate(model, prompt_ids(text), greedy, 80, draft=draft, report=report)
        same &= list(found) == plain[language]
    print(
        f"{name:15}  {same!s:9}  {report.passes:6}  {report.drafted:7}  {report.checked:7}"
        f"  {report.accepted:8}  {report.acceptance_rate:4.0%}"
    )
    assert same
    assert report.passes + report.accepted == tokens  # each pass adds one token of the model's own
    assert report.passes <= tokens

# %% name="passes"


class Watched:
    """A draft that notes what it proposes, and after how many tokens."""

    def __init__(self, draft):
        self.draft, self.vocab_size, self.noted = draft, draft.vocab_size, []

    def propose(self, ids, *rest):
        proposal = self.draft.propose(ids, *rest)
        self.noted.append((len(ids), proposal.ids))
        return proposal


timelines = {}
for language, prompt in prompts.items():
    ids, watched = prompt_ids(prompt), Watched(drafts["counted fours"])
    new = list(speculate(model, ids, greedy, 26, draft=watched))
    timelines[language] = [(start - len(ids), drafted) for start, drafted in watched.noted], new
    print(f"{prompt} …: {len(new)} new tokens, {len(watched.noted)} passes")
    assert len(watched.noted) < len(new)

# %% name="passes-figure"
from figures import COLORS, figure
from matplotlib.patches import Rectangle

for page in figure(
    "passes",
    en="A grid, one row per pass of the model, one column per new token. Each row has up to four blue "
    "squares, the accepted tokens of the draft, then one orange square, the model's own token. In some rows "
    "the orange square bears a cross, and empty squares follow it. The rows go down like wide stairs.",
    ko="격자입니다. 행은 모델의 계산 한 번, 열은 새 토큰 하나입니다. 행마다 받아들인 초안 토큰이 "
    "파란 칸으로 네 개까지 있고, 이어서 모델이 직접 고른 토큰이 주황색 칸으로 하나 있습니다. "
    "어떤 행에서는 주황색 칸에 가위표가 있고 뒤에 빈칸이 이어집니다. 폭이 넓은 계단 모양입니다.",
    size=(7, 4.6),
):
    noted, new = timelines[page.language]
    axes, width = page.axes, len(new)

    def square(place, row, color, filled, axes=axes):
        axes.add_patch(
            Rectangle(
                (place + 0.08, row + 0.1),
                0.84,
                0.8,
                linewidth=1,
                edgecolor=color,
                facecolor=color if filled else "none",
            )  # fmt: skip
        )

    for row, (start, drafted) in enumerate(noted):
        own = (noted[row + 1][0] if row + 1 < len(noted) else width) - 1  # where the model's own token stands
        for place in range(start, start + len(drafted)):
            if place != own:
                square(place, row, COLORS[0], place < own)
        square(own, row, COLORS[1], True)
        if own < start + len(drafted):  # a drafted token was refused there
            for ends in ([0.3, 0.7], [0.7, 0.3]):
                axes.plot([own + 0.3, own + 0.7], [row + end for end in ends], color="black", linewidth=1.2)
    names = [piece.strip() for piece in tokenizer.pieces(new)]
    axes.set_xlim(0, width)
    axes.set_ylim(len(noted), 0)
    axes.set_xticks([i + 0.5 for i in range(width)], names, rotation=60, ha="right", fontsize=10)
    axes.set_yticks([i + 0.5 for i in range(len(noted))], [str(i + 1) for i in range(len(noted))])
    axes.set_ylabel(page.text(en="pass", ko="계산"))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)

# %% [markdown] lang="ko"
# ## 한 걸음: 받아들이거나 바꾸거나
# %% [markdown] lang="en"
# ## One step: accept or replace

# %% name="step"


def shown(*rankings):
    """The first three tokens of each ranking that are whole characters."""
    found = []
    for ranking in rankings:
        found += [token for token in ranking[:50].tolist() if "\ufffd" not in tokenizer.decode([token])][:3]
    return list(dict.fromkeys(found))


steps = {}
for language, prompt in prompts.items():
    ids = torch.tensor([prompt_ids(prompt)])
    with torch.inference_mode():
        logits = model(ids, llmref.sequential_positions(ids))[:, -1]
    p = sampling.probabilities(logits)[0].double()
    q = sampling.probabilities(drafts["counted pairs"].logits(ids[0].tolist()))[0].double()
    p, q = p / p.sum(), q / q.sum()
    kept = torch.minimum(p, q)  # drafted with probability q, and kept with probability min(1, p / q)
    refused = 1 - kept.sum()
    replaced = refused * (p - q).clamp(min=0) / (p - q).clamp(min=0).sum()
    steps[language] = p, q
    print(f"{prompt} …")
    print("  p: model  q: draft     kept  replaced   written  token")
    for token in shown(p.argsort(descending=True), (q - p).argsort(descending=True)):
        numbers = [row[token] for row in (p, q, kept, replaced, kept + replaced)]
        print("".join(f"{number:10.3f}" for number in numbers), tokenizer.decode([token]))
    print(f"  all tokens: {kept.sum():.3f} kept + {replaced.sum():.3f} replaced")
    assert torch.allclose(kept + replaced, p, rtol=0, atol=1e-12)

# %% name="many-steps"
draws = 4000


def chi_square(counts, probabilities):
    """Pearson's test: how often chance alone gives counts as far from what was expected as these."""
    expected = probabilities * draws
    often = expected >= 5  # what is expected less often is counted as one outcome
    expected = torch.cat([expected[often], expected[~often].sum()[None]])
    counts = torch.cat([counts[often], counts[~often].sum()[None]]).double()
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = torch.tensor(len(expected) - 1, dtype=torch.float64)
    return torch.special.gammaincc(freedom / 2, statistic / 2).item()


written = {}
for language, (p, q) in steps.items():
    numbers = uniforms(1, 3 * draws).reshape(draws, 3)
    drafted = draw(q.expand(draws, -1), numbers[:, 0])
    tokens, kept = [], 0
    for token, decide in zip(drafted, numbers[:, 1:], strict=True):
        accepted, following = accept(torch.stack([p, p]), q[None], token[None], decide)
        tokens.append(int(token) if accepted else following)
        kept += accepted
    written[language] = torch.tensor(tokens).bincount(minlength=len(p))
    print(f"{prompts[language]} …: {draws:,} steps, {kept / draws:.1%} of the drafts kept")
    for name, row in (("p", p), ("q", q)):
        chance = chi_square(written[language], row)
        print(f"  do they fit {name}? chance alone goes as far in {chance:.1%} of such tests")
        assert (chance > 0.01) == (name == "p")

# %% name="step-figure"
for page in figure(
    "step",
    en="Bars for several tokens, three for each: what the draft expects, what the model expects, and what "
    "was written in 4,000 steps. The draft's bars differ from the model's; those of what was written are as "
    "high as the model's.",
    ko="토큰마다 막대가 세 개씩 있습니다. 초안의 예상, 모델의 예상, 4,000번 가운데 실제로 쓴 비율입니다. "
    "초안의 막대는 모델의 막대와 다르고, 실제로 쓴 비율의 막대는 모델의 막대와 높이가 같습니다.",
    size=(7, 3.4),
):
    p, q = steps[page.language]
    likely = shown(p.argsort(descending=True), (q - p).argsort(descending=True))
    labels = (
        (page.text(en="draft: q", ko="초안: q"), q, COLORS[0]),
        (page.text(en="model: p", ko="모델: p"), p, COLORS[2]),
        (page.text(en="written", ko="실제로 쓴 것"), written[page.language] / draws, COLORS[1]),
    )
    for place, (label, row, color) in enumerate(labels):
        heights = [float(row[token]) for token in likely]
        page.axes.bar(
            [i + (place - 1) * 0.27 for i in range(len(likely))], heights, 0.24, label=label, color=color
        )
    page.axes.set_xticks(range(len(likely)), [tokenizer.decode([token]).strip() for token in likely])
    page.axes.set_ylabel(page.text(en="probability", ko="확률"))
    page.axes.legend()

# %% [markdown] lang="ko"
# ## 몇 개씩 제안할까
# %% [markdown] lang="en"
# ## How many at a time

# %% name="by-length"
lengths, seeds, room = (1, 2, 4, 8), (1, 2, 3), 50


def expected_tokens(rate, draft_tokens):
    """Tokens for each pass, if every drafted token were accepted with the same probability."""
    return draft_tokens + 1 if rate == 1 else (1 - rate ** (draft_tokens + 1)) / (1 - rate)


measured = {}
print("temperature 1: tokens for each pass of the model")
print("draft           drafted  measured   three seeds  formula  rate  in vain")
for name in ("counted pairs", "counted fours", "first 4 blocks"):
    for count in lengths:
        reports = []
        for seed in seeds:
            reports.append(SpeculationReport())
            for text in prompts.values():
                settings = {"draft": drafts[name], "draft_tokens": count, "seed": seed, "report": reports[-1]}
                list(speculate(model, prompt_ids(text), sampling, room, **settings))
        total = SpeculationReport(
            *(sum(values) for values in zip(*(vars(r).values() for r in reports), strict=True))
        )
        each = [report.tokens_per_pass for report in reports]
        formula = expected_tokens(total.acceptance_rate, count)
        measured[name, count] = total, each, formula
        print(
            f"{name:15} {count:7} {total.tokens_per_pass:9.2f}  {min(each):.2f} to {max(each):.2f}"
            f" {formula:8.2f}  {total.acceptance_rate:4.0%}  {1 - total.accepted / total.drafted:7.0%}"
        )
        assert abs(total.tokens_per_pass - formula) < 0.2 * formula

# %% name="by-length-figure"
for page in figure(
    "by-length",
    en="Tokens for each pass of the model against the number of drafted tokens, for three drafts. All lines "
    "rise and flatten; with a higher acceptance rate they rise higher and flatten later. The measured points "
    "lie near the lines of the formula.",
    ko="가로축은 한 번에 제안하는 토큰 수, 세로축은 모델의 계산 한 번에 쓰는 토큰 수입니다. 초안 셋의 선이 "
    "모두 올라가다가 평평해지고, 받아들이는 비율이 높을수록 더 높이, 더 늦게까지 올라갑니다. "
    "잰 점들은 식의 선 가까이에 있습니다.",
):
    for color, name in zip(COLORS, dict.fromkeys(name for name, _ in measured), strict=False):
        rate = sum(measured[name, count][0].accepted for count in lengths) / sum(
            measured[name, count][0].checked for count in lengths
        )
        curve = [1 + step / 10 for step in range(71)]
        page.axes.plot(curve, [expected_tokens(rate, count) for count in curve], color=color, linewidth=1.5)
        page.axes.plot(
            lengths,
            [measured[name, count][0].tokens_per_pass for count in lengths],
            "o",
            color=color,
            label=f"{name}: {rate:.0%}",
        )
        for count in lengths:
            page.axes.plot([count] * 3, measured[name, count][1], "_", color=color, markersize=9)
    page.axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    page.axes.set_xlabel(page.text(en="tokens drafted for each pass", ko="한 번에 제안하는 토큰 수"))
    page.axes.set_ylabel(page.text(en="tokens for each pass", ko="계산 한 번에 쓰는 토큰"))
    page.axes.legend()

# %% [markdown] lang="ko"
# ## 프롬프트 찾기
# %% [markdown] lang="en"
# ## Prompt look-up

# %% name="look-up"
texts = {
    "a story": "Once upon a time, a",
    "a word list": "Here are some Korean words. The Korean word for rabbit is",
}
for kind, text in texts.items():
    ids, report = prompt_ids(text), SpeculationReport()
    plain_ids = list(llmref.generate_ids(model, ids, greedy, 40))
    found = list(speculate(model, ids, greedy, 40, draft=PromptLookup(), report=report))
    print(f"{kind}: {len(found)} tokens, {report.passes} passes, {report.acceptance_rate:.0%} accepted")
    assert found == plain_ids
print(textwrap.fill(tokenizer.decode(ids[1:] + found), 64))
assert report.passes < len(found)

# %% [markdown] lang="ko"
# ## 시간
# %% [markdown] lang="en"
# ## Time

# %% name="pass-time"
block = llmref.BlockConfig(
    llmref.AttentionConfig(n_heads=12, n_kv_heads=12, head_dim=64), llmref.FeedForwardConfig(d_ff=2048)
)
config = llmref.ModelConfig(vocab_size=2048, d_model=768, context_length=256, blocks=(block,) * 6)
larger = llmref.Transformer(config)  # untrained: its time does not depend on the values of its weights
read = torch.zeros(1, 64, dtype=torch.long)
sizes = (1, 2, 3, 5, 9, 17)
print("milliseconds of a pass over so many tokens, 64 in the cache; CPU, one thread")
print(f"{'parameters':>14}" + "".join(f"{size:8}" for size in sizes))
with torch.inference_mode():
    for timed in (model, larger):
        cache, times = llmref.GrowingCache(), []
        timed(read, llmref.sequential_positions(read), cache)
        for size in sizes:
            new, best = torch.zeros(1, size, dtype=torch.long), []
            for _ in range(7):
                start = time.perf_counter()
                timed(new, llmref.sequential_positions(new, 64), cache)
                best.append(time.perf_counter() - start)
                cache.crop(64)
            times.append(1000 * min(best))
        print(f"{timed.n_parameters:14,}" + "".join(f"{each:8.1f}" for each in times))

# %% name="time"
ids = prompt_ids(prompts["en"])
print("the tiny model, 50 tokens: milliseconds for each token, the fastest of three")


def fastest(run):
    """The fastest of three runs, in milliseconds for each token."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        count = len(list(run()))
        times.append(1000 * (time.perf_counter() - start) / count)
    return min(times)


print(f"  {'no draft':15} {fastest(lambda: llmref.generate_ids(model, ids, greedy, 50)):6.1f}")
for name, draft in drafts.items():
    print(f"  {name:15} {fastest(lambda draft=draft: speculate(model, ids, greedy, 50, draft=draft)):6.1f}")

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict


# %% name="nonsense"
class Nonsense:
    """A draft that always proposes the same four tokens."""

    vocab_size = None

    def propose(self, ids, prompt_length, strategy, uniforms):
        return Proposal([7, 7, 7, 7][: len(uniforms)])


for language, text in prompts.items():
    report = SpeculationReport()
    found = list(speculate(model, prompt_ids(text), greedy, 80, draft=Nonsense(), report=report))
    print(f"the same text: {found == plain[language]}, {report.passes} passes for {len(found)} tokens")
    assert found == plain[language] and report.passes == len(found)

# %% name="itself"
for text in prompts.values():
    report = SpeculationReport()
    found = list(speculate(model, prompt_ids(text), greedy, 80, draft=DraftModel(model), report=report))
    print(f"{report.acceptance_rate:.0%} accepted, {report.passes} passes for {len(found)} tokens")
    assert report.acceptance_rate == 1 and report.passes == -(-len(found) // 5)
