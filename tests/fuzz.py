"""Mutated files, read one after the other in a process of their own, which may take only so much memory.

Run by test_checkpoint_fuzz.py; alone: python tests/fuzz.py [HOW MANY TIMES AS MUCH]. It prints one line of
JSON for each target: how many files were read, how many were refused, and what else came out.
"""

import contextlib
import json
import resource
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from helpers import fresh_model, small_config, small_tokenizer
from published import document_of, mistral, write

from llmref.chat import load_chat_template
from llmref.checkpoint import load, load_config, load_model, save
from llmref.families import FAMILIES
from llmref.model import Transformer
from llmref.tokenizer import load_tokenizer

SEEDS = Path(__file__).parent / "fuzz_seeds"  # files that once did otherwise
REAL = Path(__file__).parents[1] / "docs" / "models"
INDEX = "model.safetensors.index.json"
SHARD = "model-00002-of-00003.safetensors"
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        3,
        7,
        2**31,
        2**63,
        10**9,
        10**12,
        10**30,
        -(10**12),
        0.5,
        -0.0,
        1e-300,
        1e300,
    ),
    *(
        "",
        "x",
        "../x",
        "/x",
        "\x00",
        "auto",
        "llama",
        "yarn",
        "9" * 400,
        [],
        [[]],
        [0],
        ["x"],
        {},
        {"x": 1},
        [{}] * 9,
    ),
]
CHAT = (
    "{% for message in messages %}{% if message.role == 'user' %}"
    "{{ bos_token + '[INST] ' + message.content }}"
    "{% else %}{{ message['content'] | trim ~ eos_token }}{% endif %}{% endfor %}"
)
MOST_BYTES = 2**30  # of address space, beside what the libraries take
Mutate = Callable[[Random, bytes], bytes]


def places(values: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document: what holds it, and its key there."""
    for key in values if isinstance(values, dict) else range(len(values)):
        yield values, key
        if isinstance(values[key], dict | list):
            yield from places(values[key])


def other_values(rng: Random, data: bytes) -> bytes:
    """JSON with other values, fewer, more, or at other places."""
    values = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        there = list(places(values))
        if not there:
            break
        holder, key = rng.choice(there)
        match rng.randrange(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(["", "x", key + "s", "weight", "\ud800"])] = holder.pop(key)
            case 2:
                other, name = rng.choice(there)
                there_still = name in other if isinstance(other, dict) else name < len(other)
                holder[key] = deepcopy(other[name]) if there_still else 0
            case _:
                holder[key] = deepcopy(rng.choice(VALUES))
    return json.dumps(values).encode()


def other_bytes(rng: Random, data: bytes) -> bytes:
    """A file with other bytes, fewer or more."""
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        start = rng.randrange(len(mutated) + 1)
        end = min(len(mutated), start + rng.choice((1, 1, 4, 64, 1000)))
        match rng.randrange(5):
            case 0:
                del mutated[start:]
            case 1:
                del mutated[start:end]
            case 2:
                mutated[start:start] = mutated[start:end]
            case 3:
                mutated[start:end] = rng.randbytes(end - start)
            case _:
                mutated[start:end] = rng.choice(
                    (b"\x00", b"\xff", b"[", b"}", b'"', b"NaN", b"1e999", b"-", b"\\u")
                )
    return bytes(mutated)


def other_header(rng: Random, data: bytes) -> bytes:
    """A safetensors file whose header says something else, or whose length does."""
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.1:
        return (
            struct.pack("<Q", rng.choice((0, 1, length - 1, length + 1, 10**8, 2**63, 2**64 - 1))) + data[8:]
        )
    header = rng.choice((other_values, other_bytes))(rng, header)
    return struct.pack("<Q", len(header)) + header + (rest if rng.random() < 0.9 else other_bytes(rng, rest))


class Target(NamedTuple):
    """A file of a checkpoint, how it is mutated, and how many times."""

    checkpoint: str
    file: str
    mutate: Mutate
    times: int


TARGETS = [
    Target("ours", "config.json", other_values, 600),
    Target("ours", "config.json", other_bytes, 200),
    Target("ours", "model.safetensors", other_header, 400),
    Target("ours", "model.safetensors", other_bytes, 200),
    Target("ours", "tokenizer.json", other_values, 200),
    Target("ours", "tokenizer.json", other_bytes, 200),
    Target("published", "tokenizer.json", other_values, 300),
    Target("published", "tokenizer.json", other_bytes, 100),
    Target("published", "tokenizer_config.json", other_values, 200),
    Target("published", "chat_template.jinja", other_bytes, 200),
    Target("llama", "config.json", other_values, 400),
    Target("llama", "config.json", other_bytes, 200),
    Target("llama", "generation_config.json", other_values, 200),
    Target("llama", INDEX, other_values, 200),
    Target("llama", INDEX, other_bytes, 200),
    Target("llama", SHARD, other_header, 200),
]


def checkpoints(root: Path) -> None:
    """One of our own format, one of a family in three files, and the tokenizer of a published model."""
    config = small_config(vocab_size=small_tokenizer().vocab_size, n_blocks=1, bos_id=0, eos_id=0)
    model = fresh_model(config)
    save(model, small_tokenizer(), root / "ours")
    save(model, small_tokenizer(), root / "llama", family="llama", max_shard_size=8000)
    settings = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True}
    (root / "published").mkdir()
    write(root / "published", document_of(mistral), settings | {"chat_template": CHAT})
    (root / "published" / "chat_template.jinja").write_text(CHAT)
    (root / "llama" / "generation_config.json").write_text('{"eos_token_id": [0, 1], "temperature": 0.6}')
    assert (root / "llama" / SHARD).exists()


def run(model: Transformer) -> None:
    """A model that could be loaded runs, or says why not."""
    ids = torch.tensor([[3, 1, 2]]) % model.config.vocab_size
    with torch.no_grad():
        model(ids, torch.arange(3)[None])


def outcome(read: Callable[[], Any], folder: Path) -> str:
    """ "read", "refused", or what else came out: it must be an error of ours that names the place."""
    try:
        made = read()
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
        ours = type(error) in (ValueError, FileNotFoundError) and str(folder) in message
        return "refused" if ours and len(message) < 1000 and "\n" not in message else repr(error)[:300]
    except BaseException as error:
        return repr(error)[:300]
    try:
        if isinstance(made, Transformer):
            run(made)
    except ValueError:
        pass
    except BaseException as error:
        return f"loaded, but {error!r}"[:300]
    return "read"


def read_published(folder: Path) -> None:
    """A tokenizer and a chat template, and what they make of a text, or why they make nothing of it."""
    tokenizer, chat = load_tokenizer(folder), load_chat_template(folder)
    with contextlib.suppress(ValueError):
        ids = chat.ids(
            tokenizer, [{"role": "user", "content": "the 강아지"}, {"role": "tool", "content": "<s>"}]
        )
        assert "".join(map(tokenizer.stream().push, ids)) is not None
        tokenizer.decode(ids)


def reader(file: Path) -> Callable[[], Transformer | None]:
    """What reads a file of a checkpoint."""
    if file.parent.name == "published":
        return partial(read_published, file.parent)
    return (
        (lambda: load(file.parent)[0]) if file.name == "tokenizer.json" else partial(load_model, file.parent)
    )


def fuzz(folder: Path, target: Target, times: int) -> dict[str, Any]:
    """All mutations of one file."""
    whole = (folder / target.file).read_bytes()
    read = reader(folder / target.file)
    outcomes = []
    for seed in range(times):
        (folder / target.file).write_bytes(target.mutate(Random(seed), whole))
        outcomes.append(outcome(read, folder))
    (folder / target.file).write_bytes(whole)
    return summary(f"{target.checkpoint}/{target.file}, {target.mutate.__name__}", outcomes)


def fuzz_real(file: Path, folder: Path, times: int) -> dict[str, Any]:
    """The config of a published model, mutated: the reader of its family."""
    whole = json.dumps(json.loads(file.read_text("utf-8"))["config"]).encode()
    outcomes = []
    for seed in range(times):
        (folder / "config.json").write_bytes(other_values(Random(seed), whole))
        outcomes.append(outcome(partial(load_config, folder / "config.json"), folder))
    return summary(file.stem, outcomes)


def summary(name: str, outcomes: list[str]) -> dict[str, Any]:
    """What came out, and with which seeds something else than a model or an error of ours."""
    wrong = {seed: what for seed, what in enumerate(outcomes) if what not in ("read", "refused")}
    return {"name": name, "files": len(outcomes), "refused": outcomes.count("refused"), "wrong": wrong}


def main(more: int) -> None:
    """Fuzz all targets and print what came out."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        checkpoints(root)
        load(root / "ours")  # what is loaded only once is loaded
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, size + MOST_BYTES))
        for target in TARGETS:
            print(json.dumps(fuzz(root / target.checkpoint, target, more * target.times)), flush=True)
        for file in sorted(REAL.glob("*.json")):
            if json.loads(file.read_text("utf-8"))["config"]["model_type"] in FAMILIES:
                print(json.dumps(fuzz_real(file, root, more * 100)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
