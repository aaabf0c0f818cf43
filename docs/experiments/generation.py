# %% [markdown] lang="ko"
# # 한 번에 토큰 하나
# 모델이 글을 쓰는 반복문을 직접 만들어 돌리고, 정방향 계산의 횟수를 세고, 글이 어디에서 끝나는지 봅니다.
# %% [markdown] lang="en"
# # One token at a time
# The loop that writes a text, written by hand; the forward passes counted; and where a text ends.

# %% name="load"
import torch

import llmref
from llmref.generation import generate_naive

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
prompts = {"ko": "옛날에", "en": "Once upon a time"}


def prompt_ids(text):
    return [model.config.bos_id, *tokenizer.encode(text)]


# %% [markdown] lang="ko"
# ## 한 단계
# 모든 토큰의 확률을 얻고, 하나를 고르고, 뒤에 붙입니다.
# %% [markdown] lang="en"
# ## One step
# Get a probability for every token, choose one, append it.


# %% name="step"
@torch.inference_mode()
def next_probabilities(ids):
    """The probability of every token of the vocabulary to be the next one."""
    tokens = torch.tensor([ids])
    logits = model(tokens, llmref.sequential_positions(tokens))
    return logits[0, -1].softmax(dim=-1)


def write(ids, new_tokens, show=False):
    """The loop: predict, choose the likeliest, append, and again."""
    ids = list(ids)
    for step in range(new_tokens):
        probabilities = next_probabilities(ids)
        chosen = int(probabilities.argmax())
        if show:
            piece = tokenizer.pieces([chosen])[0]
            read = len(ids)
            print(
                f"pass {step + 1}: reads {read:>2} ids, "
                f"chooses {chosen:>4} {piece!r}, p = {probabilities[chosen]:.2f}"
            )
        ids.append(chosen)
    return ids


# %% name="steps-ko"
print(f"{prompts['ko']!r} is {prompt_ids(prompts['ko'])}")
written = write(prompt_ids(prompts["ko"]), new_tokens=8, show=True)
print(tokenizer.decode(written[1:]))

# %% name="steps-en"
print(f"{prompts['en']!r} is {prompt_ids(prompts['en'])}")
written = write(prompt_ids(prompts["en"]), new_tokens=8, show=True)
print(tokenizer.decode(written[1:]))

# %% name="steps-figure"
from figures import COLORS, figure

beginnings = {
    "ko": "옛날에 민지라는 아이가 숲에 살았습니다.",
    "en": "Once upon a time, a child named Minji lived in the forest.",
}
for page in figure(
    "steps",
    en="Three passes of one generation, each as up to five bars: the "
    "likeliest next tokens and their probabilities. "
    "The likeliest token of a pass, in another colour, stands at the end of the text above the next one.",
    ko="글 하나를 이어 쓰는 정방향 계산 세 번을 각각 많으면 막대 다섯 개로 그렸습니다. "
    "막대는 확률이 높은 다음 토큰과 그 확률입니다. "
    "색이 다른 막대가 확률이 가장 높은 토큰이며, 이 토큰은 다음 그래프 위의 글 끝에 붙습니다.",
    size=(6, 6.6),
    subplots=(3, 1),
):
    beginning = beginnings[page.language]
    ids = prompt_ids(beginning)
    for axes in page.axes:
        probabilities = next_probabilities(ids)
        values, candidates = (top.tolist() for top in probabilities.topk(5))
        values = [value for value in values if value > 0.01]  # the others would be bars too thin to see
        axes.barh(range(len(values)), values, color=[COLORS[1], *[COLORS[0]] * 4][: len(values)])
        labels = [tokenizer.decode([candidate]).strip() for candidate in candidates]
        axes.set_yticks(range(len(values)), labels[: len(values)])
        axes.set_ylim(4.5, -0.5)
        axes.set_xlim(0, 1.1)
        axes.set_title(f"… {tokenizer.decode(ids[1:])[-len(beginning) // 2 :].strip()} ___", loc="left")
        for row, value in enumerate(values):
            axes.text(value + 0.01, row, f"{value:.2f}", va="center")
        ids.append(candidates[0])
    page.axes[-1].set_xlabel(page.text(en="probability of being the next token", ko="다음 토큰일 확률"))

# %% [markdown] lang="ko"
# ## 직접 만든 반복문과 `generate_ids`
# %% [markdown] lang="en"
# ## The loop by hand, and `generate_ids`

# %% name="same"
greedy = llmref.strategy(temperature=0)
for prompt in prompts.values():
    ids = prompt_ids(prompt)
    by_hand = write(ids, new_tokens=24)[len(ids) :]
    by_package = list(llmref.generate_ids(model, ids, greedy, max_new_tokens=24))
    same = by_hand == by_package == generate_naive(model, ids, 24)
    print(f"{prompt}: 24 new tokens, the same three times: {same}")
    assert same

# %% [markdown] lang="ko"
# ## 토큰 하나에 정방향 계산 한 번
# %% [markdown] lang="en"
# ## One forward pass for each token


# %% name="count"
def passes_for(prompt, max_new_tokens):
    """How many new tokens came, and how many forward passes were made for them."""
    passes = []
    counting = model.final_norm.register_forward_hook(lambda *_: passes.append(1))
    new_ids = list(llmref.generate_ids(model, prompt_ids(prompt), greedy, max_new_tokens))
    counting.remove()
    return len(new_ids), len(passes)


for prompt in prompts.values():
    for max_new_tokens in (1, 5, 20):
        new_tokens, passes = passes_for(prompt, max_new_tokens)
        print(f"{prompt}: {new_tokens:>2} new tokens, {passes:>2} forward passes")
        assert new_tokens == passes == max_new_tokens

# %% [markdown] lang="ko"
# ## 글이 끝나는 곳
# %% [markdown] lang="en"
# ## Where a text ends

# %% name="end"
for prompt in prompts.values():
    new_tokens, passes = passes_for(prompt, max_new_tokens=200)
    print(f"{prompt}: stopped by itself after {new_tokens} new tokens and {passes} forward passes")
    assert passes == new_tokens + 1

# %% name="stories"
for prompt in prompts.values():
    print(prompt + llmref.generate(model, tokenizer, prompt, max_new_tokens=200, temperature=0.8, seed=3))
    print()

# %% [markdown] lang="ko"
# ## 고르는 일은 예측하는 일과 다르다
# %% [markdown] lang="en"
# ## Choosing is not predicting

# %% name="seeds"
for temperature in (0, 1):
    texts = {
        llmref.generate(
            model, tokenizer, prompts["en"], max_new_tokens=24, temperature=temperature, seed=seed
        )
        for seed in range(10)
    }
    print(f"temperature {temperature}: 10 runs gave {len(texts)} different texts")
    assert (len(texts) == 1) == (temperature == 0)

# %% name="alone"
ids = prompt_ids(prompts["en"])
last_only = ids[-1:]  # each pass reads the newest token and nothing before it
for _ in range(8):
    last_only.append(int(next_probabilities(last_only[-1:]).argmax()))
everything = write(ids, new_tokens=8)
print("reading everything:", tokenizer.decode(everything[1:]))
print("reading one token: ", tokenizer.decode(ids[1:-1] + last_only))
assert everything[len(ids) :] != last_only[1:]
