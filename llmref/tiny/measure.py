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
from llmref.tokenizer import Tokenizer
from llmref.training.data import pack
from llmref.training.loss import next_token_loss

HELD_OUT_SEED = 999_999_999  # no training step draws from it
HELD_OUT_DOCUMENTS = 2000
REFERENCES = 1000


def held_out_loss(model: Transformer, tokenizer: Tokenizer, world: World, count: int) -> dict[str, float]:
    """The model's loss on fresh documents, beside the exact one: the loss of the generator itself on the same ones.

    Both are in nats per token, the end of each document included. `entropy` is their mean over all documents that
    the world can tell, not over these alone.
    """
    texts = list(world.documents(count, HELD_OUT_SEED))
    ids = [tokenizer.encode(text) for text in texts]
    n_tokens = sum(len(document) + 1 for document in ids)
    total = 0.0
    with torch.inference_mode():
        for start in tqdm(range(0, count, 50), desc="held-out loss", unit="batch"):
            batch = pack(ids[start : start + 50], model.config.context_length, _bos(model), _bos(model))
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


def accuracy(model: Transformer, tokenizer: Tokenizer, probes: Sequence[Probe]) -> dict[str, float]:
    """How often the model's likeliest next token is the right one, and how often the right one beats the wrong ones.

    What is compared is the first token in which the right word differs from a wrong one.
    """
    right = better = 0
    for probe in probes:
        answer, others = tokenizer.encode(probe.right), [tokenizer.encode(word) for word in probe.wrong]
        ranks = []
        likeliest = True
        for place in range(len(answer)):
            rivals = {other[place] for other in others if other[:place] == answer[:place] and len(other) > place}
            rivals.discard(answer[place])
            if not rivals:
                continue
            logits = _next_logits(model, [*tokenizer.encode(probe.prefix), *answer[:place]])
            likeliest &= int(logits.argmax()) == answer[place]
            ranks.append(all(logits[answer[place]] > logits[rival] for rival in rivals))
        right += likeliest
        better += all(ranks)
    return {"probes": len(probes), "right_percent": 100 * right / len(probes), "better_percent": 100 * better / len(probes)}


def measure(folder: str | os.PathLike[str] = FOLDER) -> dict[str, Any]:
    """Every figure of the card."""
    model, tokenizer = load(folder)
    world = World()
    figures: dict[str, Any] = {
        "parameters": model.n_parameters,
        "vocabulary": tokenizer.vocab_size,
        "bytes": {file.name: file.stat().st_size for file in _files(Path(folder))},
        "held_out": held_out_loss(model, tokenizer, world, HELD_OUT_DOCUMENTS),
    }
    for language in tqdm(("ko", "en"), desc="facts and references"):
        figures[f"facts_{language}"] = accuracy(model, tokenizer, world.fact_probes(language))
        for name, held_out in (("seen", False), ("held_out", True)):
            probes = world.reference_probes(language, held_out=held_out, count=REFERENCES)
            figures[f"references_{name}_pairs_{language}"] = accuracy(model, tokenizer, probes)
    return figures


def write_card(folder: str | os.PathLike[str] = FOLDER) -> str:
    """Measure, and write the card as card.json and README.md beside the model; gives the text of the card."""
    figures = measure(folder)
    loss = figures["held_out"]
    rows = [
        f"| loss on {loss['documents']:,} fresh documents ({loss['tokens']:,} tokens) | {loss['loss']:.4f} nats per token |",
        f"| the exact loss on the same documents | {loss['exact']:.4f} nats per token |",
        f"| excess over the exact loss | {loss['excess_percent']:.2f}% |",
        f"| the exact entropy of the world | {loss['entropy']:.4f} nats per token |",
    ]
    for language, name in (("ko", "Korean"), ("en", "English")):
        facts = figures[f"facts_{language}"]
        rows.append(f"| facts recalled, {name} ({facts['probes']} questions; chance 8%) | {facts['right_percent']:.1f}% |")
        for kind, what in (("seen", "pairs seen in training"), ("held_out", "pairs never seen")):
            found = figures[f"references_{kind}_pairs_{language}"]
            rows.append(
                f"| references resolved, {name}, {what} ({found['probes']} questions; chance 50%) "
                f"| {found['right_percent']:.1f}% |"
            )
    card = CARD.format(parameters=figures["parameters"], vocabulary=figures["vocabulary"], rows="\n".join(rows))
    Path(folder, "card.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    Path(folder, "README.md").write_text(card, "utf-8")
    return card


CARD = """\
# The tiny model

{parameters:,} parameters, a vocabulary of {vocabulary:,}: trained from nothing on short stories in Korean and English
from a closed world whose every probability is known (`llmref.corpus`). `make tiny` trains it again,
`make measure` measures it again.

| measured | |
|---|---|
{rows}

- **Loss.** Documents drawn with a seed that no training step uses. The exact loss is the generator's own: no model can
  beat it on average.
- **Facts.** A prefix after which a fact alone says what comes next, in a sentence of its own and inside a story. Right
  when the likeliest token is the right one, at each token where the answers part.
- **References.** A story up to the word that "it" / "그것" stands for, half about the animal that acts, half about the
  other. Right when the likeliest token is the right one, at each token where the two animals part.

It knows nothing but its world. It is for looking into, not for use.
"""


def _next_logits(model: Transformer, ids: list[int]) -> torch.Tensor:
    tokens = torch.tensor([[_bos(model), *ids]])
    with torch.inference_mode():
        hidden = model.hidden_states(tokens, sequential_positions(tokens))
        return model.lm_head(hidden[0, -1])


def _bos(model: Transformer) -> int:
    if model.config.bos_id is None:
        raise ValueError("to measure a model, its config needs bos_id")
    return model.config.bos_id


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in ("config.json", "model.safetensors", "tokenizer.json")]


@click.command()
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="A checkpoint's folder.")
def main(folder: Path) -> None:
    """Measure the model of a folder, and write its card."""
    print(write_card(folder))


if __name__ == "__main__":
    main()
