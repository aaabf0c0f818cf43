"""Any ``tokenizer.json``, run by the ``tokenizers`` library."""

import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tokenizers

from llmref.tokenizer import files
from llmref.tokenizer.added import check_allowed, check_text, cut, join_texts
from llmref.tokenizer.spelling import spelling
from llmref.tokenizer.stream import StreamDecoder


class LibraryTokenizer:
    """A published tokenizer: what its file says, run by the library that the file was made with.

    The library recognises special tokens by their names, wherever a text holds them. Here it never sees those
    names: each special token gets a private one, with a number in it that is drawn at random when the file
    is read, and only ``encode`` and ``encode_parts`` write that into a text. So no text can hold a special
    token, whatever the file's settings are.

    Attributes:
        special_tokens: Names and ids of the tokens that a text cannot hold unless they are allowed.
        begins_with: The ids that a text of the model begins with, or `None` if only the model's config says.
    """

    def __init__(self, document: Any, special_names: Collection[str] = ()) -> None:
        """Builds a tokenizer from what a ``tokenizer.json`` holds.

        Args:
            document: The file's JSON.
            special_names: Added tokens that are special though the file does not say so.

        Raises:
            ValueError: If it is misshapen, its ids have gaps, or its decoder is not known.
        """
        key = secrets.token_hex(8)
        with files.shaped("a tokenizer.json"):
            self._tokens = _tokens(document)
            self.special_tokens = {
                token["content"]: token["id"]
                for token in document["added_tokens"]
                if token["special"] or token["content"] in special_names
            }
            self.begins_with = files.begins_with(document.get("post_processor"))
            for index in self.begins_with or ():
                self._token(index)
            self._spelling = spelling(document.get("decoder"))
            # Between two characters that no text is meant to hold.
            names = {name: f"\ufdd0{key}-{index}\ufdd1" for name, index in self.special_tokens.items()}
            renamed = json.dumps(_renamed(document, names))
        with _the_library("read this tokenizer.json"):
            self._library = tokenizers.Tokenizer.from_str(renamed)
        self._source = json.dumps(document)
        self._names = {self.special_tokens[name]: private for name, private in names.items()}
        present = [self._names.get(index, token) for index, token in enumerate(self._tokens)]
        if [self._library.token_to_id(name) for name in present] != list(range(len(present))):
            raise ValueError("expected the ids that the tokenizers library gives, found others in the file")

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self._tokens)

    def encode(self, text: str, *, allowed_special: Collection[str] = ()) -> list[int]:
        """Turns a text into ids. Nothing is added, and special tokens that are not allowed are plain text.

        Raises:
            ValueError: If a name in ``allowed_special`` is no special token, or if the text holds a lone
                surrogate.
        """
        check_text(text)
        check_allowed(allowed_special, self.special_tokens)
        return self.encode_parts(cut(text, {name: self.special_tokens[name] for name in allowed_special}))

    def encode_parts(self, parts: Iterable[str | int]) -> list[int]:
        """Turns a text whose special tokens are known into ids: plain texts, and ids between them.

        Raises:
            ValueError: If an id is no special token's, or if a text holds a lone surrogate.
        """
        joined = join_texts(parts, self.special_tokens)
        text = "".join(self._names[part] if isinstance(part, int) else part for part in joined)
        with _the_library("encode this text"):
            return self._library.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Turns ids into text. Bytes that are not UTF-8 become U+FFFD; special tokens show their names.

        Raises:
            ValueError: If an id is out of range.
        """
        decoder = self.stream()
        return "".join([decoder.push(index) for index in ids]) + decoder.flush()

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token inside a text.

        Raises:
            ValueError: If the id is out of range.
        """
        return self._spelling.inner(self._token(token_id))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        r"""Each token on its own, for display; bytes that are no whole character are written ``\xNN``."""
        return [self.token_bytes(index).decode("utf-8", "backslashreplace") for index in ids]

    def stream(self, after: Iterable[int] = ()) -> StreamDecoder:
        """A decoder for ids that arrive one by one.

        Args:
            after: The ids that they follow. A tokenizer in SentencePiece's style leaves out the space that
                its first token begins with, and no other's.
        """
        decoder = StreamDecoder(self.token_bytes, self._first_bytes, self._spelling.spaces)
        for token_id in after:
            decoder.push(token_id)
        return decoder

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes ``tokenizer.json``.

        Raises:
            OSError: If the folder cannot be written; nothing is left behind.
        """
        files.write(file, json.loads(self._source))

    def _token(self, token_id: int) -> str:
        if 0 <= token_id < len(self._tokens):
            return self._tokens[token_id]
        raise ValueError(
            f"token id must lie in 0..{self.vocab_size - 1} (vocab_size {self.vocab_size}), found {token_id}"
        )

    def _first_bytes(self, token_id: int) -> bytes:
        return self._spelling.first(self._token(token_id))


@contextmanager
def _the_library(doing: str) -> Iterator[None]:
    """Turns what the library raises, which has no class of its own, to a `ValueError`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic in the library is no `Exception`
        raise ValueError(f"the tokenizers library cannot {doing}: {error}") from None


def _tokens(document: Any) -> list[str]:
    """Each id's token, by id."""
    by_id = {index: token for token, index in files.ids(document).items()}
    return [by_id[index] for index in range(len(by_id))]


def _renamed(document: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """The document with other names for some tokens, and with nothing in it that acts on whole batches."""
    model = dict(document["model"])
    if isinstance(model["vocab"], list):
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    else:
        model["vocab"] = {names.get(token, token): index for token, index in model["vocab"].items()}
    if "unk_token" in model:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if "merges" in model:  # none may lead to a special token, or plain text could become one
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        model["merges"] = [pair for pair in pairs if names.keys().isdisjoint((*pair, "".join(pair)))]
    if "dropout" in model:  # chance has no place in reading
        model["dropout"] = None
    added = [
        token | {"content": names[token["content"]], "normalized": False}
        if token["content"] in names
        else token
        for token in document["added_tokens"]
    ]
    batches = {"truncation": None, "padding": None, "post_processor": None}
    return document | batches | {"model": model, "added_tokens": added}
