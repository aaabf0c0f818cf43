# %% [markdown] lang="ko"
# # 모델 전체
# 몇백 줄의 코드로 진짜 모델의 파일 형식을 읽고, 계열마다 널리 쓰는 라이브러리와 같은 로짓을 냅니다.
# 라이브러리와 견주는 셀 두 개에는 `pip install transformers`도 필요합니다.
# %% [markdown] lang="en"
# # The whole model
# A few hundred lines of code read the file format of real models, and give, for every family of them, the
# same logits as a well-known library. The two cells that compare need `pip install transformers` as well.

# %% name="load"
import json
from pathlib import Path
from tempfile import mkdtemp
from textwrap import fill

import torch
from safetensors.torch import load_file, save_file

import llmref

torch.set_num_threads(1)

# %% [markdown] lang="ko"
# ## 코드 줄 수
# %% [markdown] lang="en"
# ## Lines of code

# %% name="lines"
import ast
import inspect

from llmref import block, embedding, feedforward, mixture_of_experts, model, normalization, positions, rope
from llmref.attention import backends, dot_product, heads, latent, masks, scoring
from llmref.families import FAMILIES

modules = {
    "embedding": [embedding, positions],
    "attention": [heads, latent, rope, masks, scoring, dot_product, backends],
    "feedforward": [feedforward, mixture_of_experts],
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
    files = ", ".join(module.__name__.rpartition(".")[2] for module in modules[name])
    print(f"{name:12} {number:4} lines   {files}")
print(f"{'together':12} {sum(lines.values()):4} lines")
assert sum(lines.values()) < 1000

each = [lines_of_code(inspect.getmodule(family.read)) for family in FAMILIES.values()]
print(f"{'families':12} {sum(each):4} lines   {len(each)} files, from {min(each)} to {max(each)} lines each")

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
# ## 구조는 차이입니다
# 공개된 두 설정을 읽어 값 하나하나를 견줍니다.
# %% [markdown] lang="en"
# ## An architecture is a difference
# Two published configs, compared value by value.

# %% name="diff"
LLAMA_2_7B = {
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "rms_norm_eps": 1e-05,
    "vocab_size": 32000,
}
OLMO_2_7B = {
    **LLAMA_2_7B,
    "model_type": "olmo2",
    "rms_norm_eps": 1e-06,
    "rope_theta": 500000,
    "vocab_size": 100352,
}
print(llmref.diff(LLAMA_2_7B, OLMO_2_7B))

# %% [markdown] lang="ko"
# ## 모든 계열의 작은 설정
# 계열마다 정해진 것은 적지 않고, 크기만 적습니다.
# %% [markdown] lang="en"
# ## A small config of every family
# Sizes alone; what the family's own code decides is not said.

# %% name="small"
SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
WINDOW = {"sliding_window": 8}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}
GROUPS = {"n_routed_experts": 8, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1}
OWN = {  # what a family needs besides SIZES, or calls otherwise
    "bloom": {"n_layer": 6, "n_head": 4},
    "deepseek_v2": {**LATENT, **EXPERTS, **GROUPS, "topk_method": "group_limited_greedy"},
    "deepseek_v3": {**LATENT, **EXPERTS, **GROUPS},
    "falcon": {},
    "gemma2": {**WINDOW, "head_dim": 8},
    "gemma3_text": {**WINDOW, "head_dim": 8},
    "gpt2": {"n_positions": 64, "n_embd": 32, "n_layer": 6, "n_head": 4},
    "gpt_oss": {**WINDOW, **EXPERTS, "head_dim": 8, "num_local_experts": 4},
    "granite": {
        "attention_multiplier": 0.1,
        "residual_multiplier": 0.2,
        "embedding_multiplier": 12.0,
        "logits_scaling": 8.0,
    },
    "mistral": WINDOW,
    "mixtral": {**EXPERTS, "num_local_experts": 4},
    "mpt": {"d_model": 32, "n_layers": 6, "n_heads": 4, "max_seq_len": 64, "attn_config": {"alibi": True}},
    "phi3": WINDOW,
    "qwen3": {"head_dim": 8},
    "qwen3_moe": {**EXPERTS, "head_dim": 8, "num_experts": 4},
    "starcoder2": WINDOW,
}
small = {name: {"model_type": name, **SIZES, **OWN.get(name, {})} for name in sorted(FAMILIES)}

# %% [markdown] lang="ko"
# ## 계열마다 Llama와 무엇이 다른가
# 설정의 값을 짧은 낱말로 바꾸고, Llama와 다른 것만 적습니다.
# %% [markdown] lang="en"
# ## What each family changes against Llama
# The values of a config in short words; those that Llama has too are left out.


# %% name="tour"
def told(config):
    """What a config says of each part, in short words."""
    block, n_blocks = config.blocks[-1], len(config.blocks)  # the last: the first may have no experts
    attention, mixture = block.attention, getattr(block.feedforward, "n_experts", 0)
    network = block.feedforward.expert if mixture else block.feedforward
    latent = hasattr(attention, "latent_dim")
    ropes = [each.attention.rope for each in config.blocks]
    rope = next((each for each in ropes if each is not None), None)
    windows = [each.attention.window for each in config.blocks if each.attention.window]
    positions = [
        f"{config.positional_embedding} positions" if config.positional_embedding else "",
        "ALiBi" if getattr(attention, "alibi", False) else "",
        f"no RoPE in {ropes.count(None)} of {n_blocks} blocks" if rope and None in ropes else "",
        "a RoPE base for each kind of block"
        if len({each and each.base for each in ropes} - {None}) > 1
        else "",
        "interleaved RoPE" if rope and rope.layout == "interleaved" else "",
        "partial RoPE" if rope and rope.dims else "",
        f"RoPE scaled ({rope.scaling.kind})" if rope and rope.scaling else "",
    ]
    shared = (
        "latent" if latent else {1: "one for all", attention.n_heads: "own"}.get(attention.n_kv_heads, "")
    )
    multipliers = (config.embedding_multiplier, block.residual_multiplier, config.logit_multiplier)
    biases = {attention.bias, getattr(attention, "output_bias", attention.bias), network.bias}
    query_key_norm = getattr(attention, "query_key_norm", None)
    return {
        "norm": " ".join(
            [block.norm.kind.replace("layer", "LayerNorm").replace("rms", "RMSNorm")]
            + ["without bias"] * (block.norm.kind == "layer" and not block.norm.bias)
            + ["1 + w"] * block.norm.unit_offset
        ),
        "its place": {"sandwich": "norms before and after", "output": "norms after"}.get(
            block.norm_position, ""
        ),
        "residual": "parallel" * (block.residual == "parallel") + ", one norm" * block.shared_norm,
        "positions": ", ".join(filter(None, positions)),
        "keys": f"keys: {shared}" if shared and not latent else "",
        "latent": "latent attention" if latent else "",
        "q/k norm": f"q/k norm over {query_key_norm.over.replace('_', ' ')}" if query_key_norm else "",
        "window": f"window in {len(windows)} of {n_blocks}" if windows else "",
        "sinks": "sinks" * getattr(attention, "sinks", False),
        "network": network.activation + ", no gate" * (not network.gated) + ", cut off" * bool(network.limit),
        "experts": f"{block.feedforward.n_active} of {mixture} experts" if mixture else "",
        "biases": {1: "biases" * max(biases), 2: "biases in part"}[len(biases)],
        "caps": "caps" * bool(getattr(attention, "soft_cap", None) or config.logit_soft_cap),
        "multipliers": "multipliers" * (multipliers != (1, 1, 1)),
    }


said = {name: told(FAMILIES[name].read(values)) for name, values in small.items()}
changes = {
    name: {part: word or "no" for part, word in words.items() if word != said["llama"][part]}
    for name, words in said.items()
}
for name, words in changes.items():
    print(fill(f"{name:11} {', '.join(words.values()) or 'nothing'}", 76, subsequent_indent=" " * 12))

# %% name="tour-figure"
from figures import COLORS, figure

for page in figure(
    "tour",
    en="A table of dots: a row for each family, a column for each part of the model; a dot where the family "
    "differs from Llama. Llama's row is empty, eight rows have at most one dot, Gemma 3's has most, seven.",
    ko="점으로 그린 표. 행은 계열, 열은 모델의 부분이고, Llama와 다른 곳에 점이 있습니다. Llama의 행은 비어 "
    "있고 여덟 행은 점이 많아야 하나이며, Gemma 3의 행이 점 일곱 개로 가장 많습니다.",
    size=(7, 5.6),
):
    korean = {
        "norm": "정규화",
        "its place": "정규화 자리",
        "residual": "잔차 연결",
        "positions": "위치",
        "keys": "키 공유",
        "latent": "잠재 벡터",
        "q/k norm": "쿼리/키 정규화",
        "window": "윈도",
        "sinks": "싱크",
        "network": "피드포워드",
        "experts": "전문가",
        "biases": "편향",
        "caps": "상한",
        "multipliers": "배율",
    }
    english = {"its place": "place of the norm", "keys": "key sharing", "network": "feedforward"}
    rows = sorted(changes, key=lambda name: len(changes[name]))
    parts = list(said["llama"])
    for place, name in enumerate(rows):
        page.axes.axhline(place, color="gray", linewidth=0.4, alpha=0.5)
        columns = [parts.index(part) for part in changes[name]]
        page.axes.scatter(columns, [place] * len(columns), s=45, color=COLORS[0], zorder=2)
    page.axes.set_yticks(range(len(rows)), rows)
    page.axes.invert_yaxis()
    page.axes.xaxis.tick_top()
    labels = [page.text(en=english.get(part, part), ko=korean[part]) for part in parts]
    page.axes.set_xticks(range(len(parts)), labels, rotation=40, ha="left")
    page.axes.set_xlim(-0.6, len(parts) - 0.4)

# %% [markdown] lang="ko"
# ## 라이브러리와 같은 로짓, 모든 계열에서
# 라이브러리가 자기 코드로 만든 무작위 모델을 저장하고, 우리가 그 폴더를 읽습니다.
# %% [markdown] lang="en"
# ## The same logits as the library, in every family
# The library makes a random model by its own code and saves it; we read that folder.

# %% name="peer"
import transformers

from llmref.checkpoint import load_model

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
folder, found = Path(mkdtemp()), []
for name, values in small.items():
    torch.manual_seed(0)
    peer = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**values)).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    peer.save_pretrained(folder / name)

    ours, ids = load_model(folder / name), torch.randint(0, 61, (2, 40))
    assert ours.config == FAMILIES[name].read(values)  # where nothing is said, we take what the library takes
    with torch.no_grad():
        logits, expected = ours(ids, llmref.sequential_positions(ids)), peer(ids, use_cache=False).logits
    found.append((name, (logits - expected).abs().max().item(), expected.abs().max().item()))

cells = [f"{name:12} {difference:.0e} of {logit:4.1f}" for name, difference, logit in found]
for row in zip(cells[::2], cells[1::2], strict=True):
    print("        ".join(row))
largest = max(difference for _, difference, _ in found)
print(f"{len(found)} families, every logit equal to 1e-4: {largest < 1e-4}")
assert len(found) == len(FAMILIES) and largest < 1e-4

# %% [markdown] lang="ko"
# ## 체크포인트
# 작은 모델을 Phi-3 계열의 폴더로 저장합니다.
# %% [markdown] lang="en"
# ## A checkpoint
# The tiny model, saved as a folder of the Phi-3 family.

# %% name="write"
tiny, tiny_tokenizer = llmref.load_tiny()
checkpoint = Path(mkdtemp())
llmref.save(tiny, tiny_tokenizer, checkpoint, family="phi3")
for file in sorted(checkpoint.iterdir()):
    print(f"{file.name:20} {file.stat().st_size:>9,} bytes")
print("model_type:", json.loads((checkpoint / "config.json").read_text())["model_type"])
for name, tensor in list(load_file(checkpoint / "model.safetensors").items())[:8]:
    print(f"{name:48} {tuple(tensor.shape)}")

# %% [markdown] lang="ko"
# ## 불러와서 다음 토큰까지
# %% [markdown] lang="en"
# ## From the folder to the next token

# %% name="run"
model, tokenizer = llmref.load(checkpoint)

ids = torch.tensor([llmref.prompt_ids(model, tokenizer, "Once upon a time")])
with torch.no_grad():
    hidden = model.hidden_states(ids, llmref.sequential_positions(ids))
    logits = model.lm_head(hidden)
print(hidden.shape, logits.shape)

next_id = int(logits[0, -1].argmax())
print(tokenizer.decode([next_id]))
print(llmref.generate(model, tokenizer, "Once upon a time", max_new_tokens=12, temperature=0))
with torch.no_grad():
    expected = tiny(ids, llmref.sequential_positions(ids))
assert torch.equal(logits, expected)

# %% name="parts"
print(model)

# %% [markdown] lang="ko"
# 라이브러리도 같은 폴더를 읽습니다. 모르는 텐서도, 빠진 텐서도 없어야 합니다.
# %% [markdown] lang="en"
# The library reads the same folder, and must find every tensor that it expects and no other.

# %% name="back"
peer, report = transformers.AutoModelForCausalLM.from_pretrained(
    checkpoint, dtype=torch.float32, output_loading_info=True
)
assert not report["missing_keys"] and not report["unexpected_keys"]
with torch.no_grad():
    difference = (peer(ids).logits - logits).abs().max().item()
    theirs = peer.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :].tolist()
greedy = list(llmref.generate_ids(model, ids[0].tolist(), llmref.strategy(temperature=0), 8))
same = greedy[: len(theirs)] == theirs
print(f"{type(peer).__name__} reads it: logits equal to 1e-4: {difference < 1e-4}, next tokens equal: {same}")
assert difference < 1e-4 and same

# %% [markdown] lang="ko"
# ## 맞지 않는 폴더
# 모르는 계열, 빠진 텐서.
# %% [markdown] lang="en"
# ## A folder that does not fit
# An unknown family, a missing tensor.

# %% name="errors"
config_file, weights_file = checkpoint / "config.json", checkpoint / "model.safetensors"
values, stored = json.loads(config_file.read_text()), load_file(weights_file)


def tried():
    try:
        llmref.load(checkpoint)
        print("loaded")
    except ValueError as error:
        print(fill(str(error).replace(str(checkpoint), "checkpoint"), 76), end="\n\n")


config_file.write_text(json.dumps({**values, "model_type": "phi9"}))
tried()
config_file.write_text(json.dumps(values))
save_file({name: tensor for name, tensor in stored.items() if name != "model.norm.weight"}, weights_file)
tried()
save_file(stored, weights_file)
tried()

# %% [markdown] lang="ko"
# ## 예상해 보기
# %% [markdown] lang="en"
# ## Predict

# %% name="wrong-order"
swapped = {}
for name, tensor in stored.items():
    first, second = tensor.chunk(2)
    swapped[name] = torch.cat([second, first]) if "gate_up_proj" in name else tensor
save_file(swapped, weights_file)
other, _ = llmref.load(checkpoint)
with torch.no_grad():
    change = (other(ids, llmref.sequential_positions(ids)) - expected).abs().max().item()
print(f"largest change in the logits: {change:.1f}")
print(llmref.generate(other, tokenizer, "Once upon a time", max_new_tokens=12, temperature=0))
assert change > 1

# %% name="only-numbers"
plain = [name for name, words in changes.items() if len(words) <= 1]
print(f"{len(plain)} of {len(changes)} families change one part of Llama's block or none:")
print(fill(", ".join(f"{name} ({', '.join(changes[name].values()) or 'none'})" for name in plain), 76))

# %% name="weights-size"
from llmref.cost import cache_bytes_per_token, size

weights = counted.total.weight_bytes
per_token = len(phi3.blocks) * cache_bytes_per_token(phi3.blocks[0].attention)
caches = {"all tokens": 4096 * per_token, "the window": counted.total.cache_bytes}
print(f"Phi-3-mini in 16-bit numbers: {size(weights)} of weights")
for kept, n_bytes in caches.items():
    print(f"and a cache of {kept}:     {size(n_bytes)}, together {size(weights + n_bytes)}")
assert weights + caches["the window"] < 8 * 1024**3 < weights + caches["all tokens"]
