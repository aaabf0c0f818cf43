"""Our own tokenizer: byte-level BPE. Any text, and any bytes, can be encoded; nothing is ever unknown."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Literal

from tokenizers.normalizers import NFC

from llmref.files import read_json
from llmref.tokenizer import files
from llmref.tokenizer.added import check_allowed, check_text, cut, join_texts
from llmref.tokenizer.alphabet import BYTE_ORDER, to_characters
from llmref.tokenizer.encode import Ranks, merge_word
from llmref.tokenizer.pattern import PATTERN, compile_pattern
from llmref.tokenizer.stream import StreamDecoder
from llmref.tokenizer.train import learn_merges

_NFC = NFC()  # the library's, whose Unicode version does not change with Python's
_SURROGATES = re.compile("([\udc80-\udcff]+)")


class Tokenizer:
    """A byte-level BPE vocabulary with its merges, its special tokens and its split pattern.

    Attributes:
        tokens: Each id's token as bytes (a special token's name in UTF-8).
        merges: The pairs in the order they were learned, each as the bytes of its two parts.
        special_tokens: Names and ids of the tokens that stand for no text.
        pattern: The regular expression that cuts a text into words before the merges.
        added_tokens: Names and ids of tokens that stand for text and come before the merges, such as a run of
            spaces. One that is among the special tokens too is not found in a text unless it is allowed.
        normalized: Which of all these names are looked for in the text once it is normalized.
        normalization: What is done to a text first: `"NFC"`, or `None`.
        ignore_merges: Whether a word that is a token becomes it even if no merges lead there.
        begins_with: The ids that a text of the model begins with, or `None` if only the model's config says.

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
        *,
        added_tokens: Mapping[str, int] | None = None,
        normalized: Collection[str] = (),
        normalization: Literal["NFC"] | None = None,
        ignore_merges: bool = False,
        begins_with: Sequence[int] | None = None,
    ) -> None:
        """Builds a tokenizer from its parts; ``train`` and ``load`` are the usual ways to one.

        Raises:
            ValueError: If a byte or a token that a merge needs is missing, a special token has the name of
                another token, or `begins_with` holds an id that is no special token's.
        """
        self.tokens = list(tokens)
        self.merges = list(merges)
        self.special_tokens = dict(special_tokens)
        self.pattern = pattern
        self.added_tokens = dict(added_tokens or {})
        self.normalized = frozenset(normalized)
        self.normalization = normalization
        self.ignore_merges = ignore_merges
        self.begins_with = None if begins_with is None else tuple(begins_with)

        found_by_name = {*self.special_tokens.values(), *self.added_tokens.values()}
        ids = {token: index for index, token in enumerate(self.tokens) if index not in found_by_name}
        self._always_found = {
            name: index for name, index in self.added_tokens.items() if name not in self.special_tokens
        }
        for index in self._always_found.values():
            ids.setdefault(self.tokens[index], index)  # a merge may lead to it as well
        if not found_by_name.issuperset(self.begins_with or ()):
            raise ValueError(f"begins_with must be ids of special tokens, found {self.begins_with}")
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
        byte_ids = [ids[bytes([byte])] for byte in range(256)]
        self._words = _Words(byte_ids, ranks, made, ids if ignore_merges else {})
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
            check_text(text)
            counts.update(split(text))
        if not counts:
            raise ValueError("training needs text, found none")
        words = {word.encode(): count for word, count in counts.items()}
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
        check_text(text)
        check_allowed(allowed_special, self.special_tokens)
        return self._encode(text, {name: self.special_tokens[name] for name in allowed_special})

    def encode_parts(self, parts: Iterable[str | int]) -> list[int]:
        """Turns a text whose special tokens are known into ids.

        Args:
            parts: Texts, in which no special token is recognised, and ids of special tokens between them.

        Raises:
            ValueError: If an id is no special token's, or if a text holds a lone surrogate.

        >>> tokenizer = Tokenizer.train(["to be or not to be"], vocab_size=262)
        >>> tokenizer.encode_parts([0, "to be", 0])
        [0, 258, 259, 0]
        """
        ids: list[int] = []
        for part in join_texts(parts, self.special_tokens):
            ids += [part] if isinstance(part, int) else self._encode(part, {})
        return ids

    def encode_bytes(self, data: bytes) -> list[int]:
        """Turns any bytes into ids. Valid UTF-8 gets the ids of its text.

        Where nothing is normalized, ``decode_bytes`` gives the bytes back.

        >>> tokenizer = Tokenizer.train(["to be or not to be"], vocab_size=262)
        >>> tokenizer.decode_bytes(tokenizer.encode_bytes(b"to be \\xff"))
        b'to be \\xff'
        """
        return self._encode(data.decode("utf-8", "surrogateescape"), {})

    def _encode(self, text: str, special: dict[str, int]) -> list[int]:
        names = special | self._always_found
        before = {name: index for name, index in names.items() if name not in self.normalized}
        after = {self._normalize(name): index for name, index in names.items() if name in self.normalized}
        ids: list[int] = []
        for outer in cut(text, before):
            for part in [outer] if isinstance(outer, int) else cut(self._normalize(outer), after):
                ids += [part] if isinstance(part, int) else self._encode_words(part)
        return ids

    def _normalize(self, text: str) -> str:
        if self.normalization is None or text.isascii():
            return text
        parts = _SURROGATES.split(text)  # which stand for bytes that are no text
        parts[::2] = map(_NFC.normalize_str, parts[::2])
        return "".join(parts)

    def _encode_words(self, text: str) -> list[int]:
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

    def stream(self, after: Iterable[int] = ()) -> StreamDecoder:
        """A decoder for ids that arrive one by one.

        Args:
            after: The ids that they follow.

        >>> tokenizer = Tokenizer.train(["to be"], vocab_size=258)
        >>> decoder = tokenizer.stream()
        >>> [decoder.push(index) for index in tokenizer.encode("a 개")] + [decoder.flush()]
        ['a', ' ', '', '', '개', '']
        """
        decoder = StreamDecoder(self.token_bytes)
        for token_id in after:
            decoder.push(token_id)
        return decoder

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes ``tokenizer.json``, which the ``tokenizers`` library reads.

        Raises:
            OSError: If the folder cannot be written; nothing is left behind.
        """
        files.write(file, files.document(self))

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> "Tokenizer":
        """Reads a ``tokenizer.json`` of byte-level BPE; ``load_tokenizer`` reads any.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or asks for something that this class does not do exactly.
        """
        document = read_json(file, files.LARGEST)
        try:
            return cls.from_document(document)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None

    @classmethod
    def from_document(cls, document: object, special_names: Collection[str] = ()) -> "Tokenizer":
        """Builds a tokenizer from what a ``tokenizer.json`` holds.

        Args:
            document: The file's JSON.
            special_names: Added tokens that are special though the file does not say so.

        Raises:
            ValueError: If it is misshapen, or asks for something that this class does not do exactly.
        """
        return cls(**files.contents(document, special_names)._asdict())


class _Words(dict[str, tuple[int, ...]]):
    """The ids of words already met: most words of a text have been met before."""

    LIMIT = 100_000  # words kept; then all are forgotten
    LONGEST = 64  # characters of a word worth keeping

    def __init__(
        self, byte_ids: Sequence[int], ranks: Ranks, made: Sequence[int], whole: Mapping[bytes, int]
    ) -> None:
        self._byte_ids = byte_ids
        self._whole = whole  # the words that need no merges
        self._ranks = ranks
        self._made = made

    def __missing__(self, word: str) -> tuple[int, ...]:
        data = word.encode("utf-8", "surrogateescape")
        if data in self._whole:
            ids: tuple[int, ...] = (self._whole[data],)
        else:
            ids = tuple(merge_word(list(map(self._byte_ids.__getitem__, data)), self._ranks, self._made))
        if len(word) <= self.LONGEST:
            if len(self) >= self.LIMIT:
                self.clear()
            self[word] = ids
        return ids


def _check_special(names: Sequence[str]) -> None:
    if isinstance(names, str) or len(set(names)) != len(names) or "" in names:
        raise ValueError(f"special_tokens must be a sequence of different, non-empty names, found {names!r}")
