"""Small models that are alike but for one difference, trained on the same documents with several seeds.

`make twins` (`python -m llmref.twins.make`) trains them, and writes what this module reads.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from llmref.checkpoint import load_model
from llmref.model import Transformer
from llmref.twins.recipe import COMPARISONS, KEPT

FOLDER = Path(__file__).parent
FILE = FOLDER / "results.json"


@dataclass(frozen=True)
class TwinResult:
    """What one training of one twin came to.

    Attributes:
        twin: Its name in `llmref.twins.recipe.TWINS`.
        seed: The seed of its weights and of its documents.
        parameters: How many numbers were trained.
        loss: On fresh documents, in nats per token.
        facts: Facts recalled, in percent of the questions.
        references: References resolved, in percent of the questions; pairs of animals seen in training.
        references_held_out: The same for pairs never seen together.
        curve: The mean training loss of every 25 steps, in nats per token.
        expert_shares: For `"ko"` and `"en"`, for each block, each expert's share of all the choices that the
            tokens of fresh documents made; empty without a mixture of experts.
    """

    twin: str
    seed: int
    parameters: int
    loss: float
    facts: float
    references: float
    references_held_out: float
    curve: tuple[float, ...]
    expert_shares: dict[str, tuple[tuple[float, ...], ...]]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TwinResult":
        """A result as `results.json` holds it: tuples became lists there."""
        shares = {
            language: tuple(tuple(block) for block in blocks)
            for language, blocks in values["expert_shares"].items()
        }
        return cls(**(values | {"curve": tuple(values["curve"]), "expert_shares": shares}))


@dataclass(frozen=True)
class Spread:
    """The mean of a figure over the seeds, and how far the seeds spread.

    Attributes:
        mean: The mean.
        low: The lowest of the seeds.
        high: The highest of the seeds.
        deviation: The standard deviation of the seeds.
    """

    mean: float
    low: float
    high: float
    deviation: float


@cache
def results() -> tuple[TwinResult, ...]:
    """Every result, as `make twins` wrote it.

    >>> sorted({result.seed for result in results()})
    [1, 2, 3]
    """
    twins = json.loads(FILE.read_text("utf-8")).values()
    return tuple(TwinResult.from_json(values) for twin in twins for values in twin["results"])


def load_twin(twin: str) -> Transformer:
    """A trained twin, to look inside; its tokenizer is the tiny model's.

    Args:
        twin: One of those of which the weights are kept: `llmref.twins.recipe.KEPT`, with their seed.

    Raises:
        ValueError: If its weights are not kept.

    >>> load_twin("base")
    Traceback (most recent call last):
    ...
    ValueError: no weights of a twin 'base' are kept; there are those of experts
    """
    if twin not in KEPT:
        raise ValueError(f"no weights of a twin {twin!r} are kept; there are those of {', '.join(KEPT)}")
    return load_model(FOLDER / twin)


def comparison(name: str) -> dict[str, tuple[TwinResult, ...]]:
    """The twins of one comparison by their label, each with one result for each seed.

    Args:
        name: One of `llmref.twins.recipe.COMPARISONS`.

    Raises:
        ValueError: If there is no such comparison.

    >>> {label: len(found) for label, found in comparison("sharing").items()}
    {'MHA': 3, 'GQA': 3, 'MQA': 3}
    """
    if name not in COMPARISONS:
        raise ValueError(f"no comparison is named {name!r}; there are {', '.join(COMPARISONS)}")
    return {
        label: tuple(result for result in results() if result.twin == twin)
        for label, twin in COMPARISONS[name].items()
    }


def spread(found: tuple[TwinResult, ...], figure: str) -> Spread:
    """The mean and the spread of one figure over the seeds.

    Args:
        found: The results of one twin.
        figure: The name of a number of `TwinResult`, such as `"loss"`.

    >>> found = comparison("heads")["1"]
    >>> spread(found, "loss").low <= spread(found, "loss").mean <= spread(found, "loss").high
    True
    """
    numbers = [getattr(result, figure) for result in found]
    return Spread(mean(numbers), min(numbers), max(numbers), stdev(numbers))
