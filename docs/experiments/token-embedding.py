# %% [markdown] lang="ko"
# # 토큰 임베딩
# 어휘사전의 항목마다 벡터가 하나씩 있습니다. 벡터를 꺼내 보고, 이웃을 찾고, 두 언어를 견줍니다.
# %% [markdown] lang="en"
# # Token embedding
# One vector for each entry of the vocabulary: looked up, compared with its neighbours, and across languages.

# %% name="load"
import torch

import llmref

torch.set_num_threads(1)
model, tokenizer = llmref.load_tiny()
table = model.embedding.weight.detach()
print(f"{tokenizer.vocab_size:,} entries in the vocabulary")
print(f"{len(table):,} vectors of {table.shape[1]} numbers")
assert table.shape == (tokenizer.vocab_size, model.config.d_model)

# %% name="rows"
sentences = {
    "ko": "옛날에 민지라는 아이가 숲에 살았습니다. 모두 행복했습니다.",
    "en": "Once upon a time, a child named Minji lived in the forest.",
}
for sentence in sentences.values():
    ids = tokenizer.encode(sentence)
    vectors = model.embedding(torch.tensor([ids]))[0]
    print(f"{len(ids)} ids {ids}: {len(vectors)} vectors")
    (twice,) = {token_id for token_id in ids if ids.count(token_id) > 1}
    first, second = (place for place, token_id in enumerate(ids) if token_id == twice)
    same = torch.equal(vectors[first], vectors[second])
    print(f"  {tokenizer.decode([twice])!r} at places {first} and {second}: the same vector {same}")
    assert same and len(vectors.unique(dim=0)) == len(set(ids))

# %% name="rows-figure"
from figures import COLORS, figure
from matplotlib.colors import LinearSegmentedColormap, to_rgba

shown = 12
ends = [(COLORS[1], 0.9), (COLORS[1], 0.0), (COLORS[0], 0.0), (COLORS[0], 0.9)]
diverging = LinearSegmentedColormap.from_list(
    "diverging", [(place, to_rgba(*end)) for place, end in zip((0, 0.5, 0.5, 1), ends, strict=True)]
)
for page in figure(
    "rows",
    en="One row for each token of a sentence: its id on the left, then the first 12 numbers of its vector as "
    "coloured squares. The token that comes twice has two equal rows; all others differ.",
    ko="문장의 토큰마다 한 행. 왼쪽은 토큰과 ID, 오른쪽은 벡터의 처음 12개 수를 색으로 나타낸 네모입니다. "
    "두 번 나온 토큰은 두 행이 똑같고, 나머지 행은 모두 다릅니다.",
    size=(5.6, 4.2),
):
    ids = tokenizer.encode(sentences[page.language])[:10]
    numbers = table[ids][:, :shown]
    axes = page.axes
    axes.pcolormesh(numbers.numpy(), cmap=diverging, vmin=-0.6, vmax=0.6)
    axes.set_xlim(0, shown)
    axes.set_ylim(len(ids), 0)
    names = [f"{tokenizer.decode([token_id]).strip()}  {token_id}" for token_id in ids]
    axes.set_yticks([row + 0.5 for row in range(len(ids))], names)
    axes.set_xticks([0.5, shown - 0.5], ["1", str(shown)])
    axes.set_xlabel(
        page.text(
            en=f"the first {shown} of {table.shape[1]} numbers", ko=f"수 {table.shape[1]}개 중 처음 {shown}개"
        )
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)

# %% [markdown] lang="ko"
# ## 꺼내는 것과 곱하는 것은 같다
# %% [markdown] lang="en"
# ## Looking up is multiplying

# %% name="one-hot"
for sentence in sentences.values():
    ids = torch.tensor([tokenizer.encode(sentence)])
    looked_up = model.embedding(ids)
    one_hot = torch.nn.functional.one_hot(ids, tokenizer.vocab_size).float()
    multiplied = one_hot @ table
    print(f"{sentence}  one-hot {tuple(one_hot.shape)} @ table {tuple(table.shape)}")
    print(f"  equal to the lookup: {torch.equal(looked_up, multiplied)}, ", end="")
    print(f"with {one_hot.numel() * table.shape[1]:,} multiplications instead of none")
    assert torch.equal(looked_up, multiplied)

# %% [markdown] lang="ko"
# ## 이웃
# %% [markdown] lang="en"
# ## Neighbours

# %% name="neighbours"
directions = table / table.norm(dim=-1, keepdim=True)  # length 1: a dot product is then the cosine


def entry(word):
    """The id of a word in the middle of a sentence; nothing if it takes several tokens."""
    ids = tokenizer.encode(" " + word)
    return ids[0] if len(ids) == 1 else None


for word in ("dog", "river", "morning", "강아지", "강", "아침"):
    cosines = directions @ directions[entry(word)]
    nearest = cosines.topk(5).indices.tolist()[1:]  # the nearest of all is the word itself
    print(f"{word}:", ", ".join(f"{tokenizer.decode([i]).strip()} {cosines[i]:.2f}" for i in nearest))

# %% name="kinds"
from llmref.corpus import words

lists = (words.ANIMALS, words.HOMES, words.FOODS, words.SPOTS, words.THINGS, words.TIMES)
twins = [
    (entry(word.ko), entry(word.en), kind)
    for kind, entries in enumerate(lists)
    for word in entries
    if entry(word.ko) and entry(word.en)
]
korean, english, kinds = (torch.tensor(column) for column in zip(*twins, strict=True))
generator = torch.Generator().manual_seed(0)


def shuffled(measure, orders):
    """The 2.5% and the 97.5% quantile of a measure when words are dealt out at random."""
    values = torch.tensor([measure(order) for order in orders])
    return values.quantile(0.025).item(), values.quantile(0.975).item()


print(f"{len(twins)} words of {len(lists)} kinds, each one entry of the vocabulary in both languages")
for name, ids in (("Korean", korean), ("English", english)):
    cosines = directions[ids] @ directions.T
    cosines[torch.arange(len(ids)), ids] = -1  # not the word itself
    nearest = cosines.argmax(dim=-1)  # among all entries of the vocabulary

    def share(order, ids=ids, nearest=nearest):
        """How many of the nearest neighbours are a word of the same kind."""
        kind_of = dict(zip(ids.tolist(), kinds[order].tolist(), strict=True))
        same = [kind_of[i] == kind_of.get(j) for i, j in zip(ids.tolist(), nearest.tolist(), strict=True)]
        return sum(same) / len(same)

    found = share(torch.arange(len(twins)))
    low, high = shuffled(share, [torch.randperm(len(twins), generator=generator) for _ in range(500)])
    print(f"{name}: nearest neighbour of the same kind {found:.0%}, dealt at random {low:.0%} to {high:.0%}")
    assert found > 0.8 > high

# %% [markdown] lang="ko"
# ## 한국어 단어와 영어 단어
# %% [markdown] lang="en"
# ## A Korean word and its English twin

# %% name="twins"
across = directions[korean] @ directions[english].T
rows = torch.arange(len(twins))


def within_kinds():
    """Deals the words of each kind out among themselves."""
    order = rows.clone()
    for kind in kinds.unique():
        members = rows[kinds == kind]
        order[members] = members[torch.randperm(len(members), generator=generator)]
    return order


def cosine(order):
    return across[rows, order].mean().item()


low, high = shuffled(cosine, [within_kinds() for _ in range(1000)])
print("강아지 and dog:", f"{across[0, 0]:.2f}", "  강아지 and cat:", f"{across[0, 1]:.2f}")
print(f"mean cosine of {len(twins)} pairs of twins {cosine(rows):+.3f}")
print(f"the same with a wrong partner of the same kind, 95% from {low:+.3f} to {high:+.3f}")
assert low <= cosine(rows) <= high

# %% name="maps"
within = [directions[ids] @ directions[ids].T for ids in (korean, english)]
pairs = ~torch.eye(len(twins), dtype=torch.bool)


def agreement(order):
    """The correlation of the cosines among Korean words with those among the English ones."""
    both = torch.stack([within[0][pairs], within[1][order][:, order][pairs]])
    return torch.corrcoef(both)[0, 1].item()


found = agreement(rows)
anyhow = shuffled(agreement, [torch.randperm(len(twins), generator=generator) for _ in range(500)])
kindly = shuffled(agreement, [within_kinds() for _ in range(500)])
print(f"agreement of the two maps {found:.3f}")
print(f"words dealt out at random:         95% from {anyhow[0]:+.3f} to {anyhow[1]:+.3f}")
print(f"only within their kinds at random: 95% from {kindly[0]:+.3f} to {kindly[1]:+.3f}")
assert found > kindly[1] > anyhow[1]

# %% name="maps-figure"
from figures import figure, heatmap

picked = [i for kind in (0, 3, 5) for i in [i for i, twin in enumerate(twins) if twin[2] == kind][:3]]
for page in figure(
    "maps",
    en="A square of cosines, 9 Korean words and then their 9 English twins on both sides: three animals, "
    "three places, three times of day. Within each language three squares stand out, one for each kind. "
    "Between the languages almost nothing does.",
    ko="코사인을 나타낸 정사각형. 가로와 세로에 한국어 단어 9개와 그 짝인 영어 단어 9개가 있습니다. "
    "동물 셋, 장소 셋, 때 셋입니다. 한 언어 안에서는 종류마다 네모가 하나씩 두드러지고, "
    "두 언어 사이에서는 거의 아무것도 두드러지지 않습니다.",
    size=(5.6, 5.6),
):
    ids = torch.cat([korean[picked], english[picked]])
    names = [tokenizer.decode([i]).strip() for i in ids.tolist()]
    heatmap(page.axes, (directions[ids] @ directions[ids].T).clamp(min=0), rows=names)
    page.axes.axhline(len(picked), color="black", linewidth=1)
    page.axes.axvline(len(picked), color="black", linewidth=1)
    page.axes.set_xticks(
        [len(picked) / 2, 1.5 * len(picked)],
        [page.text(en="Korean words", ko="한국어 단어"), page.text(en="English words", ko="영어 단어")],
    )

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="renumber"
import copy

order = torch.randperm(len(table), generator=generator)  # entry i gets the number order[i]
renumbered = copy.deepcopy(model)
with torch.no_grad():
    renumbered.embedding.weight[order] = table  # the rows move along; the head is the same matrix
for sentence in sentences.values():
    ids = torch.tensor([[model.config.bos_id, *tokenizer.encode(sentence)]])
    positions = llmref.sequential_positions(ids)
    with torch.no_grad():
        before, after = model(ids, positions), renumbered(order[ids], positions)
    difference = (after[..., order] - before).abs().max().item()
    print(f"{sentence}\n  with other numbers no logit changes by 1e-4: {difference < 1e-4}")
    assert difference < 1e-4

# %% name="share"
print(f"{table.numel():,} of {model.n_parameters:,} parameters: {table.numel() / model.n_parameters:.0%}")
