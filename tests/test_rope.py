"""RoPE: both layouts and every scaling against twins that are not ours, and what a rotation must do."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import fresh_model, logits_of, random_ids, small_config
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    CohereConfig,
    DynamicCache,
    Gemma3TextConfig,
    GlmConfig,
    GPTNeoXConfig,
    LlamaConfig,
    Phi3Config,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.cohere import modeling_cohere
from transformers.models.gemma3 import modeling_gemma3
from transformers.models.glm import modeling_glm
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama import modeling_llama
from transformers.models.phi3 import modeling_phi3

from llmref.cache import GrowingCache
from llmref.checkpoint import load_model
from llmref.config import (
    DynamicNtkScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeConfig,
    RopeScaling,
    YarnScaling,
)
from llmref.rope import attention_factor, frequencies, rotate, rotation

SHAPE = (2, 3, 5, 8)  # batch, heads, tokens, head_dim
POSITIONS = torch.tensor([[0, 1, 2, 3, 40], [7, 7, 0, 900, 12]])
LAYOUTS = ("half", "interleaved")
TRAINED = 256
SCALINGS: tuple[RopeScaling | None, ...] = (
    None,
    LinearScaling(4.0),
    DynamicNtkScaling(2.0, TRAINED),
    DynamicNtkScaling(1.0, TRAINED),
    YarnScaling(8.0, TRAINED),
    YarnScaling(40.0, TRAINED, beta_fast=16.0, beta_slow=2.0),
    YarnScaling(8.0, TRAINED, attention_factor=0.7),
    YarnScaling(32.0, TRAINED, beta_fast=20.0, beta_slow=0.5, whole_pairs=False),
    Llama3Scaling(8.0, TRAINED),
    Llama3Scaling(32.0, TRAINED, low_frequency_factor=0.5, high_frequency_factor=8.0),
)
PEERS: dict[str, tuple[Any, Any, Any]] = {
    "half": (LlamaConfig, modeling_llama.LlamaRotaryEmbedding, modeling_llama.apply_rotary_pos_emb),
    "interleaved": (
        CohereConfig,
        modeling_cohere.CohereRotaryEmbedding,
        modeling_cohere.apply_rotary_pos_emb,
    ),
}
STRETCHING = [scaling for scaling in SCALINGS if scaling is not None]


def vectors(seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def as_complex_numbers(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """The paper's view: a pair is a complex number, and a position multiplies it by e^(i·angle)."""
    head_dim = x.shape[-1]
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], head_dim // 2, 2).contiguous())
    exponents = torch.arange(head_dim // 2, dtype=torch.float64) * -2 / head_dim
    angles = positions[:, None, :, None] * base**exponents
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def peer_parameters(scaling: RopeScaling | None, base: float) -> dict[str, Any]:
    """The scaling in the words of the peer library."""
    words: dict[str, Any] = {"rope_theta": base, "rope_type": "default"}
    match scaling:
        case LinearScaling():
            words |= {"rope_type": "linear", "factor": scaling.factor}
        case DynamicNtkScaling():
            words |= {"rope_type": "dynamic", "factor": scaling.factor}
        case YarnScaling():
            words |= {
                "rope_type": "yarn",
                "factor": scaling.factor,
                "original_max_position_embeddings": scaling.original_context_length,
                "beta_fast": scaling.beta_fast,
                "beta_slow": scaling.beta_slow,
                "attention_factor": scaling.attention_factor,
                "truncate": scaling.whole_pairs,
            }
        case Llama3Scaling():
            words |= {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "original_max_position_embeddings": scaling.original_context_length,
                "low_freq_factor": scaling.low_frequency_factor,
                "high_freq_factor": scaling.high_frequency_factor,
            }
        case LongRopeScaling():
            words |= {
                "rope_type": "longrope",
                "short_factor": list(scaling.short_factors),
                "long_factor": list(scaling.long_factors),
                "original_max_position_embeddings": scaling.original_context_length,
                "attention_factor": scaling.attention_factor,
            }
    return words


def peer_config(
    kind: Any, scaling: RopeScaling | None, head_dim: int, base: float, share: float = 1.0, **more: Any
) -> Any:
    return kind(
        hidden_size=2 * head_dim,
        num_attention_heads=2,
        head_dim=head_dim,
        max_position_embeddings=TRAINED,  # dynamic NTK takes the trained length from here
        rope_parameters=peer_parameters(scaling, base) | {"partial_rotary_factor": share},
        **more,
    )


def long_rope(dims: int) -> LongRopeScaling:
    """Divisors of each pair's own, for so many dimensions that turn."""
    pairs = range(dims // 2)
    return LongRopeScaling(
        tuple(1 + 0.3 * math.sin(pair) ** 2 for pair in pairs),
        tuple(2.0 + pair for pair in pairs),
        TRAINED,
        1.19,
    )


# One rotation


@pytest.mark.parametrize("base", [10.0, 10_000.0])
def test_interleaved_is_a_product_of_complex_numbers(base: float) -> None:
    cos, sin = rotation(POSITIONS, 8, base)
    turned = rotate(vectors(), cos, sin, "interleaved")
    torch.testing.assert_close(turned, as_complex_numbers(vectors(), POSITIONS, base), atol=2e-4, rtol=0)


def test_the_slowest_pair_turns_by_the_formula() -> None:
    cos, sin = rotation(torch.tensor([[3]]), head_dim=8, base=10_000.0)
    for pair in range(4):
        angle = 3 * 10_000 ** (-2 * pair / 8)
        assert cos[0, 0, pair].item() == pytest.approx(math.cos(angle), abs=1e-6)
        assert sin[0, 0, pair].item() == pytest.approx(math.sin(angle), abs=1e-6)


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
def test_the_layouts_are_one_rotation_with_the_dimensions_in_another_order(
    scaling: RopeScaling | None,
) -> None:
    cos, sin = rotation(POSITIONS, 8, 10_000.0, scaling)
    order = torch.arange(8).reshape(4, 2).T.flatten()  # 0 2 4 6 1 3 5 7
    x = vectors()
    torch.testing.assert_close(
        rotate(x[..., order], cos, sin, "half"), rotate(x, cos, sin, "interleaved")[..., order]
    )
    assert not torch.allclose(rotate(x, cos, sin, "half"), rotate(x, cos, sin, "interleaved"), atol=0.1)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    shift=st.integers(0, 500),
    seed=st.integers(0, 99),
    scaling=st.sampled_from([s for s in SCALINGS if not isinstance(s, DynamicNtkScaling)]),
)
def test_scores_depend_on_the_distance_alone(
    layout: str, shift: int, seed: int, scaling: RopeScaling | None
) -> None:
    query, key = vectors(seed), vectors(seed + 1)

    def scores(positions: Tensor) -> Tensor:
        tables = rotation(positions, 8, 50.0, scaling)
        return rotate(query, *tables, layout) @ rotate(key, *tables, layout).mT  # type: ignore[arg-type]

    torch.testing.assert_close(scores(POSITIONS), scores(POSITIONS + shift), atol=4e-3, rtol=0)
    assert not torch.allclose(scores(POSITIONS), scores(2 * POSITIONS), atol=0.1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
def test_a_rotation_keeps_lengths_and_position_0_keeps_all(layout: str, scaling: RopeScaling | None) -> None:
    cos, sin = rotation(POSITIONS, 8, 10_000.0, scaling)
    turned = rotate(vectors(), cos, sin, layout)  # type: ignore[arg-type]
    factor = attention_factor(scaling)
    torch.testing.assert_close(turned.norm(dim=-1), factor * vectors().norm(dim=-1), atol=1e-6, rtol=0)
    for row, token in ((0, 0), (1, 2)):
        torch.testing.assert_close(turned[row, :, token], factor * vectors()[row, :, token])


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
def test_tables_stay_float32_and_vectors_keep_their_dtype(scaling: RopeScaling | None) -> None:
    cos, sin = rotation(POSITIONS, 8, 10_000.0, scaling)
    assert cos.dtype == sin.dtype == torch.float32
    assert rotate(vectors(0, torch.bfloat16), cos, sin).dtype == torch.bfloat16


def test_an_odd_head_is_an_error() -> None:
    with pytest.raises(ValueError, match="even to make pairs, found 7"):
        frequencies(7)


# Against the peer library's own modules


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
@pytest.mark.parametrize("head_dim", [8, 128])
@pytest.mark.parametrize("base", [1_000.0, 500_000.0])
@pytest.mark.parametrize("length", [TRAINED, TRAINED + 1, 3000])
def test_tables_are_those_of_a_llama(
    scaling: RopeScaling | None, head_dim: int, base: float, length: int
) -> None:
    positions = torch.randint(0, length, (1, 40), generator=torch.Generator().manual_seed(0))
    positions[0, -1] = length - 1
    module = modeling_llama.LlamaRotaryEmbedding(peer_config(LlamaConfig, scaling, head_dim, base))
    theirs = module(torch.zeros(1), positions)
    for ours, their in zip(rotation(positions, head_dim, base, scaling), theirs, strict=True):
        # A frequency's last bit, times the position, is what the angles may differ by.
        torch.testing.assert_close(torch.cat([ours, ours], dim=-1), their, atol=5e-7 * length, rtol=0)


@pytest.mark.parametrize("scaling", STRETCHING, ids=str)
@pytest.mark.parametrize("head_dim", [32, 96])
@pytest.mark.parametrize("length", [100, 2000])
def test_frequencies_and_attention_factor_are_the_peer_librarys(
    scaling: RopeScaling, head_dim: int, length: int
) -> None:
    config = peer_config(LlamaConfig, scaling, head_dim, 10_000.0)
    theirs, factor = ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config, seq_len=length)
    ours = frequencies(head_dim, 10_000.0, scaling, torch.tensor(length))
    torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=0)
    assert attention_factor(scaling) == pytest.approx(factor)


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rotated_vectors_are_the_peer_librarys(scaling: RopeScaling | None, layout: str) -> None:
    config, embedding, apply = PEERS[layout]
    query, key = vectors(0, torch.float32), vectors(1, torch.float32)
    # Row by row: there a long row would change the frequencies of its neighbours too.
    tables = rotation(POSITIONS, 8, 100.0, scaling)
    ours = [rotate(x, *tables, layout) for x in (query, key)]  # type: ignore[arg-type]
    for row in range(len(POSITIONS)):
        only = slice(row, row + 1)
        module = embedding(peer_config(config, scaling, 8, 100.0))
        theirs = apply(query[only], key[only], *module(query, POSITIONS[only]))
        for our, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(our[only], their, atol=2e-3, rtol=0)


@pytest.mark.parametrize("head_dim", [8, 96])
@pytest.mark.parametrize("base", [1_000.0, 500_000.0])
@pytest.mark.parametrize("length", [TRAINED, TRAINED + 1, 3000])
def test_long_ropes_tables_are_those_of_a_phi3(head_dim: int, base: float, length: int) -> None:
    scaling = long_rope(head_dim)
    positions = torch.randint(0, length, (1, 40), generator=torch.Generator().manual_seed(0))
    positions[0, -1] = length - 1
    config = peer_config(Phi3Config, scaling, head_dim, base, original_max_position_embeddings=TRAINED)
    theirs = modeling_phi3.Phi3RotaryEmbedding(config)(torch.zeros(1), positions)
    for ours, their in zip(rotation(positions, head_dim, base, scaling), theirs, strict=True):
        torch.testing.assert_close(torch.cat([ours, ours], dim=-1), their, atol=6e-7 * length, rtol=0)
    assert attention_factor(scaling) == 1.19


PARTIAL_PEERS: dict[str, tuple[Any, Any, Any]] = {
    "half": (
        GPTNeoXConfig,
        modeling_gpt_neox.GPTNeoXRotaryEmbedding,
        modeling_gpt_neox.apply_rotary_pos_emb,
    ),
    "interleaved": (GlmConfig, modeling_glm.GlmRotaryEmbedding, modeling_glm.apply_rotary_pos_emb),
}


@pytest.mark.parametrize("scaling", [*SCALINGS, "long-rope"], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dims", [4, 6])
def test_a_part_of_a_head_turns_as_the_peer_librarys_does(
    scaling: RopeScaling | str | None, layout: str, dims: int
) -> None:
    scale = long_rope(dims) if isinstance(scaling, str) else scaling
    config, embedding, apply = PARTIAL_PEERS[layout]
    query, key = vectors(0, torch.float32), vectors(1, torch.float32)
    tables = rotation(POSITIONS, dims, 100.0, scale)
    ours = [rotate(x, *tables, layout) for x in (query, key)]  # type: ignore[arg-type]
    for row in range(len(POSITIONS)):
        only = slice(row, row + 1)
        module = embedding(peer_config(config, scale, 8, 100.0, share=dims / 8))
        theirs = apply(query[only], key[only], *module(query, POSITIONS[only]))
        for our, their, before in zip(ours, theirs, (query, key), strict=True):
            torch.testing.assert_close(our[only], their, atol=2e-3, rtol=0)
            assert torch.equal(our[only][..., dims:], before[only][..., dims:])


@pytest.mark.parametrize("length", [TRAINED, 3000])
def test_layers_with_bases_of_their_own_are_those_of_a_gemma3(length: int) -> None:
    own = {"sliding_attention": (10_000.0, None), "full_attention": (1_000_000.0, LinearScaling(8.0))}
    config = Gemma3TextConfig(
        hidden_size=64,
        num_attention_heads=2,
        head_dim=32,
        rope_parameters={kind: peer_parameters(scaling, base) for kind, (base, scaling) in own.items()},
    )
    module = modeling_gemma3.Gemma3RotaryEmbedding(config)
    positions = torch.arange(length - 40, length)[None]
    for kind, (base, scaling) in own.items():
        theirs = module(torch.zeros(1), positions, kind)
        for ours, their in zip(rotation(positions, 32, base, scaling), theirs, strict=True):
            torch.testing.assert_close(torch.cat([ours, ours], dim=-1), their, atol=5e-7 * length, rtol=0)


def test_each_block_turns_by_its_own_base() -> None:
    block = small_config().blocks[0]
    blocks = [
        replace(block, attention=replace(block.attention, rope=RopeConfig(base))) for base in (100.0, 5000.0)
    ]
    models = [
        fresh_model(replace(small_config(), blocks=pair)) for pair in itertools.product(blocks, repeat=2)
    ]
    logits = [logits_of(model, random_ids(1, 12)) for model in models]
    for one, other in itertools.combinations(logits, 2):
        assert not torch.allclose(one, other, atol=1e-2)


@pytest.mark.parametrize("scaling", [DynamicNtkScaling(4.0, 12), long_rope(6)], ids=["dynamic", "long-rope"])
def test_a_cache_past_the_original_context_is_the_peer_librarys(scaling: RopeScaling, tmp_path: Path) -> None:
    # The frequencies change where the text outgrows the context; keys that are stored keep theirs, there too.
    parameters = peer_parameters(scaling, 100.0)
    if isinstance(scaling, LongRopeScaling):
        parameters["original_max_position_embeddings"] = 12
    config = LlamaConfig(
        vocab_size=61,
        hidden_size=20,
        intermediate_size=29,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        max_position_embeddings=12 if isinstance(scaling, DynamicNtkScaling) else 48,
        rope_parameters=parameters,
    )
    torch.manual_seed(0)
    peer = modeling_llama.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.normal_(std=0.3)
    peer.save_pretrained(tmp_path)
    ours, ids = load_model(tmp_path), random_ids(1, 24)
    positions, store, theirs = torch.arange(24)[None], GrowingCache(), DynamicCache()
    with torch.no_grad():
        for start, end in itertools.pairwise([0, 9, 11, 12, 13, 14, 20, 24]):
            part = slice(start, end)
            found = ours(ids[:, part], positions[:, part], store)
            expected = peer(
                ids[:, part], position_ids=positions[:, part], past_key_values=theirs, use_cache=True
            ).logits
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


# What a scaling is for


@pytest.mark.parametrize("scaling", STRETCHING, ids=str)
@given(head_dim=st.sampled_from([16, 64, 128]), base=st.sampled_from([10_000.0, 500_000.0]))
def test_the_slower_a_pair_the_more_it_slows(scaling: RopeScaling, head_dim: int, base: float) -> None:
    plain = frequencies(head_dim, base)
    slowed = plain / frequencies(head_dim, base, scaling, torch.tensor(4 * TRAINED))
    assert (slowed.diff() > -1e-5).all()
    if not isinstance(scaling, LinearScaling):
        assert slowed[0].item() == pytest.approx(1)  # the fastest pair is left alone
    if not isinstance(scaling, DynamicNtkScaling):
        assert slowed[-1].item() == pytest.approx(scaling.factor)


def test_linear_gives_a_position_the_angles_of_one_nearer() -> None:
    far, near = torch.tensor([[1000, 4]]), torch.tensor([[250, 1]])
    for scaled, plain in zip(rotation(far, 32, scaling=LinearScaling(4.0)), rotation(near, 32), strict=True):
        torch.testing.assert_close(scaled, plain)


def test_dynamic_ntk_leaves_texts_of_the_trained_length_alone() -> None:
    scaling = DynamicNtkScaling(4.0, TRAINED)
    for length, same in ((TRAINED - 1, True), (TRAINED, True), (TRAINED + 1, False)):
        positions = torch.arange(length)[None]
        equal = torch.equal(rotation(positions, 16, scaling=scaling)[0], rotation(positions, 16)[0])
        assert equal == same


def test_a_long_row_changes_nothing_for_its_neighbours() -> None:
    scaling = DynamicNtkScaling(4.0, TRAINED)
    short, long = torch.tensor([[0, 9, -1]]), torch.tensor([[0, 9, 5000]])
    cos, sin = rotation(torch.cat([short, long]), 16, scaling=scaling)
    assert torch.equal(cos[0], rotation(short, 16)[0][0])
    assert torch.equal(sin[1], rotation(long, 16, scaling=scaling)[1][0])
    assert not torch.allclose(cos[1, 1], cos[0, 1])


def test_a_model_reads_layout_base_and_scaling_from_its_config() -> None:
    ids = random_ids(1, 12)
    half = logits_of(fresh_model(small_config(layout="half")), ids)
    interleaved = logits_of(fresh_model(small_config(layout="interleaved")), ids)
    without = logits_of(fresh_model(small_config(layout=None)), ids)
    assert not torch.allclose(half, interleaved, atol=1e-2)
    assert not torch.allclose(half, without, atol=1e-2)
    assert torch.allclose(half[:, 0], interleaved[:, 0])  # position 0 turns nothing
    assert RopeConfig().base == 10_000
