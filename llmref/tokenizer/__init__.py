"""Byte-level BPE: text to ids and back. Any text, and any bytes, can be encoded; nothing is ever unknown."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from llmref.tokenizer import files
from llmref.tokenizer.alphabet import BYTE_ORDER, to_characters
from llmref.tokenizer.encode import Ranks, merge_word
from llmref.tokenizer.pattern import PATTERN, compile_pattern
from llmref.tokenizer.stream import StreamDecoder
from llmref.tokenizer.train import learn_merges

__all__ = ["PATTERN", "StreamDecoder", "Tokenizer"]


class Tokenizer:
    """A byte-level BPE vocabulary with its merges, its special tokens and its split pattern.

    Attributes:
        tokens: Each id's token as bytes (a special token's name in UTF-8).
        merges: The pairs in the order they were learned, each as the bytes of its two parts.
        special_tokens: Names and ids of the tokens that stand for no text.
        pattern: The regular expression that cuts a text into words before the merges.

    >>> tokenizer = Tokenizer.train(["hug pug hugs"] * 9, vocab_size=260)
    >>> tokenizer.encode("hugs 포옹")
    [258, 83, 221, 170, 238, 106, 169, 247, 118]
    >>> tokenizer.decode([258, 83, 221, 170, 238, 106, 169, 247, 118])
    'hugs 포옹'

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2 (bytes);
    Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", section 3.2 (merges).
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Mapping[str, int],
        pattern: str = PATTERN,
    ) -> None:
        """Builds a tokenizer from its parts; ``train`` and ``load`` are the usual ways to one.

        Raises:
            ValueError: If a byte or a token that a merge needs is missing, or a special token has the name of
                another token.
        """
        self.tokens = list(tokens)
        self.merges = list(merges)
        self.special_tokens = dict(special_tokens)
        self.pattern = pattern

        special = set(self.special_tokens.values())
        ids = {token: index for index, token in enumerate(self.tokens) if index not in special}
        missing = [byte for byte in range(256) if bytes([byte]) not in ids]
        if missing:
            raise ValueError(
                f"the vocabulary must hold all 256 bytes, found {len(missing)} missing: {missing[:4]} …"
            )
        taken = {to_characters(token) for token in ids}.intersection(self.special_tokens)
        if taken:
            raise ValueError(
                f"a special token needs a name of its own, found {sorted(taken)} among the other tokens"
            )
        ranks: dict[tuple[int, int], int] = {}
        for rank, (left, right) in enumerate(self.merges):
            for token in (left, right, left + right):
                if token not in ids:
                    raise ValueError(
                        f"merge {rank} ({left!r} + {right!r}) needs the token {token!r}; it has no id"
                    )
            ranks[ids[left], ids[right]] = rank
        made = [ids[left + right] for left, right in self.merges]
        self._words = _Words([ids[bytes([byte])] for byte in range(256)], ranks, made)
        self._split = compile_pattern(pattern).findall

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = ("<|endoftext|>",),
        pattern: str = PATTERN,
    ) -> "Tokenizer":
        """Learns a vocabulary from texts.

        The ids are, in this order: special tokens, the 256 bytes, then one token per merge. They and the
        merges are those of the trainer of the ``tokenizers`` library.

        Args:
            texts: The texts; special tokens in them are plain text.
            vocab_size: How many tokens to end with. It stays smaller if the texts hold no more pairs to join.
            special_tokens: Names of tokens that stand for no text.
            pattern: The split pattern (see ``llmref.tokenizer.pattern``).

        Raises:
            ValueError: If there is no text, or no room for the bytes and the special tokens.

        >>> Tokenizer.train(["low lower lowest"], vocab_size=260).merges
        [(b'l', b'o'), (b'lo', b'w'), (b' ', b'low')]
        """
        _check_special(special_tokens)
        smallest = 256 + len(special_tokens)
        if vocab_size < smallest:
            raise ValueError(
                f"vocab_size must be at least {smallest} (256 bytes, {len(special_tokens)} special tokens), "
                f"found {vocab_size}"
            )
        split = compile_pattern(pattern).findall
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(split(text))
        if not counts:
            raise ValueError("training needs text, found none")
        words = {_utf8(word): count for word, count in counts.items()}
        tokens = [name.encode() for name in special_tokens] + [bytes([byte]) for byte in BYTE_ORDER]
        merges = learn_merges(words, tokens, vocab_size)
        tokens += [left + right for left, right in merges]
        return cls(tokens, merges, {name: index for index, name in enumerate(special_tokens)}, pattern)

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self.tokens)

    def encode(self, text: str, *, allowed_special: Collection[str] = ()) -> list[int]:
        """Turns a text into ids. Nothing is added: no token for the beginning, none for the end.

        Args:
            text: Any text without lone surrogates.
            allowed_special: Names of special tokens to recognise in the text. Any other such name is plain
                text, so that a user's input cannot end a document.

        Raises:
            ValueError: If a name in ``allowed_special`` is no special token, or if the text holds a lone
                surrogate.

        >>> tokenizer = Tokenizer.train(["to be or not to be"], vocab_size=262)
        >>> tokenizer.pieces(tokenizer.encode("to be<|endoftext|>"))[:4]
        ['to', ' be', '<', '|']
        >>> tokenizer.encode("to be<|endoftext|>", allowed_special={"<|endoftext|>"})
        [258, 259, 0]
        """
        _utf8(text)
        if not allowed_special:
            return self._encode(text)
        unknown = sorted(set(allowed_special) - set(self.special_tokens))
        if unknown:
            raise ValueError(f"allowed_special must be among {sorted(self.special_tokens)}, found {unknown}")
        longest_first = sorted(allowed_special, key=len, reverse=True)
        ids: list[int] = []
        for part in re.split(f"({'|'.join(map(re.escape, longest_first))})", text):
            ids += [self.special_tokens[part]] if part in allowed_special else self._encode(part)
        return ids

    def encode_bytes(self, data: bytes) -> list[int]:
        """Turns any bytes into ids; ``decode_bytes`` gives them back. Valid UTF-8 gets the ids of its text.

        >>> tokenizer = Tokenizer.train(["to be or not to be"], vocab_size=262)
        >>> tokenizer.decode_bytes(tokenizer.encode_bytes(b"to be \\xff"))
        b'to be \\xff'
        """
        return self._encode(data.decode("utf-8", "surrogateescape"))

    def _encode(self, text: str) -> list[int]:
        return list(chain.from_iterable(map(self._words.__getitem__, self._split(text))))

    def decode(self, ids: Iterable[int]) -> str:
        """Turns ids into text. Bytes that are not UTF-8 become U+FFFD; special tokens show their names.

        Raises:
            ValueError: If an id is out of range.
        """
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Turns ids into bytes, nothing lost.

        Raises:
            ValueError: If an id is out of range.
        """
        ids = list(ids)
        for outlier in {min(ids, default=0), max(ids, default=0)}:
            self.token_bytes(outlier)
        return b"".join(map(self.tokens.__getitem__, ids))

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token.

        Raises:
            ValueError: If the id is out of range.
        """
        if 0 <= token_id < len(self.tokens):
            return self.tokens[token_id]
        raise ValueError(
            f"token id must lie in 0..{self.vocab_size - 1} (vocab_size {self.vocab_size}), found {token_id}"
        )

    def pieces(self, ids: Iterable[int]) -> list[str]:
        r"""Each token on its own, for display; bytes that are no whole character are written ``\xNN``.

        >>> tokenizer = Tokenizer.train(["to to to be"], vocab_size=258)
        >>> tokenizer.pieces(tokenizer.encode("to 개"))
        ['to', ' ', '\\xea', '\\xb0', '\\x9c']
        """
        return [self.token_bytes(index).decode("utf-8", "backslashreplace") for index in ids]

    def stream(self) -> StreamDecoder:
        """A decoder for ids that arrive one by one.

        >>> tokenizer = Tokenizer.train(["to be"], vocab_size=258)
        >>> decoder = tokenizer.stream()
        >>> [decoder.push(index) for index in tokenizer.encode("a 개")] + [decoder.flush()]
        ['a', ' ', '', '', '개', '']
        """
        return StreamDecoder(self.token_bytes)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes ``tokenizer.json``, which the ``tokenizers`` library reads.

        Raises:
            OSError: If the folder cannot be written; nothing is left behind.
        """
        files.write(file, self.tokens, self.merges, self.special_tokens, self.pattern)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> "Tokenizer":
        """Reads a ``tokenizer.json``.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or asks for something that this class does not do exactly.
        """
        contents = files.read(file)
        try:
            return cls(*contents)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None


class _Words(dict[str, tuple[int, ...]]):
    """The ids of words already met: most words of a text have been met before."""

    LIMIT = 100_000  # words kept; then all are forgotten
    LONGEST = 64  # characters of a word worth keeping

    def __init__(self, byte_ids: Sequence[int], ranks: Ranks, made: Sequence[int]) -> None:
        self._byte_ids = byte_ids
        self._ranks = ranks
        self._made = made

    def __missing__(self, word: str) -> tuple[int, ...]:
        data = word.encode("utf-8", "surrogateescape")
        ids = tuple(merge_word(list(map(self._byte_ids.__getitem__, data)), self._ranks, self._made))
        if len(word) <= self.LONGEST:
            if len(self) >= self.LIMIT:
                self.clear()
            self[word] = ids
        return ids


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text must be valid Unicode, found the lone surrogate {text[error.start]!r} at {error.start}; "
            "encode_bytes takes any bytes"
        ) from None


def _check_special(names: Sequence[str]) -> None:
    if isinstance(names, str) or len(set(names)) != len(names) or "" in names:
        raise ValueError(f"special_tokens must be a sequence of different, non-empty names, found {names!r}")
