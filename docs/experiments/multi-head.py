# %% [markdown] lang="ko"
# # 멀티 헤드 어텐션
# 헤드 두 개를 손으로 계산하고, 두 곳을 함께 보아야 하는 문제를 헤드 1, 2, 4, 8개로 훈련합니다.
# 그다음 작은 모델의 헤드를 하나씩 끕니다.
# %% [markdown] lang="en"
# # Multi-head attention
# Two heads by hand; then a task that needs two places at once, trained with 1, 2, 4 and 8 heads.
# Then the heads of the tiny model, cut one by one.

# %% name="load"
import math

import torch

import llmref
from llmref.attention import MultiHeadAttention
from llmref.config import AttentionConfig, RopeConfig

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()

# %% [markdown] lang="ko"
# ## 헤드 두 개, 행렬 하나하나
# %% [markdown] lang="en"
# ## Two heads, every matrix

# %% name="input"
words = ("dog 강아지", "squirrel 다람쥐", "it 그것")


def show(name, *matrices):
    """Prints matrices side by side, one for each head, with the word of each row."""
    print(f"{name}: " + " | ".join(" x ".join(map(str, matrix.shape)) for matrix in matrices))
    for number, word in enumerate(words):
        parts = (" ".join(f"{entry:5.2f}" for entry in matrix[number].tolist()) for matrix in matrices)
        print(" | ".join(parts), "  ", word)


x = torch.tensor(
    [  # dog, squirrel, chases, pronoun; who chased?, who was chased? (not known yet)
        [1.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
    ]
)
show("x", x)

# %% name="query"
n_heads, head_dim = 2, 2


def split(matrix):
    """The columns of each head."""
    return matrix.split(head_dim, dim=1)


nothing = [0.0, 0.0, 0.0, 0.0]
query_matrix = torch.tensor(  # asked for: animal, one that chases | animal, one that chases
    [nothing, nothing, nothing, [0.0, 4.0, 4.0, -4.0], nothing, nothing]
)
query = x @ query_matrix
show("query", *split(query))

# %% name="key"
key_matrix = torch.tensor(  # offered: animal, one that chases | animal, one that chases
    [[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], nothing, nothing, nothing]
)
key = x @ key_matrix
show("key", *split(key))

# %% name="value"
value_matrix = torch.tensor(  # passed on: dog, squirrel | dog, squirrel
    [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], nothing, nothing, nothing, nothing]
)
value = x @ value_matrix
show("value", *split(value))

# %% name="scores"
scores = [q @ k.T / math.sqrt(head_dim) for q, k in zip(split(query), split(key), strict=True)]
show("scores", *scores)

# %% name="weights"
later = torch.ones(3, 3, dtype=torch.bool).triu(diagonal=1)
weights = [s.masked_fill(later, -math.inf).softmax(dim=-1) for s in scores]
show("weights", *weights)
assert weights[0][2].argmax() == 0 and weights[1][2].argmax() == 1  # one head: the dog; one: the squirrel

# %% name="outputs"
outputs = [w @ v for w, v in zip(weights, split(value), strict=True)]
show("outputs", *outputs)

# %% name="join"
joined = torch.cat(outputs, dim=1)
show("joined", joined)

# %% name="project"
output_matrix = torch.tensor(
    [  # written to: dog, squirrel, chases, pronoun, who chased?, who was chased?
        [0.0, 0.0, 0.0, 0.0, 1.0, 0.0],  # head 0, dog
        [0.0, 0.0, 0.0, 0.0, -1.0, 0.0],  # head 0, squirrel
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],  # head 1, dog
        [0.0, 0.0, 0.0, 0.0, 0.0, -1.0],  # head 1, squirrel
    ]
)
output = joined @ output_matrix
show("output", output)

# %% name="add"
show("x + output", x + output)
assert output[2, 4] > 0.5 and output[2, 5] < -0.5  # "it" now knows both: a dog chased, a squirrel was chased

# %% name="package"
layer = MultiHeadAttention(AttentionConfig(n_heads=2, n_kv_heads=2, head_dim=2, rope=None), d_model=6)
matrices = {"query": query_matrix, "key": key_matrix, "value": value_matrix, "output": output_matrix}
with torch.no_grad():
    for name, matrix in matrices.items():
        getattr(layer, name).weight.copy_(matrix.T)
    found = layer(x[None], torch.arange(3)[None], ~later[None])[0]
assert torch.allclose(found, output, atol=1e-6)
print("by hand and by the package: the same matrix")

# %% [markdown] lang="ko"
# ## 예산은 같다
# %% [markdown] lang="en"
# ## The same budget

# %% name="budget"
d_model = 32
for n_heads in (1, 2, 4, 8):
    config = AttentionConfig(n_heads, n_kv_heads=n_heads, head_dim=d_model // n_heads)
    n_parameters = sum(parameter.numel() for parameter in MultiHeadAttention(config, d_model).parameters())
    print(f"heads: {n_heads}, head_dim: {config.head_dim:2}, parameters of the layer: {n_parameters:,}")
    assert n_parameters == 4 * d_model**2

# %% [markdown] lang="ko"
# ## 두 곳을 한꺼번에
# 토큰마다 1칸 앞과 3칸 앞의 토큰을 차례대로 맞힙니다.
# %% [markdown] lang="en"
# ## Two places at once
# At each token, name the token 1 back and the token 3 back, in this order.

# %% name="task"
vocabulary, tokens, rows = 16, 10, 64


def draw(back):
    """Random rows, and at each token the tokens that stand so many places back."""
    ids = torch.randint(vocabulary, (rows, tokens))
    longest = max(back)
    return ids, torch.stack([ids[:, longest - places : tokens - places] for places in back], dim=-1)


torch.manual_seed(0)
ids, answers = draw(back=(1, 3))
print("tokens: ", *ids[0].tolist())
print("answers:", *map(tuple, answers[0].tolist()), " from the fourth token on")

# %% name="train"
positions = torch.arange(tokens).expand(rows, tokens)
allowed = torch.ones(tokens, tokens, dtype=torch.bool).tril().expand(rows, tokens, tokens)


def learn(n_heads, seed, back=(1, 3), steps=250):
    """Trains one attention layer; how often it is right, for each place and for all of them at once."""
    torch.manual_seed(seed)
    config = AttentionConfig(
        n_heads, n_heads, d_model // n_heads, bias=True, rope=RopeConfig(base=100), output_bias=True
    )
    embedding = torch.nn.Embedding(vocabulary, d_model)
    attention = MultiHeadAttention(config, d_model)
    read_out = torch.nn.Linear(d_model, len(back) * vocabulary)
    parameters = [p for part in (embedding, attention, read_out) for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0)
    for step in range(steps + 1):
        ids, answers = draw(back)
        hidden = attention(embedding(ids), positions, allowed)
        logits = read_out(hidden)[:, max(back) :].unflatten(-1, (len(back), vocabulary))
        if step == steps:  # fresh rows: measure
            right = logits.argmax(dim=-1) == answers
            each = right.float().mean(dim=(0, 1)).mul(100).tolist()
            return each, 100 * right.all(dim=-1).float().mean().item()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 2), answers.flatten())
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


seeds, pairs = (0, 1, 2), {}
print("right, in percent   1 back   3 back     both   of 3 seeds")
for n_heads in (1, 2, 4, 8):
    runs = [learn(n_heads, seed) for seed in seeds]
    one, three = (sum(right) / 3 for right in zip(*(each for each, _ in runs), strict=True))
    both = pairs[n_heads] = [right for _, right in runs]
    print(f"heads: {n_heads}{one:18.0f}{three:9.0f}{sum(both) / 3:9.0f}{min(both):9.0f} to {max(both):.0f}")

assert max(pairs[1]) < 25  # one head cannot do it, whatever the seed,
assert min(min(pairs[n_heads]) for n_heads in (2, 4, 8)) > 95  # and two or more can

# %% name="train-figure"
from figures import COLORS, figure

for page in figure(
    "train",
    en="How often both tokens are right: one head hardly ever; two, four and eight heads nearly always. "
    "A dot for each seed.",
    ko="두 토큰을 다 맞힌 비율. 헤드 1개는 거의 못 맞히고, 2개, 4개, 8개는 거의 다 맞힙니다. "
    "점은 시드마다 하나입니다.",
    size=(5, 3),
):
    for place, (n_heads, both) in enumerate(pairs.items()):
        page.axes.bar(place, sum(both) / 3, color=COLORS[1] if n_heads == 1 else COLORS[0], alpha=0.6)
        page.axes.plot([place] * 3, both, "o", color="#000", markersize=4)
    page.axes.set_xticks(range(4), [str(n_heads) for n_heads in pairs])
    page.axes.set_yticks([0, 50, 100])
    page.axes.set_xlabel(page.text(en="heads, same number of parameters", ko="헤드 수(파라미터 수는 같음)"))
    page.axes.set_ylabel(page.text(en="both right (%)", ko="둘 다 맞힘(%)"))

# %% name="four-places"
for n_heads in (1, 2, 4):
    each, _ = learn(n_heads, seed=0, back=(1, 2, 3, 4))
    print(f"heads: {n_heads}, right at 1, 2, 3, 4 back: " + ", ".join(f"{right:3.0f}%" for right in each))

# %% [markdown] lang="ko"
# ## 모델 전체에서는
# 헤드 수만 다르고 나머지는 똑같은 작은 모델들입니다.
# %% [markdown] lang="en"
# ## In a whole model
# Small models that are alike but for the number of heads.

# %% name="twins"
from llmref.twins import comparison, spread

print("means of 3 seeds, in brackets the lowest and the highest")
print("heads  parameters   loss                     references right")
losses, right = [], []
for label, found in comparison("heads").items():
    losses.append(loss := spread(found, "loss"))
    right.append(references := spread(found, "references"))
    print(
        f"{label:>5}{found[0].parameters:12,}   {loss.mean:.4f} ({loss.low:.4f}, {loss.high:.4f})"
        f"{references.mean:6.0f}% ({references.low:.0f}%, {references.high:.0f}%)"
    )

means = [loss.mean for loss in losses]
assert max(means) / min(means) < 1.01  # the losses differ by less than 1%,
means = [references.mean for references in right]
assert max(found.high - found.low for found in right) > max(means) - min(means)  # references more by seed

# %% [markdown] lang="ko"
# ## 작은 모델의 헤드
# %% [markdown] lang="en"
# ## The tiny model's heads

# %% name="looks"
from llmref.corpus.grammar import split_units

sentences = {
    "en": "The dog chased the squirrel because it was hungry. The hungry one was the",
    "ko": "강아지가 다람쥐를 쫓아갔습니다. 그것이 배가 고팠기 때문입니다. 배가 고픈 쪽은",
}
n_blocks, n_heads = len(model.blocks), model.config.blocks[0].attention.n_heads


def by_word(text):
    """The words of a text, and what each head at its end takes from each: [words, blocks, heads]."""
    units = split_units(text)
    pieces = [[model.config.bos_id], *(tokenizer.encode(unit) for unit in units)]
    owner = torch.tensor([number for number, piece in enumerate(pieces) for _ in piece])
    seen = llmref.trace(model, sum(pieces, []))
    last = [seen[f"blocks.{block}.attention.weights"][0, :, -1] for block in range(n_blocks)]
    weights = torch.stack(last).permute(2, 0, 1)
    words = ["⊢", *(unit.strip() for unit in units)]
    return words, torch.zeros(len(words), n_blocks, n_heads).index_add(0, owner, weights)


looks, shown = {language: by_word(text) for language, text in sentences.items()}, {}
for language, (names, weights) in looks.items():
    strongest = weights.max(dim=0)
    shown[language] = int(weights.max(dim=2).values.sum(dim=0).argmax())  # heads sure, and of many words
    for block in range(n_blocks):
        parts = (
            f"{names[word]} {weight:.2f}"
            for word, weight in zip(strongest.indices[block], strongest.values[block].tolist(), strict=True)
        )
        print(f"{language} block {block}: " + ", ".join(parts))

# %% name="idea-figure"
from figures import figure, heatmap

for page in figure(
    "idea",
    en="Where the last word looks, in one block of the tiny model: a column for each of its 4 heads, a row "
    "for each word. No two columns are alike: the heads look at different words.",
    ko="마지막 단어가 보는 곳. 작은 모델의 한 블록에서 열은 헤드 4개, 행은 단어입니다. "
    "똑같은 열이 없습니다. 헤드마다 보는 단어가 다릅니다.",
    size=(5, 5.6),
):
    names, weights = looks[page.language]
    block = shown[page.language]
    heatmap(page.axes, weights[:, block], rows=names, columns=list("0123"), values=True, maximum=1)
    page.axes.set_xlabel(page.text(en=f"head of block {block}", ko=f"블록 {block}의 헤드"))

# %% name="looks-figure"
for page in figure(
    "looks",
    en="The same for all 20 heads of the tiny model, in groups of 4, one group for each block. "
    "Dark cells stand in many different rows: the heads look at different words.",
    ko="작은 모델의 헤드 20개를 모두 그렸습니다. 블록마다 4개씩 묶여 있습니다. "
    "진한 칸이 여러 행에 흩어져 있어, 헤드마다 보는 단어가 다릅니다.",
    size=(6, 5),
):
    names, weights = looks[page.language]
    heatmap(page.axes, weights.flatten(1), rows=names, maximum=1)
    for block in range(1, n_blocks):
        page.axes.axvline(n_heads * block, color="#000", linewidth=0.8)
    places = [n_heads * (block + 0.5) for block in range(n_blocks)]
    page.axes.set_xticks(places, [str(block) for block in range(n_blocks)])
    page.axes.set_xlabel(page.text(en="block, 4 heads each", ko="블록(헤드 4개씩)"))

# %% name="questions"
from llmref.corpus import World
from llmref.training import next_token_loss, pack

world, end = World(), model.config.eos_id


def short(probes, count):
    return [probe for probe in probes if len(tokenizer.encode(probe.prefix)) < 40][:count]


def batch_of(probes):
    """All questions at once: ids, and where each token of a right answer is predicted."""
    rows = [([end, *tokenizer.encode(probe.prefix)], tokenizer.encode(probe.right)) for probe in probes]
    ids = torch.full((len(rows), max(len(prefix) + len(right) for prefix, right in rows)), end)
    asked = torch.zeros_like(ids, dtype=torch.bool)
    for row, (prefix, right) in enumerate(rows):
        ids[row, : len(prefix) + len(right)] = torch.tensor(prefix + right)
        asked[row, len(prefix) - 1 : len(prefix) + len(right) - 1] = True
    return ids, asked


facts, references = [], []
for language in ("en", "ko"):
    facts += world.fact_probes(language)[::4]
    references += short(world.reference_probes(language, held_out=True, count=160), 30)
questions = [batch_of(facts), batch_of(references)]
texts = [tokenizer.encode(text) for text in world.documents(8, seed=4_000_000_000)]
documents = pack(texts, model.config.context_length, end, end)
for name, asked in (("facts", facts), ("references", references)):
    print(f"{len(asked)} questions about {name}. {asked[0].prefix} →{asked[0].right}")


# %% name="cuts"
def measure(cuts=()):
    """Facts and references right, in percent, and the loss in nats per token."""
    found = []
    with torch.inference_mode(), llmref.cutting(model, cuts):
        for ids, asked in questions:
            likeliest = model(ids, llmref.sequential_positions(ids)).argmax(dim=-1)
            right = (likeliest[:, :-1] == ids[:, 1:]) | ~asked[:, :-1]
            found.append(100 * right.all(dim=1).float().mean().item())
        return [*found, next_token_loss(model, documents).item()]


whole, broken = measure(), {}
print("head cut      facts   references     loss")
print(f"none        {whole[0]:5.0f}%{whole[1]:12.0f}%{whole[2]:9.3f}")
for block in range(n_blocks):
    for head in range(n_heads):
        broken[block, head] = measure([llmref.Cut(f"blocks.{block}.attention", head=head)])
        row = broken[block, head]
        print(f"{block}.{head}         {row[0]:5.0f}%{row[1]:12.0f}%{row[2]:9.3f}")

lost_facts, lost_references = ([whole[i] - row[i] for row in broken.values()] for i in (0, 1))
worst = max(range(len(broken)), key=lost_references.__getitem__)
assert lost_references[worst] > 10  # one head alone carries much of the work on references,
assert lost_facts[worst] < 3  # and facts hardly need it;
assert sum(lost < 4 for lost in lost_references) > len(broken) / 2  # most can be missed, one at a time
assert max(broken, key=lambda place: broken[place][2])[0] == 0  # the loss needs the heads of block 0 most

# %% name="cuts-figure"
from figures import COLORS

for page in figure(
    "cuts",
    en="References lost when one head is cut, a bar for each of the 20 heads in groups by block. "
    "A few bars are tall, most are small or missing.",
    ko="헤드 하나를 껐을 때 틀리게 되는 지시 대상의 비율. 막대는 블록별로 묶은 헤드 20개입니다. "
    "몇 개만 높고, 대부분은 낮거나 없습니다.",
    size=(6, 3),
):
    places = [n_heads * block + head + 0.4 * block for block, head in broken]
    page.axes.bar(places, lost_references, color=COLORS[0])
    centres = [(n_heads + 0.4) * block + (n_heads - 1) / 2 for block in range(n_blocks)]
    page.axes.set_xticks(centres, [str(block) for block in range(n_blocks)])
    page.axes.set_xlabel(page.text(en="block, 4 heads each", ko="블록(헤드 4개씩)"))
    page.axes.set_ylabel(page.text(en="references lost (%p)", ko="놓친 지시 대상(%p)"))
