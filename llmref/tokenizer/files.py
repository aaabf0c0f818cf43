"""``tokenizer.json``, as the ``tokenizers`` library writes and reads it: what of it is byte-level BPE."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from llmref.tokenizer.alphabet import from_characters, to_characters
from llmref.tokenizer.pattern import GPT2_PATTERN

if TYPE_CHECKING:
    from llmref.tokenizer.bpe import Tokenizer

LARGEST = 64 * 2**20
"""Bytes that a ``tokenizer.json`` may have: the largest published ones have about half of it."""

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
}


class Contents(NamedTuple):
    """What a ``tokenizer.json`` of byte-level BPE holds: see ``Tokenizer`` for each."""

    tokens: list[bytes]
    merges: list[tuple[bytes, bytes]]
    special_tokens: dict[str, int]
    pattern: str
    added_tokens: dict[str, int]
    normalized: frozenset[str]
    normalization: Literal["NFC"] | None
    ignore_merges: bool
    begins_with: tuple[int, ...] | None


def document(tokenizer: Tokenizer) -> dict[str, Any]:
    """The JSON of a tokenizer of ours."""
    plain = tokenizer.added_tokens
    names = {index: name for name, index in (tokenizer.special_tokens | plain).items()}
    begins_with = tokenizer.begins_with
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added(index, name, special=name not in plain, normalized=name in tokenizer.normalized)
            for index, name in sorted(names.items())
        ],
        "normalizer": None if tokenizer.normalization is None else {"type": tokenizer.normalization},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [_split(tokenizer.pattern), _BYTE_LEVEL]},
        "post_processor": None if begins_with is None else template(begins_with, names),
        "decoder": _DECODER,
        "model": {
            **_MODEL,
            "ignore_merges": tokenizer.ignore_merges,
            "vocab": {
                names.get(index) or to_characters(token): index
                for index, token in enumerate(tokenizer.tokens)
            },
            "merges": [[to_characters(left), to_characters(right)] for left, right in tokenizer.merges],
        },
    }


def template(begins_with: Collection[int], names: Mapping[int, str]) -> dict[str, Any]:
    """The post-processor that puts these ids before a text."""
    single = [{"SpecialToken": {"id": names[index], "type_id": 0}} for index in begins_with]
    single.append({"Sequence": {"id": "A", "type_id": 0}})
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            names[index]: {"id": names[index], "ids": [index], "tokens": [names[index]]}
            for index in begins_with
        },
    }


def write(file: str | os.PathLike[str], document: dict[str, Any]) -> None:
    """Writes the file whole or not at all.

    Raises:
        OSError: If the folder cannot be written.
    """
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


def contents(document: object, special_names: Collection[str] = ()) -> Contents:
    """Reads byte-level BPE, and refuses every setting that ``Tokenizer`` would not carry out exactly.

    What concerns batches only, truncation and padding, is left aside.

    Args:
        document: The JSON of a ``tokenizer.json``.
        special_names: Added tokens that are special though the file does not say so.

    Raises:
        ValueError: If it asks for something else; the message names the entry, what was expected and what was
            found.
    """
    with shaped("a tokenizer.json of byte-level BPE"):
        return _contents(document, special_names)


class Unexpected(ValueError):
    """A setting that is not what it has to be."""


@contextmanager
def shaped(what: str) -> Iterator[None]:
    """Turns whatever reading JSON of the wrong shape runs into to a `ValueError` that says so."""
    try:
        yield
    except Unexpected:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(
            f"expected {what}, found an entry missing or misshapen ({type(error).__name__}: {error})"
        ) from None


def require(entry: str, found: object, *expected: object) -> None:
    """Raises `Unexpected` if a setting has none of the values that it may have."""
    if not any(found == value and type(found) is type(value) for value in expected):
        wanted = " or ".join(json.dumps(value, ensure_ascii=False) for value in expected)
        raise Unexpected(
            f"expected {wanted} at {entry!r}, found {json.dumps(found, ensure_ascii=False)[:200]}"
        )


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def added(index: int, name: str, *, special: bool = True, normalized: bool = False) -> dict[str, Any]:
    """The entry of an added token."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    return {"id": index, "content": name, **flags, "normalized": normalized, "special": special}


def _contents(document: Any, special_names: Collection[str]) -> Contents:
    if not isinstance(document, dict):
        raise Unexpected(f"expected an object, found {type(document).__name__}")
    require("version", document.get("version"), "1.0")
    normalizer = document.get("normalizer")
    if normalizer != {"type": "Sequence", "normalizers": []}:  # which is none
        require("normalizer", normalizer, None, {"type": "NFC"})
    require("decoder.type", document["decoder"].get("type"), "ByteLevel")

    model = document["model"]
    for entry, value in _MODEL.items():
        others = [""] if entry.endswith(("prefix", "suffix")) else []
        if entry != "unk_token":  # with all the bytes there, nothing is unknown
            require(f"model.{entry}", model.get(entry, value), value, *others)
    require("model.ignore_merges", model.get("ignore_merges", False), False, True)

    entries = document["added_tokens"]
    for token in entries:
        flags = {"special": token["special"] is True, "normalized": token["normalized"] is True}
        require(f"added_tokens, {token['content']!r}", token, added(token["id"], token["content"], **flags))
    names = {token["content"]: token["id"] for token in entries}
    special = {token["content"] for token in entries if token["special"] or token["content"] in special_names}

    by_id = {index: name for name, index in ids(document).items()}
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    return Contents(
        tokens=[
            by_id[index].encode() if by_id[index] in names else from_characters(by_id[index])
            for index in range(len(by_id))
        ],
        merges=[(from_characters(left), from_characters(right)) for left, right in pairs],
        special_tokens={name: index for name, index in names.items() if name in special},
        pattern=_pattern(document["pre_tokenizer"]),
        added_tokens={token["content"]: token["id"] for token in entries if not token["special"]},
        normalized=frozenset(token["content"] for token in entries if token["normalized"]),
        normalization="NFC" if normalizer == {"type": "NFC"} else None,
        ignore_merges=model.get("ignore_merges", False),
        begins_with=begins_with(document.get("post_processor")),
    )


def ids(document: Any) -> dict[str, int]:
    """Each token's id: those of the model's vocabulary, and the added ones.

    Raises:
        ValueError: If they do not run from 0 on, or a token has no name.
    """
    found = document["model"]["vocab"]
    if isinstance(found, list):  # Unigram writes pairs of a token and its score, in the order of the ids
        found = {token: index for index, (token, _) in enumerate(found)}
    found = found | {token["content"]: token["id"] for token in document["added_tokens"]}
    "".join(found).encode()  # or no text could hold them
    if any(type(index) is not int for index in found.values()) or "" in found:
        raise Unexpected("expected tokens with names and whole numbers as ids")
    if sorted(found.values()) != list(range(len(found))):
        raise Unexpected(
            "expected ids from 0 on without gap or double in 'model.vocab' and 'added_tokens', "
            f"found {len(found):,} tokens with ids from {min(found.values())} to {max(found.values())}"
        )
    return found


def _pattern(steps: dict[str, Any]) -> str:
    """The split pattern: before a byte level that has none of its own, or GPT-2's in a byte level alone."""
    if steps.get("type") == "ByteLevel":
        _require_byte_level("pre_tokenizer", steps, use_regex=True)
        return GPT2_PATTERN
    require("pre_tokenizer.type", steps.get("type"), "Sequence")
    split, byte_level = steps["pretokenizers"]
    pattern = str(split["pattern"]["Regex"])
    require("pre_tokenizer.pretokenizers[0]", split, _split(pattern))
    _require_byte_level("pre_tokenizer.pretokenizers[1]", byte_level, use_regex=False)
    return pattern


def _require_byte_level(entry: str, found: dict[str, Any], *, use_regex: bool) -> None:
    wanted = _BYTE_LEVEL | {"use_regex": use_regex}
    # Offsets are nothing that ids depend on, and older files do not write `use_regex`, which is true there.
    require(entry, {"use_regex": True} | found, wanted, wanted | {"trim_offsets": False})


def begins_with(post_processor: Any) -> tuple[int, ...] | None:
    """The ids that a post-processor puts before a text, or `None` if there is no post-processor.

    Raises:
        ValueError: If it is none that is known.

    >>> begins_with({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]})
    (0,)
    """
    if post_processor is None:
        return None
    match post_processor["type"]:
        case "ByteLevel":
            return ()
        case "BertProcessing" | "RobertaProcessing":
            return (int(post_processor["cls"][1]),)
        case "Sequence":  # each puts its ids before those of the one before it
            steps = [begins_with(step) or () for step in post_processor["processors"]]
            return tuple(index for step in reversed(steps) for index in step)
        case "TemplateProcessing":
            ids: list[int] = []
            for piece in post_processor["single"]:
                if "Sequence" in piece:
                    return tuple(ids)
                ids += post_processor["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
    raise Unexpected(f"expected a known post-processor, found {json.dumps(post_processor)[:200]}")
