"""The tokenizer beside the `tokenizers` library: each round times all of them in turn, and the medians count.

Run it alone on the machine: python benchmarks/tokenizer.py. With `tiktoken` installed, it takes part too.

The text is 5 MB in pieces of 4 kB, a third each: English (the help topics of Python, the descriptions of
installed packages), Korean (made-up words with real particles, as frequent as Zipf's law has it), code (the
standard library). Every timed encoder is new, so that no memory of earlier words helps it, and all of them
split by the package's own pattern.
"""

import importlib.util
import os
import platform
import pydoc_data.topics
import random
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread in the batch call; training sets its own

import tokenizers  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from tokenizer_samples import library_trained  # noqa: E402

from llmref.tokenizer import Tokenizer  # noqa: E402

SIZE = 5_000_000  # bytes of UTF-8
PIECE = 4_000
VOCAB_SIZE = 4096
ROUNDS = 5
TIKTOKEN = importlib.util.find_spec("tiktoken") is not None


def cut(pieces: Iterator[str], size: int) -> list[str]:
    """Takes texts until they hold `size` bytes, in pieces of about `PIECE` bytes."""
    taken: list[str] = []
    for text in pieces:
        width = max(1, round(PIECE * len(text) / max(1, len(text.encode()))))
        for start in range(0, len(text), width):
            taken.append(text[start : start + width])
            size -= len(taken[-1].encode())
            if size <= 0:
                return taken
    return taken


def english() -> Iterator[str]:
    yield from pydoc_data.topics.topics.values()
    packages = Path(sysconfig.get_paths()["purelib"])
    for file in sorted(chain(packages.glob("*/METADATA"), packages.rglob("*.md"), packages.rglob("*.txt"))):
        yield file.read_text(encoding="utf-8", errors="replace")


def code() -> Iterator[str]:
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        yield file.read_text(encoding="utf-8", errors="replace")


def korean() -> Iterator[str]:
    """Sentences of made-up nouns and stems; the k-th commonest word comes with a frequency of 1/k."""
    rng = random.Random(0)
    syllables = [chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(900)]

    def zipf(count: int) -> list[float]:
        return list(accumulate(1 / rank for rank in range(1, count + 1)))

    nouns = [
        "".join(rng.choices(syllables, cum_weights=zipf(900), k=rng.randint(1, 4))) for _ in range(30_000)
    ]
    stems = [
        "".join(rng.choices(syllables, cum_weights=zipf(900), k=rng.randint(1, 2))) for _ in range(5_000)
    ]
    particles = list("이가은는을를에의와과도로만") + ["에서", "에게", "으로", "부터", "까지", "처럼", "보다"]
    endings = ["다.", "했다.", "한다.", "하고", "해서", "하는", "하지만,", "된", "되었다.", "됩니다.", "으며"]
    of_nouns, of_stems = zipf(len(nouns)), zipf(len(stems))
    while True:
        for noun in rng.choices(nouns, cum_weights=of_nouns, k=rng.randint(1, 4)):
            yield noun + rng.choice(particles) + " "
        yield rng.choices(stems, cum_weights=of_stems)[0] + rng.choice(endings) + rng.choice("   \n")


def joined(words: Iterator[str]) -> Iterator[str]:
    while True:
        yield "".join(islice(words, 2_000))


def race(prepare: dict[str, Callable[[], Callable[[], object]]]) -> dict[str, float]:
    """Median seconds of each; what is timed is made anew each time, outside the time."""
    times: dict[str, list[float]] = {name: [] for name in prepare}
    for _ in range(ROUNDS):
        for name, make in prepare.items():
            function = make()
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def megabytes(pieces: list[str]) -> float:
    return sum(len(piece.encode()) for piece in pieces) / 1e6


def training(pieces: list[str], folder: Path) -> Path:
    """Trains both, the library with all its threads; returns our file."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    ours, theirs = folder / "ours.json", folder / "library.json"
    times = race(
        {
            "ours": lambda: lambda: Tokenizer.train(pieces, VOCAB_SIZE).save(ours),
            "library": lambda: lambda: library_trained(pieces, VOCAB_SIZE).save(str(theirs)),
        }
    )
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    assert ours.read_bytes() == theirs.read_bytes(), "the two trainers made different files"
    print(
        f"\ntraining {VOCAB_SIZE:,} tokens on {megabytes(pieces):.1f} MB: {times['ours']:.2f} s, the library "
        f"{times['library']:.2f} s, {times['ours'] / times['library']:.2f} of its time; the same files"
    )
    return ours


def encoding(name: str, pieces: list[str], file: Path) -> None:
    """Encodes one text; the library's batch call takes it in its pieces, on one thread."""
    text = "".join(pieces)
    assert Tokenizer.load(file).encode(text) == load_library(file).encode(text).ids
    contestants: dict[str, Callable[[], Callable[[], object]]] = {
        "ours": lambda: partial(Tokenizer.load(file).encode, text),
        "library": lambda: partial(load_library(file).encode, text),
        "batch": lambda: partial(load_library(file).encode_batch, pieces),
    }
    if TIKTOKEN:
        contestants["tiktoken"] = lambda: partial(load_tiktoken(file).encode_ordinary, text)
    times = race(contestants)
    cells = [f"{megabytes(pieces) / times['ours']:9.2f}"]
    for peer in list(times)[1:]:
        cells += [f"{megabytes(pieces) / times[peer]:9.2f}", f"{times[peer] / times['ours']:7.2f}"]
    print(f"{name:<15}" + "".join(cells))


def decoding(pieces: list[str], file: Path) -> None:
    ids = Tokenizer.load(file).encode("".join(pieces))
    times = race(
        {
            "ours": lambda: partial(Tokenizer.load(file).decode, ids),
            "library": lambda: partial(load_library(file).decode, ids),
        }
    )
    rates = {name: megabytes(pieces) / taken for name, taken in times.items()}
    print(
        f"\ndecoding: {rates['ours']:.1f} MB/s, the library {rates['library']:.1f}, "
        f"ratio {rates['ours'] / rates['library']:.2f}"
    )


def long_word(name: str, word: str, file: Path) -> None:
    times = race(
        {
            "ours": lambda: partial(Tokenizer.load(file).encode, word),
            "library": lambda: partial(load_library(file).encode, word),
        }
    )
    print(
        f"a word of {len(word):,} characters ({name}): {1000 * times['ours']:.0f} ms, "
        f"the library {1000 * times['library']:.0f} ms"
    )


def load_library(file: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(file))


def load_tiktoken(file: Path) -> Any:
    """The same vocabulary in tiktoken: its ranks are our ids, less the special tokens that come first."""
    import tiktoken

    tokenizer = Tokenizer.load(file)
    ranks = {token: rank for rank, token in enumerate(tokenizer.tokens[len(tokenizer.special_tokens) :])}
    return tiktoken.Encoding("ours", pat_str=tokenizer.pattern, mergeable_ranks=ranks, special_tokens={})


def main() -> None:
    """Measure everything and print it."""
    kinds = {
        "English": cut(english(), SIZE // 3),
        "Korean": cut(joined(korean()), SIZE // 3),
        "code": cut(code(), SIZE // 3),
    }
    mixed = [piece for row in zip(*kinds.values(), strict=False) for piece in row]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"tokenizers {tokenizers.__version__}; medians of {ROUNDS} rounds in turns"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = training(mixed, Path(folder))
        peers = ["library", "batch", *(["tiktoken"] if TIKTOKEN else [])]
        print(f"\n{'encoding, MB/s':<15}{'ours':>9}" + "".join(f"{peer:>9}{'ratio':>7}" for peer in peers))
        for name, pieces in {"mixed": mixed, **kinds}.items():
            encoding(name, pieces, file)
        decoding(mixed, file)
        long_word("a single letter", "a" * 20_000, file)
        long_word("random letters", "".join(random.Random(0).choices("etaoinshrdlu", k=20_000)), file)


if __name__ == "__main__":
    main()
