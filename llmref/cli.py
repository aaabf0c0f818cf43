"""The command line: generate, tokenize, trace, train, info, exercise."""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click
import torch

from llmref import __version__, checkpoint, exercises, generation
from llmref.chat import load_chat_template
from llmref.config import (
    AttentionConfig,
    FeedForwardConfig,
    LatentAttentionConfig,
    MixtureConfig,
    ModelConfig,
)
from llmref.cost import cost
from llmref.model import Transformer
from llmref.tiny import FOLDER
from llmref.tiny.recipe import WorldDocuments, model_config
from llmref.tokenizer import TextTokenizer, Tokenizer, load_tokenizer
from llmref.trace import Cut
from llmref.trace import trace as run_trace
from llmref.training import Documents, TextFile, TrainingConfig
from llmref.training import train as run_training

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

model_option = click.option(
    "--model", "path_or_id", default=str(FOLDER), show_default="the tiny model",
    help="A checkpoint's folder, or its name on the hub (owner/name).",
)  # fmt: skip
device_option = click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps …")
dtype_option = click.option("--dtype", default="float32", show_default=True, type=click.Choice(list(DTYPES)))


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """A transformer LLM you can read: generate text, look inside, train your own.

    Every command uses the tiny bilingual model that comes with the package, unless --model says otherwise.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("prompt")
@click.option("--max-new-tokens", default=64, show_default=True, help="How many new tokens at most.")
@click.option("--temperature", default=0.8, show_default=True, help="0 is greedy; higher is more varied.")
@click.option("--top-k", type=int, help="Draw from so many likeliest tokens only.")
@click.option("--top-p", type=float, help="Draw from the likeliest tokens that reach this probability.")
@click.option("--min-p", type=float, help="Drop what is less than so many times as likely as the likeliest.")
@click.option("--repetition-penalty", default=1.0, show_default=True, help="Over 1: less of what is there.")
@click.option("--frequency-penalty", default=0.0, show_default=True, help="Taken each time it was written.")
@click.option("--presence-penalty", default=0.0, show_default=True, help="Taken once if it was written.")
@click.option("--seed", type=int, help="The same seed gives the same text.")
@click.option("--stop", multiple=True, help="End before this text; may be given more than once.")
@click.option("--stream", is_flag=True, help="Print each piece as soon as it is known.")
@click.option("--chat", is_flag=True, help="PROMPT is a message, in the model's chat template.")
@model_option
@device_option
@dtype_option
def generate(
    prompt: str,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    repetition_penalty: float,
    frequency_penalty: float,
    presence_penalty: float,
    seed: int | None,
    stop: tuple[str, ...],
    stream: bool,
    chat: bool,
    path_or_id: str,
    device: str,
    dtype: str,
) -> None:
    """Go on from PROMPT: llmref generate "옛날에" --stream"""
    model, tokenizer = checkpoint.load(path_or_id, device, DTYPES[dtype])
    begin: str | list[int] = prompt
    if chat:
        template = load_chat_template(checkpoint.find_folder(path_or_id, weights=False))
        begin = template.ids(tokenizer, [{"role": "user", "content": prompt}])
    pieces = generation.stream(
        model,
        tokenizer,
        begin,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty,
        seed=seed,
        stop=stop,
    )
    if not stream:
        pieces = iter(["".join(pieces)])
    click.echo("" if chat else prompt, nl=False)
    for piece in pieces:
        click.echo(piece, nl=False)
        sys.stdout.flush()
    click.echo()


@cli.command()
@click.argument("text")
@model_option
def tokenize(text: str, path_or_id: str) -> None:
    """Show the tokens of TEXT: each one's id and piece."""
    tokenizer = load_tokenizer(checkpoint.find_folder(path_or_id, weights=False))
    ids = tokenizer.encode(text)
    for token_id, piece in zip(ids, tokenizer.pieces(ids), strict=True):
        click.echo(f"{token_id:>6}  {piece}")
    click.echo(f"{len(ids)} tokens, {len(text)} characters, {len(text.encode())} bytes", err=True)


@cli.command()
@click.argument("text")
@click.option("--tensor", "names", multiple=True, metavar="NAME", help="Print this tensor's values.")
@click.option("--cut", "cuts", multiple=True, metavar="LAYER[:HEAD]", help="Take out a layer, or one head.")
@click.option(
    "--by", default="zero", show_default=True, type=click.Choice(["zero", "mean"]), help="What a cut gives."
)
@model_option
@device_option
def trace(
    text: str, names: tuple[str, ...], cuts: tuple[str, ...], by: str, path_or_id: str, device: str
) -> None:
    """List every tensor of one forward pass over TEXT, with its shape and its bytes."""
    model, tokenizer = checkpoint.load(path_or_id, device)
    seen = run_trace(model, _ids(model, tokenizer, text), cuts=[_cut(cut, by) for cut in cuts])
    if unknown := [name for name in names if name not in seen]:
        raise click.BadParameter(f"no tensor is named {unknown[0]!r}; 'llmref trace TEXT' lists the names")
    if not names:
        click.echo(seen)
    for name in names:
        click.echo(f"{name} {tuple(seen[name].shape)}\n{seen[name]}")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--documents", "file", type=click.Path(path_type=Path), show_default="the bilingual world",
    help="A text file, its documents parted by blank lines.",
)  # fmt: skip
@click.option("--vocab-size", default=1024, show_default=True, help="Of the tokenizer that is trained first.")
@click.option("--steps", default=1000, show_default=True, help="How many updates.")
@click.option("--documents-per-step", default=64, show_default=True, help="How many documents make a batch.")
@click.option("--learning-rate", default=3e-3, show_default=True, help="At its peak.")
@click.option("--precision", default="float32", show_default=True, type=click.Choice(["float32", "bfloat16"]))
@click.option("--seed", default=0, show_default=True, help="Of the first weights and the order of documents.")
@device_option
def train(
    folder: Path,
    file: Path | None,
    vocab_size: int,
    steps: int,
    documents_per_step: int,
    learning_rate: float,
    precision: str,
    seed: int,
    device: str,
) -> None:
    """Train a tokenizer and a model into FOLDER; the same command goes on with a run that was interrupted."""
    documents: Documents = WorldDocuments(seed) if file is None else TextFile(file, seed)
    where = checkpoint.find_device(device)
    config = TrainingConfig(
        steps=steps,
        documents_per_step=documents_per_step,
        learning_rate=learning_rate,
        warmup_steps=min(100, steps // 10),
        precision=precision,  # type: ignore[arg-type]
    )
    click.echo("training the tokenizer …", err=True)
    tokenizer = Tokenizer.train(documents(0, 10_000), vocab_size)
    torch.manual_seed(seed)
    model = Transformer(model_config(tokenizer)).to(where)
    if isinstance(documents, TextFile):
        documents.check_lengths(tokenizer, model.config.context_length)
    click.echo(f"training {model.n_parameters:,} parameters on {where} …", err=True)
    losses = run_training(model, tokenizer, documents, config, folder / "run")
    checkpoint.save(model, tokenizer, folder)
    click.echo(f"loss {losses[-1]:.4f} nats per token; try: llmref generate PROMPT --model {folder}")


@cli.command()
@click.argument("path_or_id", default=str(FOLDER))
def info(path_or_id: str) -> None:
    """What a model is made of: its config, its parameters, its files.

    PATH_OR_ID is a checkpoint's folder, or its name on the hub; of that, no weights are fetched.
    [default: the tiny model]
    """
    folder = checkpoint.find_folder(path_or_id, weights=False)
    config = checkpoint.load_config(folder / "config.json")
    total, idle = checkpoint.outline(config).n_parameters, cost(config).total.idle_parameters
    active = f", {total - idle:,} of them for each token" if idle else ""
    rows = {
        "folder": folder,
        "parameters": f"{total:,}{active}",
        "vocabulary": f"{config.vocab_size:,} entries",
        "context length": f"{config.context_length:,} tokens",
        "blocks": len(config.blocks),
        "d_model": config.d_model,
        "attention": _counted(_attention(block.attention) for block in config.blocks),
        "feedforward": _counted(_feedforward(block.feedforward) for block in config.blocks),
        "norm": _counted(f"{block.norm.kind}, {block.norm_position}" for block in config.blocks),
        "positions": _counted(_positions(config, block.attention) for block in config.blocks),
        "weights on disk": _weights(folder, path_or_id),
    }
    for name, value in rows.items():
        click.echo(f"{name:<16} {value}")


def _counted(descriptions: Iterable[str]) -> str:
    """What all blocks have, or how many blocks have what."""
    kinds = Counter(descriptions)
    return "; ".join(text if len(kinds) == 1 else f"{number} × {text}" for text, number in kinds.items())


def _attention(config: AttentionConfig | LatentAttentionConfig) -> str:
    if isinstance(config, LatentAttentionConfig):
        return (
            f"{config.n_heads} heads, latent_dim {config.latent_dim}, plain_dim {config.plain_dim}, "
            f"rotated_dim {config.rotated_dim}, value_dim {config.value_dim}"
        )
    return (
        f"{config.n_heads} heads, {config.n_kv_heads} key/value heads, head_dim {config.head_dim}, "
        f"window {config.window or 'none'}"
    )


def _feedforward(config: FeedForwardConfig | MixtureConfig) -> str:
    if isinstance(config, MixtureConfig):
        shared = "" if config.shared is None else f", and a shared one of {_feedforward(config.shared)}"
        return f"{config.n_active} of {config.n_experts} experts of {_feedforward(config.expert)}{shared}"
    return f"d_ff {config.d_ff}, {config.activation}" + (", gated" if config.gated else "")


def _positions(config: ModelConfig, attention: AttentionConfig | LatentAttentionConfig) -> str:
    if attention.rope is not None:
        scaling = attention.rope.scaling
        return f"rotary, base {attention.rope.base:,.0f}" + (f", scaled: {scaling.kind}" if scaling else "")
    if isinstance(attention, AttentionConfig) and attention.alibi:
        return "ALiBi"
    return config.positional_embedding or "none"


def _weights(folder: Path, path_or_id: str) -> str:
    try:
        tensors = checkpoint.find_tensors(folder)
    except FileNotFoundError:
        if folder == Path(path_or_id):
            raise
        return "not fetched from the hub"
    files = {tensor.file for tensor in tensors.values()}
    dtypes = ", ".join(sorted({tensor.dtype for tensor in tensors.values()}))
    size = sum(file.stat().st_size for file in files)
    return f"{size:,} bytes, {dtypes}" + (f", in {len(files)} files" if len(files) > 1 else "")


@cli.command()
@click.argument("concept", default="")
def exercise(concept: str) -> None:
    """Write the exercise of a CONCEPT into this folder; once it is there, check it. Without one: list them.

    Ends with exit code 0 when every check passes, and 1 when one does not. Your file is never overwritten.
    """
    if not concept:
        for slug in exercises.slugs():
            click.echo(f"{slug:<18} {exercises.title(slug)}")
        return
    slug = exercises.find(concept)
    path = Path(exercises.file_name(slug))
    if not path.exists():
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(exercises.stub(slug))
        click.echo(f"{path} is written. {exercises.title(slug)}")
        click.echo(f"Put your code where it raises NotImplementedError, then: llmref exercise {slug}")
        return
    passed = []
    for outcome in exercises.run(slug, path):
        click.echo(": ".join(filter(None, (outcome.state, outcome.check.rstrip("."), outcome.message))))
        passed.append(outcome.state == "passed")
    click.echo(f"{sum(passed)} of {len(passed)} passed", err=True)
    if not all(passed):
        sys.exit(1)


def _ids(model: Transformer, tokenizer: TextTokenizer, text: str) -> list[int]:
    if not text:
        raise ValueError("the text is empty: give at least one character")
    return generation.prompt_ids(model, tokenizer, text)


def _cut(text: str, by: str) -> Cut:
    layer, _, head = text.partition(":")
    if head and not head.isdecimal():
        raise ValueError(f"a cut is LAYER or LAYER:HEAD, such as blocks.0.attention:2, found {text!r}")
    return Cut(layer, int(head) if head else None, by)  # type: ignore[arg-type]


def main() -> None:
    """Run the command line; an error is one line and exit code 2."""
    try:
        cli.main(prog_name="llmref", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("llmref: stopped", err=True)
        sys.exit(130)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        _fail(error.format_message())
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except (ValueError, OSError) as error:
        _fail(str(error))


def _fail(message: str, code: int = 2) -> None:
    click.echo(f"llmref: error: {' '.join(message.split())}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
