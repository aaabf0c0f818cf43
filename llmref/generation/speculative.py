"""Speculative decoding: a draft proposes several tokens, and one pass of the model checks them all.

What is written has the model's own distribution, whatever the draft.

Sources: Leviathan et al., "Fast Inference from Transformers via Speculative Decoding" (2023), section 2 and
appendix A.1; Chen et al., "Accelerating Large Language Model Decoding with Speculative Sampling" (2023),
algorithm 2 and theorem 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmref.cache import Cache
from llmref.config import DynamicNtkScaling, LongRopeScaling, ModelConfig
from llmref.decoding import Strategy, draw, uniforms
from llmref.generation.draft import Draft, Proposal
from llmref.generation.loop import allowed_steps
from llmref.generation.memory import check_cache, check_memory
from llmref.generation.protocol import LanguageModel
from llmref.model import sequential_positions


@dataclass
class SpeculationReport:
    """What drafting came to. It counts on while a text is being written.

    Attributes:
        passes: Forward passes of the model.
        drafted: Tokens that the draft proposed.
        checked: Those of them that the model came to: what follows a refused token was drafted in vain.
        accepted: Those of them that it accepted.
        new_tokens: Tokens that were written.
    """

    passes: int = 0
    drafted: int = 0
    checked: int = 0
    accepted: int = 0
    new_tokens: int = 0

    @property
    def acceptance_rate(self) -> float:
        """The share of the checked tokens that were accepted: alpha in Leviathan et al., section 3.1."""
        return self.accepted / self.checked if self.checked else math.nan

    @property
    def tokens_per_pass(self) -> float:
        """How many tokens a pass of the model came to; without a draft it is 1."""
        return self.new_tokens / self.passes if self.passes else math.nan


def accept(
    p: Float[Tensor, "places vocab"],
    q: Float[Tensor, "drafted vocab"],
    drafted: Int[Tensor, "drafted"],
    uniforms: Float[Tensor, "places"],
) -> tuple[int, int]:
    """How many drafted tokens stay, and the token that follows them.

    A token x stays with probability min(1, p(x) / q(x)). The first that does not is replaced by one drawn
    from the positive part of p - q; that makes up for what min(1, p / q) took away, so that the token at each
    place is distributed by p. If all stay, one more comes from p itself: there q is nothing.

    Args:
        p: The model's distribution at the place of each drafted token, and after the last one.
        q: The distribution that each was drawn from; not 0 for the token itself.
        drafted: Their ids.
        uniforms: A number in [0, 1) for each decision: to keep each token, and to draw the last.

    Source: Leviathan et al. (2023), section 2.3, algorithm 1.

    >>> p, q = torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> accept(p, q, torch.tensor([0]), torch.tensor([0.4, 0.9]))  # 0.4 < 0.5 / 1: it stays, another follows
    (1, 1)
    >>> accept(p, q, torch.tensor([0]), torch.tensor([0.6, 0.9]))  # it does not: [0.5, 0.5] - [1, 0]
    (0, 1)
    """
    p, q, uniforms = p.double(), q.double(), uniforms.double()
    places = torch.arange(len(drafted), device=p.device)
    stays = uniforms[:-1] * q[places, drafted] < p[places, drafted]
    accepted = int(stays.int().cumprod(dim=0).sum())
    rest = p[accepted]
    if accepted < len(drafted):
        rest = (p[accepted] - q[accepted]).clamp(min=0)
        if not rest.any():  # p and q differ by their rounding alone
            rest = p[accepted]
    return accepted, int(draw(rest[None] / rest.sum(), uniforms[-1:]))


def speculate(
    model: LanguageModel,
    ids: list[int],
    strategy: Strategy,
    max_new_tokens: int,
    *,
    draft: Draft,
    draft_tokens: int = 4,
    seed: int | None = None,
    cache: Cache | None = None,
    report: SpeculationReport | None = None,
) -> Iterator[int]:
    """The ids that follow a prompt, as `generate_ids` gives them, in fewer passes of the model.

    A greedy strategy gives the same ids. Any other gives texts of the same distribution: a seed repeats a
    text, but it is another text than without a draft. A pass over several tokens and a pass over one may
    round differently, so two tokens that tie to within that rounding may change places.

    Args:
        model: The model whose text it is.
        ids: The prompt's token ids, the begin-of-text token included where the model wants one.
        strategy: How a token is chosen; the draft follows it too.
        max_new_tokens: How many new tokens at most.
        draft: Who proposes: a `DraftModel`, `PromptLookup()`, or another `Draft`.
        draft_tokens: How many tokens it may propose for each pass.
        seed: Makes the draws repeatable.
        cache: An empty cache to use, one that can go back; the model's own kind (`new_cache`) if not given.
        report: Counts what is drafted and accepted.

    Raises:
        ValueError: If the draft has another vocabulary, `draft_tokens` is under 1, or the cache cannot go
            back; otherwise as `generate_ids`. All of it before any token.

    >>> import llmref
    >>> from llmref.generation import PromptLookup
    >>> model, tokenizer = llmref.load_tiny()
    >>> ids = [model.config.bos_id, *tokenizer.encode("Minji likes apples. Minji likes")]
    >>> greedy, report = llmref.strategy(temperature=0), SpeculationReport()
    >>> found = list(speculate(model, ids, greedy, 12, draft=PromptLookup(), report=report))
    >>> found == list(llmref.generate_ids(model, ids, greedy, 12)), report.passes < len(found)
    (True, True)
    """
    steps = allowed_steps(model, ids, max_new_tokens)
    strategy.check(model.config.vocab_size)
    if draft_tokens < 1:
        raise ValueError(f"draft_tokens must be at least 1, found {draft_tokens}")
    if draft.vocab_size not in (None, model.config.vocab_size):
        raise ValueError(
            f"the draft must have the model's vocabulary: expected {model.config.vocab_size} tokens, "
            f"found {draft.vocab_size}"
        )
    if cache is None:
        check_memory(model, 1, len(ids) + steps)
        cache = model.new_cache(1, len(ids) + steps)
    else:
        check_cache(cache, len(ids) + steps - 1)
    cache.crop(0)  # one that cannot go back says so here
    report = SpeculationReport() if report is None else report
    return write(model, ids, strategy, steps, draft, draft_tokens, seed, cache, report)


def write(
    model: LanguageModel,
    ids: list[int],
    strategy: Strategy,
    steps: int,
    draft: Draft,
    draft_tokens: int,
    seed: int | None,
    cache: Cache,
    report: SpeculationReport,
) -> Iterator[int]:
    text, end = list(ids), len(ids) + steps
    decisions = uniforms(seed, steps * (2 * draft_tokens + 1)).reshape(steps, 2 * draft_tokens + 1)
    for to_draft, to_decide in zip(*decisions.split([draft_tokens, draft_tokens + 1], dim=1), strict=True):
        # A token of the model's own follows those of the draft.
        room = min(draft_tokens, end - len(text) - 1, room_in_a_pass(model.config, len(text)))
        with torch.inference_mode():
            proposal = draft.propose(text, len(ids), strategy, to_draft[:room])
            p = check(model, text, proposal.ids, strategy, len(ids), cache)
            q = given_by(proposal, p)
            drafted = torch.tensor(proposal.ids, dtype=torch.long, device=p.device)
            accepted, following = accept(p, q, drafted, to_decide[: len(drafted) + 1].to(p.device))
        cache.crop(len(text) + accepted)
        report.passes += 1
        report.drafted += len(drafted)
        report.checked += min(accepted + 1, len(drafted))
        report.accepted += accepted
        for token_id in [*proposal.ids[:accepted], following]:
            if token_id in model.config.end_ids:
                return
            text.append(token_id)
            report.new_tokens += 1
            yield token_id
        if len(text) == end:
            return


def check(
    model: LanguageModel,
    text: list[int],
    drafted: list[int],
    strategy: Strategy,
    prompt_length: int,
    cache: Cache,
) -> Float[Tensor, "places vocab"]:
    """The model's distributions after a text and after each drafted token, by one pass over what is new."""
    whole: Int[Tensor, "batch tokens"] = torch.tensor([text + drafted], device=model.device)
    tokens = whole[:, cache.n_tokens :]
    hidden = model.hidden_states(tokens, sequential_positions(tokens, cache.n_tokens), cache)
    logits = model.logits(hidden[0, -len(drafted) - 1 :])
    if not (strategy.penalties or strategy.constraints):  # no row depends on the text before it
        return strategy.probabilities(logits)
    rows = [
        strategy.probabilities(row[None], whole[:, : len(text) + place], prompt_length)
        for place, row in enumerate(logits)
    ]
    return torch.cat(rows)


def room_in_a_pass(config: ModelConfig, length: int) -> int:
    """How many tokens can join the last one of a text in a pass that rotates as passes of one token do.

    Dynamic NTK and long-rope turn queries and keys by how long the text is when they are computed. Once that
    differs from one token to the next, tokens must come one by one, or the text would be another.

    >>> import llmref
    >>> room_in_a_pass(llmref.load_tiny()[0].config, length=100)
    156
    """
    room = config.context_length - length
    for block in config.blocks:
        scaling = None if block.attention.rope is None else block.attention.rope.scaling
        match scaling:
            case DynamicNtkScaling(original_context_length=original):
                room = min(room, max(original - length, 0))
            case LongRopeScaling(original_context_length=original) if length <= original:
                room = min(room, original - length)
    return room


def given_by(proposal: Proposal, p: Float[Tensor, "places vocab"]) -> Float[Tensor, "drafted vocab"]:
    """The distributions that a proposal was drawn from; all on its tokens if nothing was left to chance."""
    if proposal.probabilities is not None:
        return proposal.probabilities.to(p)
    drafted = torch.tensor(proposal.ids, dtype=torch.long, device=p.device)
    return torch.nn.functional.one_hot(drafted, p.shape[1]).to(p)
