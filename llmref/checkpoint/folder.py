"""Where a checkpoint is: a local folder, or a name on the Hugging Face hub."""

import os
import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from llmref.checkpoint.configuration import load_config
from llmref.checkpoint.files import shortened
from llmref.checkpoint.tensors import INDEX, SINGLE, read_index

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
SMALL_FILES = ("*.json", "*.jinja")  # config, index, tokenizer, chat template: no code, no pickles


def find_folder(
    path_or_id: str | os.PathLike[str], revision: str | None = None, *, weights: bool = True
) -> Path:
    """The folder of a checkpoint; one of the hub is fetched first, or taken from the hub library's cache.

    The small files come first, so that an unknown family is an error before gigabytes are fetched. Of the
    weights, only the safetensors files that the index names are.

    Args:
        path_or_id: A folder, or a name on the hub such as `"microsoft/Phi-3-mini-4k-instruct"`.
        revision: A branch, a tag or a commit of the hub's; its newest state if not given.
        weights: Whether the weights shall be there, or the small files will do.

    Raises:
        FileNotFoundError: If there is no such folder, and nothing of that name on the hub or no way to it.
        ValueError: If the config or the index does not fit, or a folder is asked for a revision.
    """
    folder = Path(path_or_id)
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"{folder} is a folder, and only the hub has revisions, found {revision!r}")
        return folder
    if not isinstance(path_or_id, str) or not HUB_ID.fullmatch(path_or_id):
        raise FileNotFoundError(f"no checkpoint: {path_or_id} is not a folder, nor owner/name on the hub")
    folder = _fetch(path_or_id, revision, SMALL_FILES)
    if weights:
        load_config(folder / "config.json")
        names = set(read_index(folder).values()) if (folder / INDEX).exists() else {SINGLE}
        folder = _fetch(path_or_id, folder.name, sorted(names))  # the same commit: a branch may have moved
    return folder


def _fetch(name: str, revision: str | None, patterns: list[str] | tuple[str, ...]) -> Path:
    """The hub's folder with the files of these names, which are fetched where the cache has them not."""
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=list(patterns), ignore_patterns=["*/*"]
            )
        )
    except GatedRepoError:
        reason = "it is gated: ask for access on its page on the hub, then run: hf auth login"
    except RevisionNotFoundError:
        reason = f"it has no revision {revision!r}"
    except RepositoryNotFoundError:
        reason = "the hub has none of that name, or it is private"
    except Exception as error:  # the hub library passes on whatever its HTTP library raises
        reason = f"the hub cannot be reached ({type(error).__name__}: {shortened(error)})"
    raise FileNotFoundError(f"no checkpoint: {name} is not a folder here, and on the hub: {reason}")
