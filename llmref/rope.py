"""Rotary positional embedding (RoPE): a position turns a vector, pair of dimensions by pair.

Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021), section 3.2. The
scalings stretch it to texts longer than those of the training; each function names its own source.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmref.config import (
    DynamicNtkScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeScaling,
    YarnScaling,
)


def rotation(
    positions: Int[Tensor, "batch tokens"],
    head_dim: int,
    base: float = 10_000.0,
    scaling: RopeScaling | None = None,
) -> tuple[Float[Tensor, "batch tokens half"], Float[Tensor, "batch tokens half"]]:
    """The cosine and sine of each pair's angle at each position.

    A pair's angle is the position times the pair's frequency. The tables are float32 whatever the model's
    dtype: a half-precision angle is wrong by whole turns at long positions.

    Args:
        positions: The position of each token.
        head_dim: The size of a head, an even number; it has `half = head_dim / 2` pairs.
        base: The base of the frequencies.
        scaling: How the context is stretched; `None` if it is not.

    >>> cos, sin = rotation(torch.tensor([[0, 1]]), head_dim=2)
    >>> cos.tolist(), sin.tolist()
    ([[[1.0], [0.5403...]]], [[[0.0], [0.8414...]]])
    """
    lengths = positions.amax(dim=-1) + 1
    angles = positions[..., None].float() * frequencies(head_dim, base, scaling, lengths)[..., None, :]
    factor = attention_factor(scaling)
    return angles.cos() * factor, angles.sin() * factor


def frequencies(
    head_dim: int,
    base: float = 10_000.0,
    scaling: RopeScaling | None = None,
    lengths: Int[Tensor, "..."] | None = None,
) -> Float[Tensor, "... half"]:
    """How far each pair turns from one position to the next, in radians; the first pair is the fastest.

    Without scaling pair i turns by `base ** (-2 i / head_dim)`: a geometric series from 1 down to nearly
    1 / base.

    Args:
        head_dim: The size of a head, an even number.
        base: The base of the frequencies.
        scaling: How the context is stretched; `None` if it is not.
        lengths: How long each text is so far. Only dynamic NTK and long-rope ask for it; without it a text
            counts as no longer than those of the training.

    Raises:
        ValueError: If `head_dim` is odd.

    >>> frequencies(head_dim=4, base=16.0).tolist()
    [1.0, 0.25]
    >>> frequencies(head_dim=4, base=16.0, scaling=LinearScaling(factor=4)).tolist()
    [0.25, 0.0625]
    """
    if head_dim % 2:
        raise ValueError(f"head_dim must be even to make pairs, found {head_dim}")
    device = None if lengths is None else lengths.device
    pair = torch.arange(0, head_dim, 2, device=device, dtype=torch.float32)
    plain = base ** (-pair / head_dim)
    match scaling:
        case None:
            return plain
        case LinearScaling():
            return linear(plain, scaling)
        case DynamicNtkScaling():
            return plain if lengths is None else dynamic_ntk(plain, scaling, lengths)
        case YarnScaling():
            return yarn(plain, scaling, base)
        case Llama3Scaling():
            return llama3(plain, scaling)
        case LongRopeScaling():
            return long_rope(plain, scaling, lengths)


def linear(plain: Float[Tensor, "half"], scaling: LinearScaling) -> Float[Tensor, "half"]:
    """All pairs turn `factor` times slower: position 1000 gets the angles that 250 had, for a factor of 4.

    Source: Chen et al., "Extending Context Window of Large Language Models via Positional Interpolation"
    (2023), section 2.3.
    """
    return plain / scaling.factor


def dynamic_ntk(
    plain: Float[Tensor, "half"], scaling: DynamicNtkScaling, lengths: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch half"]:
    """A greater base once the text is longer than those of the training: slow pairs slow down most.

    The first pair keeps its frequency, the last is divided by `stretch`. Each row has its own length, so that
    its neighbours in a batch change nothing. The frequencies move as a text grows, while a cache keeps the
    keys that were rotated before; so does the peer library.

    Source: Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models" (2023), section
    3.3, after bloc97 and emozilla, with the `factor` that checkpoints in the Hugging Face layout have.

    >>> plain = frequencies(head_dim=8)
    >>> scaling = DynamicNtkScaling(factor=2, original_context_length=100)
    >>> torch.equal(dynamic_ntk(plain, scaling, torch.tensor(100)), plain)
    True
    >>> (plain / dynamic_ntk(plain, scaling, torch.tensor(200))).tolist()
    [1.0, 1.44..., 2.08..., 3.0...]
    """
    beyond = (lengths / scaling.original_context_length).clamp(min=1)[..., None]
    stretch = scaling.factor * beyond - (scaling.factor - 1)
    pair = torch.arange(len(plain), device=plain.device)
    return plain * stretch ** (-pair / max(len(plain) - 1, 1))


def yarn(plain: Float[Tensor, "half"], scaling: YarnScaling, base: float) -> Float[Tensor, "half"]:
    """Fast pairs keep their frequency, slow pairs turn `factor` times slower, and a ramp leads over.

    A pair that made many turns within the training's length tells near tokens apart, and all its angles have
    been seen. A pair that made less than one turn would meet angles that training never saw.

    Source: Peng et al. (2023), section 3.2; the ramp runs over the number of the pair, as in the authors'
    code.

    >>> plain = frequencies(head_dim=16)
    >>> (plain / yarn(plain, YarnScaling(factor=4, original_context_length=2048), 10_000.0)).tolist()
    [1.0, 1.0, 1.0, 1.23..., 1.60..., 2.28..., 4.0, 4.0]
    """
    half, trained = len(plain), scaling.original_context_length

    def pair_that_makes(turns: float) -> float:
        """Which pair makes so many turns in the trained length: solves trained * frequency = 2 pi turns."""
        return half * math.log(trained / (2 * math.pi * turns), base)

    first, last = pair_that_makes(scaling.beta_fast), pair_that_makes(scaling.beta_slow)
    if scaling.whole_pairs:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * half - 1)
    ramp = (torch.arange(half, device=plain.device) - first) / max(last - first, 0.001)
    squeezed = ramp.clamp(0, 1)  # 0 for the fast pairs, 1 for the slow ones
    return plain * (1 - squeezed) + plain / scaling.factor * squeezed


def llama3(plain: Float[Tensor, "half"], scaling: Llama3Scaling) -> Float[Tensor, "half"]:
    """As `yarn`, with another ramp: it runs over the number of turns within the training's length.

    Source: Meta's reference code of Llama 3.1 (`apply_scaling` in llama-models, 2024); the paper does not
    give the formula.

    >>> plain = frequencies(head_dim=16, base=500_000.0)
    >>> (plain / llama3(plain, Llama3Scaling(factor=8, original_context_length=8192))).tolist()
    [1.0, 1.0, 1.0, 1.0, 2.69..., 8.0, 8.0, 8.0]
    """
    turns = scaling.original_context_length * plain / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)  # 1 for the fast pairs, 0 for the slow ones
    return plain * kept + plain / scaling.factor * (1 - kept)


def long_rope(
    plain: Float[Tensor, "half"], scaling: LongRopeScaling, lengths: Int[Tensor, "*batch"] | None
) -> Float[Tensor, "*batch half"]:
    """Each pair is slowed by a divisor of its own; texts longer than the original context have others.

    The divisors come from a search, and are stored with the checkpoint. As with `dynamic_ntk`, the keys that
    a cache holds keep the angles they were given; so does the peer library.

    Source: Ding et al., "LongRoPE: Extending LLM Context Window Beyond 2 Million Tokens" (2024), section 3.

    >>> scaling = LongRopeScaling((1.0, 2.0), (4.0, 8.0), original_context_length=10)
    >>> long_rope(torch.ones(2), scaling, torch.tensor([10, 11])).tolist()
    [[1.0, 0.5], [0.25, 0.125]]
    """
    short, long = (plain.new_tensor(factors) for factors in (scaling.short_factors, scaling.long_factors))
    if lengths is None:
        return plain / short
    return plain / torch.where((lengths > scaling.original_context_length)[..., None], long, short)


def attention_factor(scaling: RopeScaling | None) -> float:
    """What rotated queries and keys are multiplied by: 1, but for YaRN and long-rope, which sharpen scores.

    More keys compete in a longer text. YaRN makes each score larger by the square of this factor, once for
    the query and once for the key. Source: Peng et al. (2023), section 3.4.

    >>> attention_factor(None), round(attention_factor(YarnScaling(4, original_context_length=256)), 4)
    (1.0, 1.1386)
    """
    match scaling:
        case YarnScaling(attention_factor=None):
            return 0.1 * math.log(scaling.factor) + 1
        case YarnScaling(attention_factor=float(factor)) | LongRopeScaling(attention_factor=float(factor)):
            return factor
        case _:
            return 1.0


def rotate(
    x: Float[Tensor, "batch heads tokens head_dim"],
    cos: Float[Tensor, "batch tokens half"],
    sin: Float[Tensor, "batch tokens half"],
    layout: Literal["half", "interleaved"] = "half",
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Turn each pair of dimensions by its token's angle; dimensions that have no pair in the tables stay.

    Args:
        x: Queries or keys. Where `2 * half` is less than `head_dim`, its first dimensions turn.
        cos: From `rotation`.
        sin: From `rotation`.
        layout: `"half"` pairs dimension i with i + head_dim / 2 (Llama's checkpoints in the Hugging Face
            layout); `"interleaved"` pairs 2i with 2i + 1 (the paper). The two give different vectors from the
            same weights.

    >>> cos, sin = rotation(torch.tensor([[0, 5]]), head_dim=4)
    >>> x = torch.ones(1, 1, 2, 4)
    >>> turned = rotate(x, cos, sin)
    >>> torch.equal(turned[..., 0, :], x[..., 0, :])  # position 0 turns nothing
    True
    >>> torch.allclose(turned.norm(dim=-1), x.norm(dim=-1))  # no rotation changes a length
    True
    """
    cos, sin = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
    turned, rest = x[..., : 2 * cos.shape[-1]], x[..., 2 * cos.shape[-1] :]
    if layout == "half":
        first, second = turned.chunk(2, dim=-1)
        turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    else:
        first, second = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(-2)
    return torch.cat([turned, rest], dim=-1)
