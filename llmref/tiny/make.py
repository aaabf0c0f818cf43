"""Train the tiny model from nothing: `python -m llmref.tiny.make`. A run that was interrupted goes on."""

import sys
from pathlib import Path

import click
import torch

from llmref.checkpoint import save
from llmref.model import Transformer
from llmref.tiny import FOLDER
from llmref.tiny.measure import write_card
from llmref.tiny.recipe import SEED, TOKENIZER_DOCUMENTS, TRAINING, VOCAB_SIZE, WorldDocuments, model_config
from llmref.tokenizer import Tokenizer
from llmref.training import train


@click.command()
@click.option("--run", default="build/tiny", type=click.Path(path_type=Path), help="Where checkpoints go.")
@click.option("--out", default=FOLDER, type=click.Path(path_type=Path), help="Where the model goes.")
def main(run: Path, out: Path) -> None:
    """Train the tokenizer and the tiny model, save them in float16, and measure them."""
    documents = WorldDocuments(SEED)
    print(f"the tokenizer, on {TOKENIZER_DOCUMENTS:,} documents …", file=sys.stderr)
    tokenizer = Tokenizer.train(documents.world.documents(TOKENIZER_DOCUMENTS, seed=0), VOCAB_SIZE)
    torch.manual_seed(SEED)
    model = Transformer(model_config(tokenizer))
    print(f"the model, {model.n_parameters:,} parameters, {TRAINING.steps:,} steps …", file=sys.stderr)
    train(model, tokenizer, documents, TRAINING, run)
    save(model, tokenizer, out, dtype=torch.float16)
    print(write_card(out))


if __name__ == "__main__":
    main()
