"""Every backend held to the naive one: masks × shared heads × windows × caches × ragged batches × scoring.

Where a backend takes float64 the two are equal to the last digits. Elsewhere its error is at most twice that
of the naive backend in the same dtype, both against the naive one in float64. The Triton kernels run under
Triton's interpreter, on the CPU.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec

import jaxtyping
import pytest
import torch
from helpers import (
    CACHES,
    CONTEXT_LENGTH,
    chunks,
    fresh_model,
    left_padded,
    make_cache,
    random_ids,
    small_config,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from llmref.attention import (
    Mask,
    attend,
    blocks,
    causal,
    documents,
    global_tokens,
    random_blocks,
    strided,
    window,
)
from llmref.attention.backends import BACKENDS, choose
from llmref.attention.masks import PlacedMask, dense
from llmref.attention.scoring import PLAIN, Scoring
from llmref.config import LatentAttentionConfig, ModelConfig
from llmref.model import Transformer

RUN = [name for name in sorted(BACKENDS) if name != "naive" and (name != "triton" or find_spec("triton"))]
EXACT = [name for name in RUN if name != "triton"]  # which has no float64
TRAINED = [name for name in RUN if name != "flex"]  # which gives no gradients on a CPU
HEADS = [(4, 4), (4, 2), (4, 1)]

MASKS = [
    causal(),
    window(5),
    causal() & (window(3) | strided(4)),
    causal() & blocks(5),
    causal() & (window(3) | global_tokens(2)),
    causal() & window(7) & documents(torch.tensor([[0] * 9 + [1] * 14])),
    causal() & (window(2) | random_blocks(3, 2, seed=0)),
    ~causal(),
]


@pytest.fixture(autouse=True)
def rules_without_checks(request: pytest.FixtureRequest) -> Iterator[None]:
    """FlexAttention reads the rules by PyTorch's compiler, which cannot read what checks the shapes."""
    flex = hasattr(request.node, "callspec") and request.node.callspec.params.get("backend") == "flex"
    jaxtyping.config.update("jaxtyping_disable", flex)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def placed(mask: Mask, queries: int, keys: int) -> PlacedMask:
    """Two rows, the second with padding on its left; the queries are the last of the keys."""
    positions = torch.stack([torch.arange(keys), torch.arange(keys) - 4]).clamp(min=-1)
    return mask.at(positions[:, keys - queries :], positions)


def inputs(queries: int, keys: int, kv_heads: int, head_dim: int, value_dim: int) -> dict[str, Tensor]:
    """What goes into attention."""
    generator = torch.Generator().manual_seed(queries + 100 * keys)
    shapes = {
        "query": (2, 4, queries, head_dim),
        "key": (2, kv_heads, keys, head_dim),
        "value": (2, kv_heads, keys, value_dim),
        "bias": (1 + queries % 2, 4, queries, keys),
        "sinks": (4,),
    }
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


@dataclass(frozen=True)
class Score:
    """What is done to the scores."""

    scale: float | None = None
    soft_cap: float | None = None
    bias: bool = False
    sinks: bool = False


SCORES = [Score(), Score(scale=0.7, bias=True), Score(soft_cap=2.0), Score(0.3, 3.0, bias=True, sinks=True)]


def found_by(
    backend: str,
    tensors: dict[str, Tensor],
    allowed: Tensor | PlacedMask,
    score: Score,
    dtype: torch.dtype = torch.float64,
    train: bool = True,
) -> dict[str, Tensor]:
    """What a backend gives: the output, and the gradients of a sum with a weight for each of its numbers."""
    used = {
        name: tensor.to(dtype).requires_grad_(train)
        for name, tensor in tensors.items()
        if name in ("query", "key", "value") or getattr(score, name)
    }
    scoring = Scoring(score.scale, score.soft_cap, used.get("bias"), used.get("sinks"))
    query, key, value = used["query"], used["key"], used["value"]
    output = attend(query, key, value, allowed, backend, scoring)  # type: ignore[arg-type]
    assert output.dtype == dtype
    assert not output.transpose(1, 2)[~dense(allowed).any(dim=-1)].any()  # who sees nothing gets exactly 0
    if not train:
        return {"output": output}
    weights = torch.linspace(-1, 1, output.numel(), dtype=dtype).reshape(output.shape)
    gradients = torch.autograd.grad((output * weights).sum(), list(used.values()))
    return {"output": output.detach(), **dict(zip(used, gradients, strict=True))}


@pytest.mark.parametrize("backend", EXACT)
@given(
    mask=st.sampled_from(MASKS),
    queries=st.integers(1, 23),
    kv_heads=st.sampled_from([1, 2, 4]),
    head_dim=st.integers(1, 9),
    value_dim=st.integers(1, 9),
    score=st.sampled_from(SCORES),
    written_out=st.booleans(),
)
def test_a_backend_is_the_naive_one_in_float64(
    backend: str,
    mask: Mask,
    queries: int,
    kv_heads: int,
    head_dim: int,
    value_dim: int,
    score: Score,
    written_out: bool,
) -> None:
    if backend == "sdpa":
        score = replace(score, soft_cap=None, sinks=False)
    tensors, allowed = inputs(queries, 23, kv_heads, head_dim, value_dim), placed(mask, queries, 23)
    train = backend in TRAINED
    expected = found_by("naive", tensors, allowed.dense(), score, train=train)
    found = found_by(backend, tensors, allowed.dense() if written_out else allowed, score, train=train)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


SIZES = [(20, 25, 2, 20, 20), (17, 33, 1, 33, 7)]
"""Queries, keys, key heads, dimensions of a key and of a value: the kernels need several tiles for them."""
EXTREMES = [
    (SCORES[0], MASKS[0], torch.float32),
    (SCORES[1], MASKS[1], torch.float32),
    (SCORES[3], MASKS[4], torch.float32),
    (SCORES[3], MASKS[6], torch.float16),
    (SCORES[3], MASKS[0], torch.bfloat16),
]


@pytest.mark.parametrize(("score", "mask", "dtype"), EXTREMES, ids=repr)
@pytest.mark.parametrize("backend", RUN)
def test_its_error_is_at_most_twice_that_of_the_naive_one(
    backend: str, score: Score, mask: Mask, dtype: torch.dtype
) -> None:
    if backend == "sdpa":
        score = replace(score, soft_cap=None, sinks=False)
    train, errors = backend in TRAINED, defaultdict[str, list[list[float]]](list)
    for size in SIZES:
        tensors, allowed = inputs(*size), placed(mask, *size[:2])
        rounded = {name: tensor.to(dtype).double() for name, tensor in tensors.items()}
        exact = found_by("naive", rounded, allowed, score, train=train)
        both = [found_by(name, tensors, allowed, score, dtype, train) for name in (backend, "naive")]
        for name in exact:
            errors[name].append([float((some[name] - exact[name]).norm()) for some in both])
    for name, of_sizes in errors.items():
        found, naive = torch.tensor(of_sizes).norm(dim=0).tolist()
        assert found <= 2 * naive, name


# In a model


def packed(total: int) -> tuple[Tensor, Tensor]:
    """The documents of two rows and the positions in them."""
    sizes = [[5, total - 5], [3, 4, total - 7]]
    numbers = [[n for n, size in enumerate(row) for _ in range(size)] for row in sizes]
    places = [[place for size in row for place in range(size)] for row in sizes]
    return torch.tensor(numbers), torch.tensor(places)


def batch(case: str) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, positions and documents of two rows of eleven."""
    ids, positions = random_ids(2, 11), torch.arange(11).expand(2, 11)
    numbers = torch.zeros(2, 11, dtype=torch.long)
    if case == "ragged":
        ids, positions = left_padded([random_ids(11).tolist(), random_ids(4, seed=1).tolist()])
    if case == "packed":
        numbers, positions = packed(11)
    return ids, positions, numbers


def twin(backend: str, config: ModelConfig) -> tuple[Transformer, Transformer, dict[str, float]]:
    """The model in float64, the same in what the backend takes, and how close the two are to be."""
    exact = fresh_model(config, dtype=torch.float64)
    if backend in EXACT:
        return exact, exact, dict(rtol=1e-9, atol=1e-9)
    return exact, fresh_model(config, dtype=torch.float32), dict(rtol=1e-3, atol=1e-3)


def mask_of(numbers: Tensor, part: slice, kind: str | None) -> Mask | None:
    """The mask of some tokens. A static cache has empty slots behind them; a rolling one reads one text."""
    stored = numbers[:, : part.stop]
    if kind == "static":
        stored = nn.functional.pad(numbers, (0, CONTEXT_LENGTH - numbers.shape[1]))
    return None if kind == "rolling" else causal() & documents(stored, query_ids=numbers[:, part])


def run(model: Transformer, backend: str, case: str, kind: str | None, train: bool) -> list[Tensor]:
    """Logits at the real tokens, and the gradients of every parameter."""
    ids, positions, numbers = batch(case)
    cache = None if kind is None else make_cache(kind, model.config, 2, model.lm_head.weight.dtype)
    mask = mask_of(numbers, slice(0, 11), kind) if case == "packed" else None
    with model.attention_backend(backend), torch.set_grad_enabled(train):  # type: ignore[arg-type]
        logits = model(ids, positions, cache, mask)[positions >= 0]
    assert logits.isfinite().all()
    if not train:
        return [logits.double()]
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
    gradients = torch.autograd.grad((logits * weights).sum(), list(model.parameters()))
    return [tensor.double() for tensor in (logits.detach(), *gradients)]


CASES = ["whole", "ragged", "packed"]
CONFIGS = [
    *(small_config(n_heads=heads, n_kv_heads=kv_heads) for heads, kv_heads in HEADS),
    small_config(window=1),
    small_config(window=4, n_kv_heads=1),
    small_config(layout=None, alibi=True),
]


@pytest.mark.parametrize("backend", RUN)
@settings(max_examples=8)
@given(
    config=st.sampled_from(CONFIGS),
    case=st.sampled_from(CASES),
    kind=st.sampled_from([None, "growing", "static"]),
)
def test_a_model_runs_and_trains_alike(
    backend: str, config: ModelConfig, case: str, kind: str | None
) -> None:
    exact, model, near = twin(backend, config)
    expected, found = (
        run(*some, case, kind, backend in TRAINED) for some in ((exact, "naive"), (model, backend))
    )
    torch.testing.assert_close(found, expected, **near)


@pytest.mark.parametrize("backend", ["naive", *RUN])
@settings(max_examples=8)
@given(
    heads=st.sampled_from(HEADS),
    size=st.sampled_from([None, 1, 3, 7]),
    kind=st.sampled_from(CACHES),
    case=st.sampled_from(CASES),
    split=chunks(11),
)
def test_a_cache_in_chunks_is_the_naive_whole_pass(
    backend: str, heads: tuple[int, int], size: int | None, kind: str, case: str, split: list[int]
) -> None:
    config = small_config(n_heads=heads[0], n_kv_heads=heads[1], window=size)
    exact, model, near = twin(backend, config)
    if kind == "rolling" and case == "packed":  # it reads one text in order
        case = "whole"
    ids, positions, numbers = batch(case)
    with torch.no_grad(), exact.attention_backend("naive"):
        whole = exact(ids, positions, mask=causal() & documents(numbers))
    cache = make_cache(kind, config, 2, model.lm_head.weight.dtype)
    parts, start = [], 0
    with torch.no_grad(), model.attention_backend(backend):  # type: ignore[arg-type]
        for tokens in split:
            place = slice(start, start + tokens)
            start += tokens
            mask = mask_of(numbers, place, kind)
            parts.append(model(ids[:, place], positions[:, place], cache, mask))
    real = positions >= 0
    torch.testing.assert_close(torch.cat(parts, dim=1)[real].double(), whole[real], **near)


@pytest.mark.parametrize("backend", RUN)
def test_latent_attention_runs_alike(backend: str) -> None:
    config = small_config()
    attention = LatentAttentionConfig(n_heads=4, latent_dim=8, plain_dim=6, rotated_dim=2, value_dim=5)
    config = replace(config, blocks=tuple(replace(block, attention=attention) for block in config.blocks))
    exact, model, near = twin(backend, config)
    ids, positions, _ = batch("ragged")
    with torch.no_grad(), exact.attention_backend("naive"):
        whole = exact(ids, positions)
    cache = make_cache("growing", config, 2, model.lm_head.weight.dtype)
    with torch.no_grad(), model.attention_backend(backend):  # type: ignore[arg-type]
        parts = [model(ids[:, part], positions[:, part], cache) for part in (slice(0, 7), slice(7, 11))]
    real = positions >= 0
    torch.testing.assert_close(torch.cat(parts, dim=1)[real].double(), whole[real], **near)


@pytest.mark.parametrize("backend", [name for name in RUN if name in ("tiled", "triton")])
def test_no_matrix_of_pairs_is_made_by_what_works_in_tiles(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(self: PlacedMask) -> Tensor:
        raise AssertionError("the whole matrix was made")

    monkeypatch.setattr(PlacedMask, "dense", whole)
    model = fresh_model(small_config(window=4))
    with torch.no_grad(), model.attention_backend(backend):  # type: ignore[arg-type]
        model(random_ids(1, 11), torch.arange(11)[None])


# Which one runs


def chosen(
    device: str = "cpu", tokens: int = 20, scoring: Scoring = PLAIN, dtype: torch.dtype = torch.float32
) -> str:
    query = torch.zeros(1, 1, tokens, 4, dtype=dtype, device=device)
    return choose(query, query, query, torch.ones(1, tokens, tokens, dtype=torch.bool), scoring).backend


def test_what_is_usual_is_pytorchs_call() -> None:
    assert chosen() == chosen(tokens=1000) == chosen(dtype=torch.bfloat16) == "sdpa"
    assert chosen(scoring=Scoring(scale=2.0, bias=torch.zeros(1, 1, 20, 20))) == "sdpa"


def test_what_pytorchs_call_cannot_do_runs_naively_or_in_tiles_when_long() -> None:
    for scoring in (Scoring(soft_cap=2.0), Scoring(sinks=torch.zeros(1))):
        assert chosen(scoring=scoring) == "naive"
        assert chosen(scoring=scoring, tokens=600) == "tiled"


def test_a_choice_says_why() -> None:
    query = torch.zeros(1, 1, 4, 300, requires_grad=True)
    allowed = torch.ones(1, 4, 4, dtype=torch.bool)
    choice = choose(query, query, query, allowed, Scoring(soft_cap=2.0, sinks=torch.zeros(1)))
    lines = str(choice).splitlines()
    assert lines[0] == "naive: the first that can of sdpa, naive"
    assert lines[1] == "not sdpa: it has no soft cap"
    assert "not flex: it gives no gradients on the CPU" in lines
    assert lines[-1].startswith("not triton: it ")
    with torch.no_grad():
        assert "flex" not in choose(query, query, query, allowed).refusals


@pytest.mark.parametrize(
    ("backend", "changes", "reason"),
    [
        ("sdpa", dict(soft_cap=2.0), "it has no soft cap"),
        ("sdpa", dict(sinks=torch.zeros(1)), "it has no sinks"),
        ("flex", dict(sinks=torch.zeros(1, requires_grad=True)), "it gives no gradients on the CPU"),
        ("triton", dict(), "it (has no float64|is not installed)"),
    ],
)
def test_a_backend_that_cannot_says_what_keeps_it(
    backend: str, changes: dict[str, object], reason: str
) -> None:
    query = torch.zeros(1, 1, 2, 4, dtype=torch.float64)
    allowed = torch.ones(1, 2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=f"backend '{backend}' cannot run this attention: {reason}"):
        attend(query, query, query, allowed, backend, Scoring(**changes))  # type: ignore[arg-type]


def test_auto_is_what_choose_says(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    for name, (_, refuse) in BACKENDS.items():
        monkeypatch.setitem(
            BACKENDS, name, (lambda *inputs, name=name: ran.append(name) or inputs[0], refuse)
        )
    query = torch.zeros(1, 1, 2, 4)
    for scoring in (PLAIN, Scoring(soft_cap=2.0)):
        attend(query, query, query, torch.ones(1, 2, 2, dtype=torch.bool), scoring=scoring)
    assert ran == ["sdpa", "naive"]
