"""Beam search: look for the likeliest text rather than the likeliest next token.

Source: Graves, "Sequence Transduction with Recurrent Neural Networks" (2012), section 2.5; the length
penalty: Wu et al., "Google's Neural Machine Translation System" (2016), section 7, in its plain form.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from llmref.cache import GrowingCache
from llmref.decoding import Constraint, Strategy, finite
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
    model: Transformer,
    ids: list[int],
    beams: int,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    *,
    early_stopping: bool | str = "never",
    constraints: Sequence[Constraint] = (),
) -> list[Beam]:
    """Look for the likeliest text rather than the likeliest next token: keep the best few at every step.

    With one beam and no length penalty it is greedy decoding. It draws nothing, so it takes no settings of
    sampling.

    Args:
        model: The model.
        ids: The prompt's token ids, the begin-of-text token included where the model wants one.
        beams: How many texts are kept at every step.
        max_new_tokens: How many new tokens at most.
        length_penalty: The power of the length that the log-probability is divided by: 0 compares whole
            texts, 1 the mean for each token. Over 0 it favours longer texts.
        early_stopping: When it ends, before `max_new_tokens`, once so many texts have ended: "never" before
            it is sure that no text that goes on can still beat one of them; False when the best that goes on
            would not, were it to end here; True at once.
        constraints: What may not come, such as `NoRepeatNGrams(3)`.

    Returns:
        At most so many texts, the best first.

    Raises:
        ValueError: If `beams` is under 1 or over the vocabulary, the length penalty not finite, or the
            constraints do not fit the vocabulary or leave no text; otherwise as `generate_ids`.

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
    if not 1 <= beams <= model.config.vocab_size:
        raise ValueError(
            f"beam search needs from 1 beam to the vocabulary's {model.config.vocab_size}, found {beams}"
        )
    if not math.isfinite(length_penalty):
        raise ValueError(f"the length penalty must be a finite number, found {length_penalty!r}")
    if early_stopping not in (True, False, "never"):
        raise ValueError(f'early_stopping must be True, False or "never", found {early_stopping!r}')
    Strategy(constraints=tuple(constraints)).check(model.config.vocab_size)
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
        so_far = torch.tensor([ids + beam.ids for beam in running])
        for constraint in constraints:
            log_probabilities = constraint(log_probabilities, so_far, len(ids))
        totals = torch.tensor([[beam.log_probability] for beam in running]) + log_probabilities
        # Each beam can end once for each token that ends a text; so many more leave enough to go on.
        looked_at = beams * max(2, 1 + len(model.config.end_ids))
        best = totals.flatten().sort(descending=True, stable=True)
        rows, going_on = list[int](), list[Beam]()
        for rank, index in enumerate(best.indices[:looked_at].tolist()):
            row, token_id = divmod(index, totals.shape[1])
            total = float(best.values[rank])
            if total == -math.inf:
                break
            beam = Beam([*running[row].ids, token_id], total, total / step**length_penalty)
            if token_id in model.config.end_ids:
                finished += [beam] if rank < beams else []
            elif len(going_on) < beams:
                rows.append(row)
                going_on.append(beam)
        running = going_on
        finished = sorted(finished, key=lambda beam: -beam.score)[:beams]
        if not running:
            break
        # A log-probability only falls; dividing by the greatest length is the best that can still happen.
        longest = steps if early_stopping == "never" and length_penalty > 0 else step
        hope = running[0].log_probability / longest**length_penalty
        if len(finished) == beams and (early_stopping is True or hope <= finished[-1].score):
            return finished
        tokens = torch.tensor([beam.ids[-1:] for beam in running], device=model.device)
        cache.select(rows)
    if not finished + running:
        raise ValueError(f"no text is left to choose: {constraints!r} rule out every one")
    return sorted(finished + running, key=lambda beam: -beam.score)[:beams]
