"""``tokenizer.json``, as the ``tokenizers`` library writes and reads it."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llmref.tokenizer.alphabet import from_characters, to_characters

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
_MODEL = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


class Contents(NamedTuple):
    """What a ``tokenizer.json`` holds: tokens by id, merges in order, special tokens, the split pattern."""

    tokens: list[bytes]
    merges: list[tuple[bytes, bytes]]
    special_tokens: dict[str, int]
    pattern: str


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _added(content: str, index: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": content, **flags}


def write(
    file: str | os.PathLike[str],
    tokens: Sequence[bytes],
    merges: Sequence[tuple[bytes, bytes]],
    special_tokens: Mapping[str, int],
    pattern: str,
) -> None:
    """Writes the file whole or not at all.

    Raises:
        OSError: If the folder cannot be written.
    """
    names = {index: name for name, index in special_tokens.items()}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(names[index], index) for index in sorted(names)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [_split(pattern), _BYTE_LEVEL]},
        "post_processor": None,
        "decoder": _DECODER,
        "model": {
            **_MODEL,
            "vocab": {names.get(index) or to_characters(token): index for index, token in enumerate(tokens)},
            "merges": [[to_characters(left), to_characters(right)] for left, right in merges],
        },
    }
    path = Path(file)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            json.dump(document, stream, ensure_ascii=False, indent=2)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(file: str | os.PathLike[str]) -> Contents:
    """Reads the file, and refuses every setting that this package would not carry out exactly.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, is cut short, or asks for something else than byte-level BPE as written
            here; the message names the file, the entry, what was expected and what was found.
    """
    try:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deeply
        raise ValueError(
            f"{file}: expected JSON, found a file that is damaged or cut short ({error})"
        ) from None
    try:
        return _contents(document)
    except _Unexpected as error:
        raise ValueError(f"{file}: {error}") from None
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(
            f"{file}: expected a tokenizer.json of byte-level BPE, found an entry missing or misshapen "
            f"({type(error).__name__}: {error})"
        ) from None


class _Unexpected(ValueError):
    pass


def _require(entry: str, found: object, *expected: object) -> None:
    if not any(found == value and type(found) is type(value) for value in expected):
        wanted = " or ".join(json.dumps(value, ensure_ascii=False) for value in expected)
        raise _Unexpected(
            f"expected {wanted} at {entry!r}, found {json.dumps(found, ensure_ascii=False)[:200]}"
        )


def _contents(document: Any) -> Contents:
    if not isinstance(document, dict):
        raise _Unexpected(f"expected an object, found {type(document).__name__}")
    _require("version", document.get("version"), "1.0")
    for entry in ("truncation", "padding", "normalizer", "post_processor"):
        _require(entry, document.get(entry), None)

    steps = document["pre_tokenizer"]
    _require("pre_tokenizer.type", steps.get("type"), "Sequence")
    split, byte_level = steps["pretokenizers"]
    pattern = str(split["pattern"]["Regex"])
    _require("pre_tokenizer.pretokenizers[0]", split, _split(pattern))
    _require("pre_tokenizer.pretokenizers[1]", byte_level, _BYTE_LEVEL, _BYTE_LEVEL | {"trim_offsets": False})
    _require("decoder.type", document["decoder"].get("type"), "ByteLevel")

    model = document["model"]
    for entry, value in _MODEL.items():
        _require(f"model.{entry}", model.get(entry, value), value)

    special_tokens = {}
    for added in document["added_tokens"]:
        _require(f"added_tokens, {added['content']!r}", added, _added(added["content"], added["id"]))
        special_tokens[added["content"]] = added["id"]

    by_id = {index: name for name, index in (model["vocab"] | special_tokens).items()}
    if sorted(by_id) != list(range(len(model["vocab"] | special_tokens))):
        raise _Unexpected("expected ids from 0 on without gap or double in 'model.vocab' and 'added_tokens'")
    tokens = [
        by_id[index].encode() if by_id[index] in special_tokens else from_characters(by_id[index])
        for index in range(len(by_id))
    ]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    merges = [(from_characters(left), from_characters(right)) for left, right in pairs]
    return Contents(tokens, merges, special_tokens, pattern)
