"""The hub, without the hub: what would be fetched, and the one error where it cannot be."""

import fnmatch
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from damage import json_changed
from helpers import logits_of, random_ids, small_model, small_tokenizer, text_config
from huggingface_hub import errors

from llmref.checkpoint import find_folder, load, load_model, save
from llmref.cli import cli

NAME = "someone/some-model.1"
COMMIT = "0123456789abcdef"
EXTRAS = [
    "modeling.py",
    "pytorch_model.bin",
    "consolidated.safetensors",
    "chat_template.jinja",
    "onnx/config.json",
]


class Hub:
    """Stands for `snapshot_download`: a repository of one commit, and a cache."""

    def __init__(self, repository: Path, cache: Path) -> None:
        self.repository, self.cache, self.revisions = repository, cache, []

    def __call__(
        self, name: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        assert name == NAME
        self.revisions.append(revision)
        folder = self.cache / "snapshots" / COMMIT
        for file in self.repository.rglob("*"):
            place = file.relative_to(self.repository).as_posix()
            wanted = any(fnmatch.fnmatch(place, pattern) for pattern in allow_patterns)
            if (
                file.is_file()
                and wanted
                and not any(fnmatch.fnmatch(place, each) for each in ignore_patterns)
            ):
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder / place)
        return str(folder)

    @property
    def fetched(self) -> set[str]:
        return {file.name for file in (self.cache / "snapshots" / COMMIT).iterdir()}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.chdir(tmp_path)
    hub = Hub(tmp_path / "repository", tmp_path / "cache")
    save(small_model(text_config()), small_tokenizer(), hub.repository, family="llama", max_shard_size=20_000)
    for name in EXTRAS:
        (hub.repository / name).parent.mkdir(exist_ok=True)
        (hub.repository / name).write_bytes(b"never to be fetched")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    return hub


def test_a_name_on_the_hub_is_fetched_and_loaded(hub: Hub) -> None:
    model, tokenizer = load(NAME)
    ids = random_ids(1, 9)
    assert torch.equal(logits_of(model, ids), logits_of(small_model(text_config()), ids))
    assert tokenizer.encode("the dog") == small_tokenizer().encode("the dog")
    shards = {file.name for file in hub.repository.glob("model-*.safetensors")}
    small = {"config.json", "tokenizer.json", "model.safetensors.index.json", "chat_template.jinja"}
    assert hub.fetched == shards | small


def test_a_revision_is_asked_for_and_its_commit_kept(hub: Hub) -> None:
    load_model(NAME, revision="v1")
    assert hub.revisions == ["v1", COMMIT]
    load(NAME)
    assert hub.revisions[2:4] == [None, COMMIT]


def test_one_file_of_weights_is_fetched_too(hub: Hub) -> None:
    save(small_model(text_config()), small_tokenizer(), hub.repository, family="llama")
    load(NAME)
    assert hub.fetched == {"config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"}


def test_what_cannot_be_read_is_not_fetched(hub: Hub) -> None:
    json_changed("config.json", model_type="gpt9")(hub.repository)
    with pytest.raises(ValueError, match="config.json: model_type must be one of .*, found 'gpt9'"):
        load(NAME)
    assert not any(name.endswith(".safetensors") for name in hub.fetched)


def test_without_weights_the_small_files_are_fetched(hub: Hub) -> None:
    folder = find_folder(NAME, weights=False)
    assert folder.name == COMMIT
    assert hub.fetched == {
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "chat_template.jinja",
    }


def test_the_command_line_takes_a_name(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    cli(["info", NAME], standalone_mode=False)
    assert "weights on disk  not fetched from the hub" in capsys.readouterr().out
    cli(["tokenize", "the dog", "--model", NAME], standalone_mode=False)
    assert len(capsys.readouterr().out.splitlines()) == len(small_tokenizer().encode("the dog"))
    assert not any(name.endswith(".safetensors") for name in hub.fetched)
    cli(["generate", "the", "--model", NAME, "--max-new-tokens", "2"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("the")
    cli(["info", NAME], standalone_mode=False)
    assert "bytes, F32, in " in capsys.readouterr().out


def test_a_checkpoint_of_pickles_says_that_they_are_not_read(hub: Hub) -> None:
    for file in hub.repository.glob("model*"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors is missing"):
        load(NAME)


def test_a_folder_of_that_name_comes_first(hub: Hub, tmp_path: Path) -> None:
    save(small_model(text_config()), small_tokenizer(), tmp_path / NAME)
    load(NAME)
    assert hub.revisions == []
    with pytest.raises(ValueError, match="is a folder, and only the hub has revisions, found 'main'"):
        load(NAME, revision="main")


@pytest.mark.parametrize(
    "name", ["model", "a/b/c", "/a/b", "../b", "a/..", "./b", "a b/c", "a/", "https://x.y/z", "가/나"]
)
def test_what_is_no_name_is_not_asked_for(hub: Hub, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder, nor owner/name on the hub"):
        load(name)
    with pytest.raises(FileNotFoundError, match="is not a folder, nor owner/name on the hub"):
        load(Path(NAME))
    assert hub.revisions == []


def failing(make: Callable[[], Exception]) -> Callable[..., str]:
    def fail(*_: object, **__: object) -> str:
        raise make()

    return fail


def refused(kind: Any) -> Callable[[], Exception]:
    """An error as the hub library makes it of an answer."""
    return lambda: kind.__new__(kind)


FAILURES: list[tuple[Callable[[], Exception], str]] = [
    (refused(errors.RepositoryNotFoundError), "the hub has none of that name, or it is private"),
    (
        refused(errors.GatedRepoError),
        "it is gated: ask for access on its page on the hub, then run: hf auth login",
    ),
    (refused(errors.RevisionNotFoundError), "it has no revision 'v9'"),
    (lambda: errors.LocalEntryNotFoundError("outgoing traffic has been disabled"), "outgoing traffic"),
    (lambda: errors.HFValidationError("Repo id must not have --"), "Repo id must not have --"),
    (lambda: OSError(28, "No space left on device"), "No space left on device"),
    (lambda: RuntimeError("x" * 10**6), "RuntimeError: xxx"),
]


@pytest.mark.parametrize(("make", "message"), FAILURES)
def test_what_the_hub_refuses_is_one_error(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Exception], message: str
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", failing(make))
    for function in (load, load_model):
        with pytest.raises(FileNotFoundError, match=message) as caught:
            function(NAME, revision="v9")
        assert str(caught.value).startswith(f"no checkpoint: {NAME} is not a folder here, and on the hub")
        assert len(str(caught.value)) < 700


def test_offline_the_hub_library_itself_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real call, with an empty cache and without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match="no checkpoint: a/b is not a folder here, and on the hub: the hub"
    ):
        load("a/b")
