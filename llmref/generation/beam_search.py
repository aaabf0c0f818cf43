"""Beam search: look for the likeliest text rather than the likeliest next token.

Source: Graves, "Sequence Transduction with Recurrent Neural Networks" (2012), section 2.5; the length
penalty: Wu et al., "Google's Neural Machine Translation System" (2016), section 7, in its plain form.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.cache import GrowingCache
from llmref.decoding import finite
from llmref.generation.loop import allowed_steps
from llmref.model import Transformer, sequential_positions


class Beam(NamedTuple):
    """A text that beam search kept.

    Attributes:
        ids: The new token ids, the end-of-text token included where it came.
        log_probability: The sum of the tokens' log-probabilities, in nats.
        score: What ranks it: the log-probability over the length to the power of the length penalty.
    """

    ids: list[int]
    log_probability: float
    score: float


def beam_search(
    model: Transformer, ids: list[int], beams: int, max_new_tokens: int, length_penalty: float = 1.0
) -> list[Beam]:
    """Look for the likeliest text rather than the likeliest next token: keep the best few at every step.

    It ends when no text that goes on can beat the finished ones any more, or at `max_new_tokens`. With one
    beam and no length penalty it is greedy decoding.

    Args:
        model: The model.
        ids: The prompt's token ids, the begin-of-text token included where the model wants one.
        beams: How many texts are kept at every step.
        max_new_tokens: How many new tokens at most.
        length_penalty: The power of the length that the log-probability is divided by: 0 compares whole
            texts, 1 the mean for each token. Over 0 it favours longer texts.

    Returns:
        At most so many texts, the best first.

    Raises:
        ValueError: If `beams` is under 1 or the length penalty not finite; otherwise as `generate_ids`.

    Source: Graves, "Sequence Transduction with Recurrent Neural Networks" (2012), section 2.5; the length
    penalty: Wu et al., "Google's Neural Machine Translation System" (2016), section 7, in its plain form.

    >>> import llmref
    >>> from llmref import generate_ids, strategy
    >>> model, tokenizer = llmref.load_tiny()
    >>> ids = [model.config.bos_id, *tokenizer.encode("Once upon a time")]
    >>> greedy = list(generate_ids(model, ids, strategy(temperature=0), 8))
    >>> beam_search(model, ids, beams=1, max_new_tokens=8)[0].ids == greedy
    True
    """
    if beams < 1:
        raise ValueError(f"beam search needs at least 1 beam, found {beams}")
    if not math.isfinite(length_penalty):
        raise ValueError(f"the length penalty must be a finite number, found {length_penalty!r}")
    steps = allowed_steps(model, ids, max_new_tokens)
    cache = GrowingCache()
    tokens: Int[Tensor, "beams tokens"] = torch.tensor([ids], device=model.device)
    position = 0
    running, finished = [Beam([], 0.0, 0.0)], list[Beam]()
    for step in range(1, steps + 1):
        with torch.inference_mode():
            hidden = model.hidden_states(tokens, sequential_positions(tokens, position), cache)
            log_probabilities = finite(model.logits(hidden[:, -1])).log_softmax(dim=-1).cpu()
        position += tokens.shape[1]
        totals = torch.tensor([[beam.log_probability] for beam in running]) + log_probabilities
        # Twice as many as are kept: at most half of them end here, so enough are left to go on.
        best = totals.flatten().sort(descending=True, stable=True)
        rows, going_on = list[int](), list[Beam]()
        for rank, index in enumerate(best.indices[: 2 * beams].tolist()):
            row, token_id = divmod(index, totals.shape[1])
            total = float(best.values[rank])
            beam = Beam([*running[row].ids, token_id], total, total / step**length_penalty)
            if token_id in model.config.end_ids:
                finished += [beam] if rank < beams else []
            elif len(going_on) < beams:
                rows.append(row)
                going_on.append(beam)
        running = going_on
        finished = sorted(finished, key=lambda beam: -beam.score)[:beams]
        # A log-probability only falls; dividing by the greatest length is the best that can still happen.
        longest = steps if length_penalty > 0 else step
        hope = running[0].log_probability / longest**length_penalty
        if len(finished) == beams and hope <= finished[-1].score:
            return finished
        tokens = torch.tensor([beam.ids[-1:] for beam in running], device=model.device)
        _keep(cache, rows)
    return sorted(finished + running, key=lambda beam: -beam.score)[:beams]


def _keep(cache: GrowingCache, rows: list[int]) -> None:
    """Give each beam the keys and values of the beam that it goes on from."""
    assert cache.positions is not None
    cache.positions = cache.positions[rows]
    cache.keys = [key[rows] for key in cache.keys]
    cache.values = [value[rows] for value in cache.values]
