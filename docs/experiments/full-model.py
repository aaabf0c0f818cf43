# %% [markdown] lang="ko"
# # 모델 전체
# 몇백 줄의 코드로 진짜 모델의 파일 형식을 읽고, 널리 쓰는 라이브러리와 같은 로짓을 냅니다.
# 라이브러리와 견주는 셀에는 `pip install transformers`도 필요합니다.
# %% [markdown] lang="en"
# # The whole model
# A few hundred lines of code read the file format of real models, and give the same logits as a well-known
# library. The cell that compares them needs `pip install transformers` as well.

# %% name="load"
import json
from pathlib import Path
from tempfile import mkdtemp

import torch
from safetensors.torch import load_file, save_file

import llmref

torch.set_num_threads(1)
tiny, tokenizer = llmref.load_tiny()
prompt_ids = torch.tensor([[tiny.config.bos_id, *tokenizer.encode("Once upon a time")]])
where = llmref.sequential_positions(prompt_ids)

# %% [markdown] lang="ko"
# ## 코드 줄 수
# %% [markdown] lang="en"
# ## Lines of code

# %% name="lines"
import ast
import inspect

from llmref import block, embedding, feedforward, model, normalization, positions, rope
from llmref.attention import dot_product, heads, masks

modules = {
    "embedding": [embedding, positions],
    "attention": [heads, rope, masks, dot_product],
    "feedforward": [feedforward],
    "norms": [normalization],
    "model": [block, model],
}


def lines_of_code(module):
    """How many lines a module has, without comments and docstrings, and each statement on one line."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return sum(1 for line in ast.unparse(tree).splitlines() if line.strip())


lines = {name: sum(map(lines_of_code, some)) for name, some in modules.items()}
for name, number in lines.items():
    files = ", ".join(module.__name__.removeprefix("llmref.") for module in modules[name])
    print(f"{name:12} {number:4} lines   {files}")
print(f"{'together':12} {sum(lines.values()):4} lines")
assert sum(lines.values()) < 700

# %% [markdown] lang="ko"
# ## 파라미터는 어디에 있는가
# Phi-3-mini의 크기를 설정으로 적고, 모델을 만들지 않고 셉니다.
# %% [markdown] lang="en"
# ## Where the parameters are
# The shape of Phi-3-mini as a config, counted without making the model.

# %% name="shape"
from llmref.cost import cost

block = llmref.BlockConfig(
    llmref.AttentionConfig(n_heads=32, n_kv_heads=32, head_dim=96, window=2047),
    llmref.FeedForwardConfig(d_ff=8192),
)
phi3 = llmref.ModelConfig(
    vocab_size=32_064, d_model=3072, context_length=4096, blocks=(block,) * 32, tied_embeddings=False
)
counted = cost(phi3)
print(counted)

# %% name="parts-figure"
from figures import COLORS, figure

for page in figure(
    "parts",
    en="Bars for embedding, attention, feedforward, norms, LM head, block and model: the share of the lines "
    "of code and of Phi-3-mini's parameters. Most lines are attention, most parameters are feedforward.",
    ko="임베딩, 어텐션, 피드포워드, 정규화, LM 헤드, 블록과 모델의 막대그래프. 코드 줄 수의 몫과 Phi-3-mini "
    "파라미터의 몫을 나란히 보여 줍니다. 코드는 어텐션이, 파라미터는 피드포워드가 가장 많습니다.",
    size=(5.6, 3.4),
):
    names = {
        "embedding": page.text(en="embedding", ko="임베딩"),
        "attention": page.text(en="attention", ko="어텐션"),
        "feedforward": page.text(en="feedforward", ko="피드포워드"),
        "norms": page.text(en="norms", ko="정규화"),
        "lm_head": page.text(en="LM head", ko="LM 헤드"),
        "model": page.text(en="block and model", ko="블록과 모델"),
    }
    whole = counted.total.parameters
    for place, name in enumerate(names):
        of_lines = 100 * lines.get(name, 0) / sum(lines.values())
        of_parameters = 100 * counted.parts[name].parameters / whole if name in counted.parts else 0
        page.axes.barh(place - 0.19, of_lines, 0.36, color=COLORS[0])
        page.axes.barh(place + 0.19, of_parameters, 0.36, color=COLORS[1])
    page.axes.set_yticks(range(len(names)), names.values())
    page.axes.invert_yaxis()
    page.axes.set_xlabel(page.text(en="share, percent", ko="몫(%)"))
    page.axes.barh(0, 0, color=COLORS[0], label=page.text(en="lines of code", ko="코드 줄 수"))
    page.axes.barh(0, 0, color=COLORS[1], label=page.text(en="parameters", ko="파라미터"))
    page.axes.legend(loc="lower right")

# %% [markdown] lang="ko"
# ## 이름 바꾸기
# Phi-3의 파일에서 텐서가 불리는 이름과 패키지에서 불리는 이름입니다.
# %% [markdown] lang="en"
# ## Other names
# What the tensors are called in Phi-3's files, and what they are called here.

# %% name="names"
IN_A_BLOCK = {  # the published name: ours, those that stand in one tensor in their order
    "input_layernorm.weight": ["attention_norm.weight"],
    "self_attn.qkv_proj.weight": ["attention.query.weight", "attention.key.weight", "attention.value.weight"],
    "self_attn.o_proj.weight": ["attention.output.weight"],
    "post_attention_layernorm.weight": ["feedforward_norm.weight"],
    "mlp.gate_up_proj.weight": ["feedforward.gate.weight", "feedforward.up.weight"],
    "mlp.down_proj.weight": ["feedforward.down.weight"],
}
AROUND = {"model.embed_tokens.weight": ["embedding.weight"], "model.norm.weight": ["final_norm.weight"]}


def names_of(config):
    """Every published name of a model of this config, with ours."""
    names = dict(AROUND)
    for number in range(len(config.blocks)):
        for theirs, ours in IN_A_BLOCK.items():
            names[f"model.layers.{number}.{theirs}"] = [f"blocks.{number}.{name}" for name in ours]
    if not config.tied_embeddings:
        names["lm_head.weight"] = ["lm_head.weight"]
    return names


# %% name="config"
def config_of(values):
    """Our config from a published config.json of the Phi-3 family."""
    n_heads = values["num_attention_heads"]
    block = llmref.BlockConfig(
        llmref.AttentionConfig(
            n_heads=n_heads,
            n_kv_heads=values["num_key_value_heads"],
            head_dim=values["hidden_size"] // n_heads,
            window=values["sliding_window"],
            rope=llmref.RopeConfig(base=values["rope_theta"]),
        ),
        llmref.FeedForwardConfig(d_ff=values["intermediate_size"], activation=values["hidden_act"]),
        llmref.NormConfig("rms", values["rms_norm_eps"]),
    )
    return llmref.ModelConfig(
        vocab_size=values["vocab_size"],
        d_model=values["hidden_size"],
        context_length=values["max_position_embeddings"],
        blocks=(block,) * values["num_hidden_layers"],
        norm=block.norm,
        tied_embeddings=values["tie_word_embeddings"],
    )


# %% name="read"
def read(folder):
    """The model in a folder with config.json and model.safetensors, as they are published."""
    model = llmref.Transformer(config_of(json.loads((folder / "config.json").read_text())))
    weights, stored = model.state_dict(), load_file(folder / "model.safetensors")
    for theirs, ours in names_of(model.config).items():
        sizes = [len(weights[name]) for name in ours]
        for name, part in zip(ours, stored.pop(theirs).split(sizes), strict=True):
            weights[name].copy_(part)
    assert not stored, f"nobody asked for {list(stored)}"
    return model.eval()


# %% [markdown] lang="ko"
# ## 진짜 모델과 같은 형식의 파일
# 작은 모델의 가중치를 Phi-3의 이름과 설정으로 씁니다.
# %% [markdown] lang="en"
# ## A file in the format of a real model
# The tiny model's weights, under Phi-3's names and with Phi-3's config keys.


# %% name="write"
def write(model, folder):
    """A model of ours as a folder that readers of the Phi-3 family understand."""
    config, block = model.config, model.config.blocks[0]
    values = {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "hidden_act": block.feedforward.activation,
        "hidden_size": config.d_model,
        "intermediate_size": block.feedforward.d_ff,
        "max_position_embeddings": config.context_length,
        "num_attention_heads": block.attention.n_heads,
        "num_hidden_layers": len(config.blocks),
        "num_key_value_heads": block.attention.n_kv_heads,
        "rms_norm_eps": block.norm.eps,
        "rope_theta": block.attention.rope.base,
        "sliding_window": block.attention.window,
        "tie_word_embeddings": config.tied_embeddings,
        "vocab_size": config.vocab_size,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(values, indent=2))
    weights = model.state_dict()
    stored = {
        theirs: torch.cat([weights[name] for name in ours]) for theirs, ours in names_of(config).items()
    }
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})


folder = Path(mkdtemp())
write(tiny, folder)
for name, tensor in list(load_file(folder / "model.safetensors").items())[:8]:
    print(f"{name:48} {tuple(tensor.shape)}")

# %% [markdown] lang="ko"
# ## 불러와서 다음 토큰까지
# %% [markdown] lang="en"
# ## From the file to the next token

# %% name="run"
model = read(folder)
with torch.no_grad():
    hidden = model.hidden_states(prompt_ids, where)
    logits = model.lm_head(hidden)
    expected = tiny(prompt_ids, where)
next_id = int(logits[0, -1].argmax())
print("hidden states:", tuple(hidden.shape), " logits:", tuple(logits.shape))
print("next token:   ", tokenizer.pieces([next_id]))
print(
    "and on it goes:", llmref.generate(model, tokenizer, "Once upon a time", max_new_tokens=12, temperature=0)
)
assert torch.equal(logits, expected)

# %% [markdown] lang="ko"
# ## 라이브러리와 같은 로짓
# %% [markdown] lang="en"
# ## The same logits as the library

# %% name="peer"
from transformers import AutoModelForCausalLM

torch.manual_seed(0)
small = (
    llmref.BlockConfig(  # as Phi-3-mini is: a key/value head for each query head, a window, an untied head
        llmref.AttentionConfig(n_heads=4, n_kv_heads=4, head_dim=24, window=8),
        llmref.FeedForwardConfig(d_ff=256),
    )
)
fresh = llmref.Transformer(
    llmref.ModelConfig(
        vocab_size=2048, d_model=96, context_length=256, blocks=(small,) * 3, tied_embeddings=False
    )
)
text = "The dog chased the squirrel because it was hungry. The hungry one was the"
ids = torch.tensor([[0, *tokenizer.encode(text)]])
for name, source in (("the tiny model", tiny), ("random weights, window 8", fresh)):
    write(source, folder)
    peer, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    ours = read(folder)
    with torch.no_grad():
        difference = (ours(ids, llmref.sequential_positions(ids)) - peer(ids).logits).abs().max().item()
        theirs = peer.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :].tolist()
    greedy = list(llmref.generate_ids(ours, ids[0].tolist(), llmref.strategy(temperature=0), 8))
    same = greedy[: len(theirs)] == theirs
    print(f"{name}, read by {type(peer).__name__} and by us")
    print(f"  logits equal to 1e-4: {difference < 1e-4}, the next {len(theirs)} tokens equal: {same}")
    assert difference < 1e-4 and same

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="wrong-order"
swapped = dict(IN_A_BLOCK)
swapped["mlp.gate_up_proj.weight"] = ["feedforward.up.weight", "feedforward.gate.weight"]
right, IN_A_BLOCK = IN_A_BLOCK, swapped
write(tiny, folder)
IN_A_BLOCK = right
other = read(folder)
with torch.no_grad():
    change = (other(prompt_ids, where) - expected).abs().max().item()
print(f"largest change in the logits: {change:.1f}")
print(llmref.generate(other, tokenizer, "Once upon a time", max_new_tokens=12, temperature=0))
assert change > 1

# %% name="weights-size"
from llmref.cost import cache_bytes_per_token, size

weights = counted.total.weight_bytes
per_token = len(phi3.blocks) * cache_bytes_per_token(phi3.blocks[0].attention)
caches = {"all tokens": 4096 * per_token, "the window": counted.total.cache_bytes}
print(f"Phi-3-mini in 16-bit numbers: {size(weights)} of weights")
for kept, n_bytes in caches.items():
    print(f"and a cache of {kept}:     {size(n_bytes)}, together {size(weights + n_bytes)}")
assert weights + caches["the window"] < 8 * 1024**3 < weights + caches["all tokens"]
