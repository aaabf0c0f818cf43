"""The whole model against the peer library's own, built from its own config, weights copied by name."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from helpers import (
    CONTEXT_LENGTH,
    VOCAB_SIZE,
    fresh_model,
    left_padded,
    logits_of,
    random_ids,
    small_config,
    small_model,
)
from torch import Tensor, nn

import llmref.model
from llmref.attention import heads, masks, scoring
from llmref.attention.masks import causal, documents
from llmref.cache import GrowingCache
from llmref.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    ModelConfig,
    NormConfig,
    RopeConfig,
)
from llmref.decoding import strategy
from llmref.generation import generate_ids
from llmref.model import Transformer, sequential_positions

NAMES = {
    "model.embed_tokens": "embedding",
    "model.layers": "blocks",
    "input_layernorm": "attention_norm",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.output",
    "post_attention_layernorm": "feedforward_norm",
    "mlp.gate_proj": "feedforward.gate",
    "mlp.up_proj": "feedforward.up",
    "mlp.down_proj": "feedforward.down",
    "model.norm": "final_norm",
}


def peer_model(kind: str, n_kv_heads: int = 2, tied: bool = True, **more: Any) -> nn.Module:
    """A tiny random model of the peer library, with weights large enough that its choices differ."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCAB_SIZE,
        hidden_size=20,
        intermediate_size=29,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=n_kv_heads,
        head_dim=6,
        max_position_embeddings=CONTEXT_LENGTH,
        rms_norm_eps=1e-3,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
        **more,
    )
    torch.manual_seed(1)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.3)
    return model.eval()


def config_of(peer: nn.Module) -> ModelConfig:
    """Our config, read off theirs."""
    theirs: Any = peer.config
    block = BlockConfig(
        AttentionConfig(
            theirs.num_attention_heads,
            theirs.num_key_value_heads,
            theirs.head_dim,
            window=getattr(theirs, "sliding_window", None),
            bias=getattr(theirs, "attention_bias", False),
            output_bias=getattr(theirs, "attention_bias", False),
            rope=RopeConfig(theirs.rope_parameters["rope_theta"]),
        ),
        FeedForwardConfig(theirs.intermediate_size, theirs.hidden_act),
        NormConfig("rms", theirs.rms_norm_eps),
    )
    return ModelConfig(
        vocab_size=theirs.vocab_size,
        d_model=theirs.hidden_size,
        context_length=theirs.max_position_embeddings,
        blocks=(block,) * theirs.num_hidden_layers,
        norm=block.norm,
        tied_embeddings=theirs.tie_word_embeddings,
    )


def ours_from(peer: nn.Module, config: ModelConfig | None = None) -> Transformer:
    weights = {}
    for name, tensor in peer.state_dict().items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        weights[name] = tensor
    model = Transformer(config or config_of(peer))
    model.load_state_dict(weights)
    return model.eval()


def difference(ours: Transformer, peer: nn.Module) -> float:
    """The largest difference of logits: over one whole pass, and over a pass in chunks with a cache."""
    ids = random_ids(2, 23)
    positions = sequential_positions(ids)
    cache = GrowingCache()
    with torch.no_grad():
        expected = peer(ids).logits
        chunked = [
            ours(*part, cache) for part in zip(ids.split(7, dim=1), positions.split(7, dim=1), strict=True)
        ]
        found = ours(ids, positions), torch.cat(chunked, dim=1)
    return max((expected - logits).abs().max().item() for logits in found)


KINDS = [
    ("Llama", {}),
    ("Llama", {"attention_bias": True}),
    ("Mistral", {"sliding_window": 5}),
    ("Mistral", {"sliding_window": 1}),
]


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("kind", "more"), KINDS)
def test_logits_are_the_peer_librarys(kind: str, more: dict[str, Any], tied: bool, n_kv_heads: int) -> None:
    peer = peer_model(kind, n_kv_heads, tied, **more)
    assert difference(ours_from(peer), peer) < 1e-4


def test_gradients_are_the_peer_librarys() -> None:
    peer = peer_model("Llama", tied=False)
    ours, ids = ours_from(peer), random_ids(2, 9, low=1)  # theirs has no gradient for its padding's id, 0
    ours(ids, sequential_positions(ids)).square().sum().backward()
    peer(ids).logits.square().sum().backward()
    renamed = {}
    for name, parameter in peer.named_parameters():
        for old, new in NAMES.items():
            name = name.replace(old, new)
        renamed[name] = parameter.grad
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, renamed[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("kind", "more"), KINDS[::2])
def test_greedy_text_is_the_peer_librarys(kind: str, more: dict[str, Any]) -> None:
    peer = peer_model(kind, **more)
    for seed in range(3):
        ids = random_ids(1, 3 + 4 * seed, seed=seed)
        theirs = peer.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :].tolist()  # type: ignore[operator]
        assert list(generate_ids(ours_from(peer), ids[0].tolist(), strategy(temperature=0), 20)) == theirs


def greedy_batch(model: Transformer, ids: Tensor, positions: Tensor, steps: int) -> Tensor:
    cache, new = GrowingCache(), []
    for _ in range(steps):
        with torch.no_grad():
            ids = model(ids, positions, cache)[:, -1].argmax(dim=-1, keepdim=True)
        positions = positions[:, -1:] + 1
        new.append(ids)
    return torch.cat(new, dim=1)


@pytest.mark.parametrize(("kind", "more"), KINDS[::2])
def test_left_padding_is_the_peer_librarys_and_changes_nothing(kind: str, more: dict[str, Any]) -> None:
    peer = peer_model(kind, **more)
    ours = ours_from(peer)
    rows = [random_ids(length, seed=length).tolist() for length in (11, 3, 7)]
    ids, positions = left_padded(rows)
    attended = (positions >= 0).long()
    with torch.no_grad():
        expected = peer(ids, attention_mask=attended, position_ids=positions.clamp(min=0)).logits
        found = ours(ids, positions)
    torch.testing.assert_close(found[positions >= 0], expected[positions >= 0], rtol=1e-4, atol=1e-4)
    theirs = peer.generate(ids, attention_mask=attended, max_new_tokens=12, do_sample=False)[:, 11:]  # type: ignore[operator]
    batched = greedy_batch(ours, ids, positions, 12)
    assert batched.tolist() == theirs.tolist()
    for row, tokens in enumerate(rows):
        assert list(generate_ids(ours, tokens, strategy(temperature=0), 12)) == batched[row].tolist()


# A mistake of the usual kinds turns the parity red


def no_square_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "relevance_scores", lambda query, key: query @ key.mT)


def shifted_window(monkeypatch: pytest.MonkeyPatch) -> None:
    right = llmref.model.window
    monkeypatch.setattr(llmref.model, "window", lambda size: right(size + 1))


def upper_left_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    def pairs(self: object, queries: Tensor, keys: Tensor) -> Tensor:
        return torch.ones(len(keys), queries.shape[1], keys.shape[1], dtype=torch.bool).tril()

    monkeypatch.setattr(masks._Causal, "pairs", pairs)


def no_causality(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llmref.model, "causal", lambda: ~(causal() & ~causal()))


def other_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    right = heads.rotate
    monkeypatch.setattr(heads, "rotate", lambda x, cos, sin, _: right(x, cos, sin, "interleaved"))


def rotated_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    # The scores of a whole pass do not change when both turn the other way; so turn the keys only.
    right, calls = heads.rotate, iter(range(10**6))

    def rotate(x: Tensor, cos: Tensor, sin: Tensor, layout: Any) -> Tensor:
        return right(x, cos, sin if next(calls) % 2 == 0 else -sin, layout)

    monkeypatch.setattr(heads, "rotate", rotate)


def heads_shared_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    def repeat(self: Tensor, times: int, dim: int) -> Tensor:
        return torch.cat([self] * times, dim=dim)

    monkeypatch.setattr(Tensor, "repeat_interleave", repeat)


MISTAKES: list[Callable[[pytest.MonkeyPatch], None]] = [
    no_square_root,
    shifted_window,
    upper_left_corner,
    no_causality,
    other_layout,
    rotated_backwards,
    heads_shared_in_turns,
]


@pytest.fixture
def pairs() -> Iterator[list[tuple[Transformer, nn.Module]]]:
    """Our model and theirs, with a window and without one."""
    peers = [peer_model("Mistral", sliding_window=5), peer_model("Llama")]
    ours = [ours_from(peer) for peer in peers]
    with ours[0].attention_backend("naive"), ours[1].attention_backend("naive"):
        yield list(zip(ours, peers, strict=True))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_turns_the_parity_red(
    mistake: Callable[[pytest.MonkeyPatch], None],
    pairs: list[tuple[Transformer, nn.Module]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert max(difference(*pair) for pair in pairs) < 1e-4
    mistake(monkeypatch)
    assert max(difference(*pair) for pair in pairs) > 1e-2


# What holds for the model alone


def test_a_later_token_changes_nothing_before_it() -> None:
    ids = random_ids(1, 12)
    changed = ids.clone()
    changed[0, 8] = (ids[0, 8] + 1) % VOCAB_SIZE
    before, after = logits_of(small_model(), ids), logits_of(small_model(), changed)
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])


def test_packed_documents_have_the_logits_they_have_alone() -> None:
    one, other = random_ids(1, 5, seed=1), random_ids(1, 8, seed=2)
    ids = torch.cat([one, other], dim=1)
    positions = torch.cat([torch.arange(5), torch.arange(8)])[None]
    mask = causal() & documents(torch.tensor([[0] * 5 + [1] * 8]))
    with torch.no_grad():
        both = small_model()(ids, positions, mask=mask)
    torch.testing.assert_close(both[:, :5], logits_of(small_model(), one), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(both[:, 5:], logits_of(small_model(), other), rtol=1e-5, atol=1e-5)


def test_tied_embeddings_are_one_matrix() -> None:
    tied, untied = fresh_model(small_config()), fresh_model(small_config(tied_embeddings=False))
    assert tied.lm_head.weight is tied.embedding.weight
    assert untied.n_parameters - tied.n_parameters == VOCAB_SIZE * 20
    assert sum(1 for _ in tied.parameters()) + 1 == sum(1 for _ in untied.parameters())


def test_the_state_dict_has_the_names_that_others_read() -> None:
    names = list(fresh_model(small_config(n_blocks=1)).state_dict())
    assert names == [
        "embedding.weight",
        "blocks.0.attention_norm.weight",
        "blocks.0.attention.query.weight",
        "blocks.0.attention.key.weight",
        "blocks.0.attention.value.weight",
        "blocks.0.attention.output.weight",
        "blocks.0.feedforward_norm.weight",
        "blocks.0.feedforward.gate.weight",
        "blocks.0.feedforward.up.weight",
        "blocks.0.feedforward.down.weight",
        "final_norm.weight",
        "lm_head.weight",
    ]


def test_fresh_weights_pass_on_the_size_they_get_and_depend_on_the_seed() -> None:
    config = small_config(n_blocks=8, vocab_size=500, d_model=64, tied_embeddings=False)
    torch.manual_seed(0)
    model = Transformer(config)
    assert logits_of(model, random_ids(4, 32)).std().item() == pytest.approx(1, rel=0.1)
    feedforward = model.blocks[0].feedforward
    assert feedforward.up.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)
    assert feedforward.down.weight.std().item() == pytest.approx(29**-0.5 / 4, rel=0.1)
    torch.manual_seed(0)
    again = Transformer(config)
    assert all(
        torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_blocks_may_differ() -> None:
    blocks = (
        small_config(window=2).blocks[:1] + small_config(n_heads=2, n_kv_heads=1, norm="layer").blocks[:1]
    )
    model = fresh_model(replace(small_config(), blocks=blocks))
    assert logits_of(model, random_ids(1, 9)).shape == (1, 9, VOCAB_SIZE)


@pytest.mark.parametrize(
    ("ids", "positions", "message"),
    [
        ([[61]], [[0]], "token ids must be from 0 to 60, found 61"),
        ([[3, -1]], [[0, 1]], "token ids must be from 0 to 60, found -1"),
        ([[3, 3]], [[47, 48]], "context length is 48, so positions end at 47; found 48"),
        ([[3, 3]], [[-2, 0]], "-1 for padding, found -2"),
        ([[]], [[]], "at least one token, found ids of shape \\(1, 0\\)"),
    ],
)
def test_bad_input(ids: list[list[int]], positions: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_model()(torch.tensor(ids, dtype=torch.long), torch.tensor(positions, dtype=torch.long))


def test_the_last_position_is_allowed() -> None:
    ids = random_ids(1, CONTEXT_LENGTH)
    assert logits_of(small_model(), ids).isfinite().all()


def test_half_precision_is_near_float32() -> None:
    ids = random_ids(1, 20)
    exact = logits_of(fresh_model(), ids)
    for dtype, tolerance in ((torch.bfloat16, 0.1), (torch.float16, 0.02)):
        rough = logits_of(fresh_model(dtype=dtype), ids)
        assert rough.dtype == dtype
        assert (rough.float() - exact).norm() / exact.norm() < tolerance
