"""Measure the tiny model against the truth of its world: `python -m llmref.tiny.measure`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from llmref.checkpoint import load
from llmref.corpus import Probe, World
from llmref.model import Transformer, sequential_positions
from llmref.tiny import FOLDER
from llmref.tokenizer import TextTokenizer
from llmref.training.data import pack
from llmref.training.loss import next_token_loss

HELD_OUT_SEED = 999_999_999  # no training step draws from it
HELD_OUT_DOCUMENTS = 2000
REFERENCES = 1000


def held_out_loss(model: Transformer, tokenizer: TextTokenizer, world: World, count: int) -> dict[str, float]:
    """The model's loss on fresh documents, beside the loss of the world's own probabilities on the same ones.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        world: Where the documents come from.
        count: How many documents.

    Returns:
        `loss` and `exact` in nats per token, the end of each document included; `excess_percent` of the one
        over the other; `entropy`, the mean of `exact` over all documents that the world can tell.
    """
    texts = list(world.documents(count, HELD_OUT_SEED))
    ids = [tokenizer.encode(text) for text in texts]
    n_tokens = sum(len(document) + 1 for document in ids)
    total = 0.0
    with torch.inference_mode():
        for start in tqdm(range(0, count, 50), desc="held-out loss", unit="batch"):
            end_id = _end_id(model)
            batch = pack(ids[start : start + 50], model.config.context_length, end_id, end_id)
            total += float(next_token_loss(model, batch)) * batch.n_targets
    exact = -sum(world.log_probability(text) for text in texts)
    return {
        "documents": count,
        "tokens": n_tokens,
        "loss": total / n_tokens,
        "exact": exact / n_tokens,
        "excess_percent": 100 * (total / exact - 1),
        "entropy": world.entropy() / world.expected_tokens(tokenizer),
    }


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two sequences begin with in common."""
    length = 0
    while first[length : length + 1] == second[length : length + 1] != []:
        length += 1
    return length


def accuracy(model: Transformer, tokenizer: TextTokenizer, probes: Sequence[Probe]) -> dict[str, float]:
    """How often the model's likeliest next token is the right one, in percent.

    Where a word is several tokens, each token counts in which the right word differs from a wrong one.
    """
    right = 0
    for probe in tqdm(probes, desc=f"{probes[0].language} questions", leave=False):
        answer = tokenizer.encode(probe.right)
        others = [tokenizer.encode(word) for word in probe.wrong]
        prefix = [_end_id(model), *tokenizer.encode(probe.prefix)]
        deciding = [
            place
            for place in range(len(answer))
            if any(_common_length(answer, other) == place for other in others)
        ]
        tokens = torch.tensor([[*prefix, *answer]])
        with torch.inference_mode():
            likeliest = model(tokens, sequential_positions(tokens))[0].argmax(dim=-1).tolist()
        right += all(likeliest[len(prefix) - 1 + place] == answer[place] for place in deciding)
    return {"questions": len(probes), "right_percent": 100 * right / len(probes)}


def measure(folder: str | os.PathLike[str] = FOLDER) -> dict[str, Any]:
    """Every figure of the card."""
    model, tokenizer = load(folder)
    world = World()
    figures: dict[str, Any] = {
        "parameters": model.n_parameters,
        "vocabulary": tokenizer.vocab_size,
        "held_out": held_out_loss(model, tokenizer, world, HELD_OUT_DOCUMENTS),
    }
    for language in world.languages:
        figures[f"facts_{language}"] = accuracy(model, tokenizer, world.fact_probes(language))
        for name, held_out in (("seen", False), ("held_out", True)):
            probes = world.reference_probes(language, held_out=held_out, count=REFERENCES)
            figures[f"references_{name}_pairs_{language}"] = accuracy(model, tokenizer, probes)
    return figures


def write_card(folder: str | os.PathLike[str] = FOLDER) -> str:
    """Measure, and write the card as card.json and README.md beside the model; gives the text of the card."""
    figures = measure(folder)
    loss = figures["held_out"]
    rows = {
        f"loss on {loss['documents']:,} fresh documents": f"{loss['loss']:.4f} nats per token",
        "the exact loss on the same documents": f"{loss['exact']:.4f} nats per token",
        "excess over the exact loss": f"{loss['excess_percent']:.2f}%",
        "the exact entropy of the world": f"{loss['entropy']:.4f} nats per token",
    }
    for language, name in (("ko", "Korean"), ("en", "English")):
        facts = figures[f"facts_{language}"]
        rows[f"facts recalled, {name}, {facts['questions']} questions"] = f"{facts['right_percent']:.1f}%"
        for kind, pairs in (("seen", "pairs seen in training"), ("held_out", "pairs never seen")):
            found = figures[f"references_{kind}_pairs_{language}"]
            what = f"references resolved, {name}, {pairs}, {found['questions']:,} questions, chance 50%"
            rows[what] = f"{found['right_percent']:.1f}%"
    table = "\n".join(f"| {what} | {figure} |" for what, figure in rows.items())
    card = CARD.format(parameters=figures["parameters"], vocabulary=figures["vocabulary"], rows=table)
    Path(folder, "card.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    Path(folder, "README.md").write_text(card, "utf-8")
    return card


CARD = """\
# The tiny model

{parameters:,} parameters, a vocabulary of {vocabulary:,}: trained from nothing on short stories in Korean and
English from a closed world whose every probability is known (`llmref.corpus`). `make tiny` trains it again,
`make measure` measures it again.

| measured | |
|---|---|
{rows}

- **Loss.** Documents drawn with a seed that no training step uses. The exact loss is the world's own: no
  model can beat it on average.
- **Facts.** A prefix after which a fact alone says what comes next, in a sentence of its own and in a story.
  Right when the likeliest token is the right one, at each token where the answers part.
- **References.** A story up to the word that "it" / "그것" stands for, half about the animal that acts, half
  about the other. Right when the likeliest token is the right one, at each token where the two animals part.

It knows nothing but its world. It is for looking into, not for use.
"""


def _end_id(model: Transformer) -> int:
    if model.config.eos_id is None or model.config.eos_id != model.config.bos_id:
        raise ValueError("the card is measured for a model whose bos_id and eos_id are the same token")
    return model.config.eos_id


@click.command()
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="A checkpoint's folder.")
def main(folder: Path) -> None:
    """Measure the model of a folder, and write its card."""
    print(write_card(folder))


if __name__ == "__main__":
    main()
