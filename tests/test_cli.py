"""The command line: what each command prints, its exit codes, and errors in one line."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import fresh_model, latent_mixture_config, small_tokenizer, text_config
from published import document_of, llama2, write

import llmref
from llmref import checkpoint, cli, generate, load, load_tokenizer, trace
from llmref.checkpoint import save
from llmref.config import FeedForwardConfig
from llmref.model import Transformer

COMMANDS = ["generate", "tokenize", "trace", "train", "info", "exercise"]


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `llmref` with arguments, as a shell would, but in this process."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["llmref", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    checkpoint.save(fresh_model(text_config(eos_id=None)), small_tokenizer(), folder)
    return folder


def test_help_names_every_command(run: Run) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        result = run(*arguments)
        assert result.code == 0
        assert all(f"\n  {command} " in result.out for command in COMMANDS)
        assert "A transformer LLM you can read" in result.out


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "exercise"])
def test_each_command_has_help_with_its_defaults(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: llmref {command} [OPTIONS]")
    assert "default" in result.out
    if command != "train":
        assert "the tiny model" in " ".join(result.out.split())


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version").out == f"llmref, version {llmref.__version__}\n"


@pytest.mark.parametrize(
    "settings",
    [
        ["--temperature", 0],
        ["--seed", 3],
        ["--seed", 1, "--top-k", 9, "--top-p", 0.9],
        ["--seed", 2, "--stop", "a"],
        ["--seed", 4, "--min-p", 0.2, "--repetition-penalty", 1.3],
        ["--seed", 5, "--frequency-penalty", 0.5, "--presence-penalty", 0.7],
    ],
)
def test_generate_prints_the_prompt_and_what_follows(
    run: Run, model_folder: Path, settings: list[object]
) -> None:
    arguments = ["generate", "the 강아지", "--max-new-tokens", 15, "--model", model_folder, *settings]
    whole, streamed = run(*arguments), run(*arguments, "--stream")
    assert whole.code == 0
    assert whole.err == ""
    assert whole == streamed
    assert whole.out.startswith("the 강아지")
    options = dict(
        zip((str(name).strip("-").replace("-", "_") for name in settings[::2]), settings[1::2], strict=True)
    )
    model, tokenizer = load(model_folder)
    text = generate(model, tokenizer, "the 강아지", max_new_tokens=15, **options)  # type: ignore[arg-type]
    assert whole.out == f"the 강아지{text}\n"


def test_generate_streams_piece_by_piece(
    run: Run, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[str] = []
    right = cli.click.echo
    monkeypatch.setattr(
        cli.click, "echo", lambda message="", **more: (pieces.append(message), right(message, **more))
    )
    run("generate", "the", "--model", model_folder, "--temperature", 0, "--max-new-tokens", 12, "--stream")
    assert len(pieces) > 5
    pieces.clear()
    run("generate", "the", "--model", model_folder, "--temperature", 0, "--max-new-tokens", 12)
    assert len(pieces) == 3  # the prompt, the text, the end of the line


def test_generate_answers_a_message(run: Run, model_folder: Path) -> None:
    arguments = ["the dog<|endoftext|>", "--chat", "--model", model_folder, "--temperature", 0]
    assert "no chat template is named 'default'; there is none" in run("generate", *arguments).err
    (model_folder / "chat_template.jinja").write_text(
        "{{ messages[0].role }}: {{ messages[0].content }}<|endoftext|>"
    )
    result = run("generate", *arguments, "--max-new-tokens", 9)
    (model_folder / "chat_template.jinja").unlink()
    model, tokenizer = load(model_folder)
    ids = [*tokenizer.encode("user: the dog<|endoftext|>"), 0]
    assert result.out == generate(model, tokenizer, ids, temperature=0, max_new_tokens=9) + "\n"


def test_tokenize_reads_published_tokenizers(run: Run, tmp_path: Path) -> None:
    write(tmp_path, document_of(llama2))
    result = run("tokenize", "the 뷁<s>", "--model", tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    ids = tokenizer.encode("the 뷁<s>")
    rows = [f"{token_id:>6}  {piece}" for token_id, piece in zip(ids, tokenizer.pieces(ids), strict=True)]
    assert result.out.splitlines() == rows
    assert any(row.endswith("\\xeb") for row in rows)
    assert 1 not in ids


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_generate_in_half_precision(run: Run, model_folder: Path, dtype: str) -> None:
    result = run("generate", "the", "--model", model_folder, "--dtype", dtype, "--max-new-tokens", 4)
    assert (result.code, result.err) == (0, "")


def test_tokenize_shows_ids_and_pieces(run: Run, model_folder: Path) -> None:
    result = run("tokenize", "the dog 개<|endoftext|>", "--model", model_folder)
    rows = [line.split(maxsplit=1) for line in result.out.splitlines()]
    ids = small_tokenizer().encode("the dog 개<|endoftext|>")
    assert [int(row[0]) for row in rows] == ids
    assert 0 not in ids
    assert f"{len(ids)} tokens, 22 characters, 24 bytes" in result.err
    assert result.code == 0


def test_trace_lists_every_tensor(run: Run, model_folder: Path) -> None:
    result = run("trace", "the dog", "--model", model_folder)
    model, tokenizer = load(model_folder)
    seen = trace(model, [0, *tokenizer.encode("the dog")])
    assert result.out == f"{seen}\n"
    assert result.code == 0


def test_trace_prints_one_tensor_and_cuts(run: Run, model_folder: Path) -> None:
    name = "blocks.0.attention.head_outputs"
    whole = run("trace", "dog", "--model", model_folder, "--tensor", name)
    assert whole.out.startswith(f"{name} (1, 4, ")
    cut = run("trace", "dog", "--model", model_folder, "--tensor", name, "--cut", "blocks.0.attention:2")
    mean = run(
        "trace",
        "dog",
        "--model",
        model_folder,
        "--tensor",
        name,
        "--cut",
        "blocks.0.attention:2",
        "--by",
        "mean",
    )
    assert len({whole.out, cut.out, mean.out}) == 3
    assert cut.code == mean.code == 0


def test_info_says_what_the_model_is_made_of(run: Run, model_folder: Path) -> None:
    result = run("info", model_folder)
    assert result.code == 0
    model, _ = load(model_folder)
    for words in (
        f"{model.n_parameters:,}",
        "48 tokens",
        "4 heads, 2 key/value heads, head_dim 6, window none",
        "d_ff 29, silu, gated",
        "rms, pre",
        "rotary, base 100",
        f"{(model_folder / 'model.safetensors').stat().st_size:,} bytes",
    ):
        assert words in result.out


def test_info_counts_the_blocks_of_each_kind(run: Run, tmp_path: Path) -> None:
    config = latent_mixture_config(vocab_size=small_tokenizer().vocab_size)
    dense = replace(config.blocks[0], feedforward=FeedForwardConfig(29))
    model = Transformer(replace(config, blocks=(dense, *config.blocks)))
    save(model, small_tokenizer(), tmp_path)
    result = run("info", tmp_path)
    assert result.code == 0
    active = model.n_parameters - 2 * 4 * 3 * 20 * 13
    for words in (
        f"{model.n_parameters:,}, {active:,} of them for each token",
        "3 heads, latent_dim 7, plain_dim 5, rotated_dim 4, value_dim 6\n",
        "1 × d_ff 29, silu, gated; 2 × 2 of 6 experts of d_ff 13, silu, gated, "
        "and a shared one of d_ff 9, silu, gated\n",
    ):
        assert words in result.out


def test_train_makes_a_model_that_generates_and_resumes(run: Run, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("the dog saw the cat\n\nthe cat saw the dog\n\n강아지가 보았다", "utf-8")
    folder = tmp_path / "model"
    arguments = [
        "train",
        folder,
        "--documents",
        texts,
        "--vocab-size",
        290,
        "--steps",
        3,
        "--documents-per-step",
        2,
    ]
    result = run(*arguments)
    assert result.code == 0, result.err
    assert result.out.startswith("loss ")
    assert f"llmref generate PROMPT --model {folder}" in result.out
    assert run("generate", "the", "--model", folder, "--max-new-tokens", 3).code == 0
    assert run(*arguments).out == result.out
    other = run(*arguments, "--learning-rate", 0.1)
    assert other.code == 2
    assert "holds a run with another recipe" in other.err


def test_everything_runs_with_the_tiny_model(run: Run) -> None:
    assert run("generate", "옛날에", "--temperature", 0.8, "--max-new-tokens", 4, "--stream").out.startswith(
        "옛날에"
    )
    assert run("tokenize", "Once upon a time").code == 0
    assert "blocks.4.output" in run("trace", "Once").out
    assert " entries\n" in run("info").out


# Errors: one line, exit code 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", ""], "the prompt is empty"),
        (["generate", "dog " * 99], "this model's context length is 48"),
        (
            ["generate", "dog", "--temperature", "-1"],
            "temperature must be 0 or a positive number, found -1.0",
        ),
        (["generate", "dog", "--temperature", "hot"], "Invalid value for '--temperature'"),
        (["generate", "dog", "--top-p", "0"], "top-p must be over 0 and at most 1, found 0.0"),
        (["generate", "dog", "--top-p", "1.5"], "top-p must be over 0 and at most 1, found 1.5"),
        (["generate", "dog", "--min-p", "2"], "found 2.0"),
        (["generate", "dog", "--repetition-penalty", "0"], "found 0.0"),
        (["generate", "dog", "--top-k", "0"], "top-k must be a whole number of at least 1, found 0"),
        (["generate", "dog", "--max-new-tokens", "-1"], "max_new_tokens must be 0 or more, found -1"),
        (["generate", "dog", "--stop", ""], "a stop text must not be empty"),
        (["generate", "dog", "--device", "toaster"], "no device 'toaster' on this machine"),
        (["generate", "dog", "--dtype", "int3"], "Invalid value for '--dtype'"),
        (["generate", "dog", "--model", "/nowhere"], "no checkpoint: /nowhere is not a folder"),
        (["tokenize", "dog", "--model", "/nowhere"], "no checkpoint: /nowhere is not a folder"),
        (["trace", "dog", "--tensor", "blocks.0.nothing"], "no tensor is named 'blocks.0.nothing'"),
        (["trace", "dog", "--cut", "blocks.9.attention"], "found 'blocks.9.attention'"),
        (["trace", "dog", "--cut", "blocks.0.attention:x"], "found 'blocks.0.attention:x'"),
        (["trace", "dog", "--cut", "blocks.0.attention:9"], "has heads 0 to 3, found 9"),
        (["trace", "dog", "--by", "noise"], "Invalid value for '--by'"),
        (["trace", ""], "the text is empty"),
        (["info", "/nowhere"], "no checkpoint: /nowhere is not a folder, nor owner/name on the hub"),
        (["generate"], "Missing argument 'PROMPT'"),
        (["generate", "dog", "--loud"], "--loud"),
        (["sing"], "sing"),
        (["exercise", "singing"], "there is no exercise 'singing'; there are: "),
        (["exercise", "kv-cache", "rope"], "rope"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    run: Run, model_folder: Path, arguments: list[str], message: str
) -> None:
    if arguments[0] in ("generate", "tokenize", "trace") and "--model" not in arguments:
        arguments = [*arguments, "--model", str(model_folder)]
    result = run(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert result.err.startswith("llmref: error: ")
    assert message in result.err


def test_a_damaged_checkpoint_is_one_line(run: Run, model_folder: Path, tmp_path: Path) -> None:
    for file in model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    result = run("generate", "dog", "--model", tmp_path)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "model.safetensors is damaged" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--documents", "missing.txt"], "missing.txt"),
        (["--documents", "texts.txt", "--steps", "0"], "steps must be at least 1, found 0"),
        (["--documents", "texts.txt", "--device", "toaster"], "no device 'toaster'"),
        (["--documents", "texts.txt", "--precision", "int3"], "--precision"),
        (["--documents", "texts.txt", "--vocab-size", "9"], "vocab_size must be at least 257"),
        (["--documents", "empty.txt"], "holds no document"),
        (["--documents", "."], "."),
    ],
)
def test_train_errors_leave_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("the dog", "utf-8")
    Path("empty.txt").write_text("\n\n")
    result = run("train", "new/model", *arguments)
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("llmref: error: ")
    assert message in result.err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt", "texts.txt"]


def test_a_folder_that_cannot_be_written_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("the dog", "utf-8")
    (tmp_path / "file").write_text("")
    result = run("train", tmp_path / "file" / "model", "--documents", tmp_path / "texts.txt")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-1].startswith("llmref: error: ")


def test_an_interruption_is_said_and_has_its_own_code(
    run: Run, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.checkpoint, "load", interrupted)
    result = run("generate", "dog", "--model", model_folder)
    assert result.code == 130
    assert "stopped" in result.err
    assert result.err.count("\n") <= 2
