"""Drafts: who proposes tokens that a model then checks, all in one pass.

Sources: Leviathan et al., "Fast Inference from Transformers via Speculative Decoding" (2023), section 2 (a
smaller model); Saxena, "Prompt Lookup Decoding" (2023) (what followed the same words before).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from llmref.cache import Cache, GrowingCache
from llmref.decoding import Strategy, draw
from llmref.model import Transformer, sequential_positions
from llmref.tokenizer import TextTokenizer


class Proposal(NamedTuple):
    """What a draft expects to come next.

    Attributes:
        ids: The drafted token ids, in order; there may be none.
        probabilities: The distribution that each was drawn from; None if nothing was left to chance.
    """

    ids: list[int]
    probabilities: Float[Tensor, "drafted vocab"] | None = None


@runtime_checkable
class Draft(Protocol):
    """Anything that can guess how a text goes on. A bad guess costs time, and never the text."""

    @property
    def vocab_size(self) -> int | None:
        """How many token ids it knows; None if it knows none of its own."""

    def propose(
        self, ids: Sequence[int], prompt_length: int, strategy: Strategy, uniforms: Float[Tensor, "draws"]
    ) -> Proposal:
        """The tokens that may follow a text.

        Args:
            ids: The text so far.
            prompt_length: How many of these ids are the prompt.
            strategy: How the model's own tokens are chosen.
            uniforms: A number in [0, 1) for each token that may be proposed; fewer tokens are fine.
        """


class DraftModel:
    """A smaller model as the draft: it writes a few tokens, by the same strategy.

    It keeps a cache, and goes back in it to where the text differs from what it has read. So one draft can
    serve any number of texts, one after another.

    Args:
        model: A model with the vocabulary of the one that checks.
        cache: An empty cache to use, one that can go back; a growing one if not given.

    Raises:
        ValueError: If the cache holds tokens, or cannot go back.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> ids = [model.config.bos_id, *tokenizer.encode("Once upon a")]
    >>> greedy = llmref.strategy(temperature=0)
    >>> tokenizer.decode(DraftModel(model).propose(ids, len(ids), greedy, torch.zeros(3)).ids)
    ' time, a'
    """

    def __init__(self, model: Transformer, cache: Cache | None = None) -> None:
        self.model = model
        self.cache = GrowingCache() if cache is None else cache
        if self.cache.n_tokens:
            raise ValueError(
                f"a draft needs an empty cache, found one that holds {self.cache.n_tokens} tokens"
            )
        self.cache.crop(0)  # one that cannot go back says so here
        self.read: list[int] = []

    @property
    def vocab_size(self) -> int:
        """How many token ids the model knows."""
        return self.model.config.vocab_size

    def propose(
        self, ids: Sequence[int], prompt_length: int, strategy: Strategy, uniforms: Float[Tensor, "draws"]
    ) -> Proposal:
        """As many tokens as there are uniform numbers, or as fit into the model's context."""
        self._go_back_to(ids)
        text, probabilities = list(ids), list[Tensor]()
        for uniform in uniforms:
            if len(text) > self.model.config.context_length:
                break
            tokens = torch.tensor([text[len(self.read) :]], device=self.model.device)
            hidden = self.model.hidden_states(
                tokens, sequential_positions(tokens, len(self.read)), self.cache
            )
            self.read = text.copy()
            so_far = torch.tensor([text], device=self.model.device)
            row = strategy.probabilities(self.model.logits(hidden[:, -1]), so_far, prompt_length)
            probabilities.append(row)
            text.append(int(draw(row, uniform[None].to(row.device))))
        return Proposal(text[len(ids) :], torch.cat(probabilities) if probabilities else None)

    def _go_back_to(self, ids: Sequence[int]) -> None:
        """Forget what is not the beginning of this text, and its last token, which is read anew."""
        kept = 0
        for old, new in zip(self.read, ids[:-1], strict=False):
            if old != new:
                break
            kept += 1
        self.cache.crop(kept)
        del self.read[kept:]


class PromptLookup:
    """The text itself as the draft: what followed the last time that the same few tokens stood there.

    It looks for the longest run of tokens at the end of the text that stood in it before, and proposes what
    came after the latest such place. It needs no model, and helps where a text repeats itself.

    Args:
        longest: The longest run that it looks for.

    Raises:
        ValueError: If that is under 1.

    Source: Saxena, "Prompt Lookup Decoding" (2023).

    >>> draft = PromptLookup()
    >>> draft.propose([5, 6, 7, 8, 9, 5, 6], 7, Strategy(), torch.zeros(3)).ids
    [7, 8, 9]
    """

    vocab_size = None

    def __init__(self, longest: int = 3) -> None:
        if longest < 1:
            raise ValueError(f"prompt look-up needs a run of at least 1 token, found {longest}")
        self.longest = longest

    def propose(
        self, ids: Sequence[int], prompt_length: int, strategy: Strategy, uniforms: Float[Tensor, "draws"]
    ) -> Proposal:
        """The tokens after the latest place where the text's last tokens stood before, if there is one."""
        ids = list(ids)
        for length in range(min(self.longest, len(ids) - 1), 0, -1):
            for start in range(len(ids) - length - 1, -1, -1):
                after = start + length
                if ids[start:after] == ids[-length:]:
                    return Proposal(ids[after : after + len(uniforms)])
        return Proposal([])


def check_same_tokens(tokenizer: TextTokenizer, draft: TextTokenizer) -> None:
    """A draft model must spell with the same tokens under the same ids, or its guesses mean something else.

    Raises:
        ValueError: If the draft's tokenizer has another vocabulary.

    >>> import llmref
    >>> _, tokenizer = llmref.load_tiny()
    >>> check_same_tokens(tokenizer, tokenizer)
    """
    if tokenizer.vocab_size != draft.vocab_size:
        raise ValueError(
            f"the draft's tokenizer must be the model's: expected {tokenizer.vocab_size} tokens, "
            f"found {draft.vocab_size}"
        )
    for token_id in range(tokenizer.vocab_size):
        expected, found = tokenizer.token_bytes(token_id), draft.token_bytes(token_id)
        if expected != found:
            raise ValueError(
                f"the draft's tokenizer must be the model's: expected token {token_id} to be {expected!r}, "
                f"found {found!r}"
            )
