"""tokenizer.json: byte for byte what the library writes, and no file is read that would run differently."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizer_samples import EOT, TEXTS, library_trained, trained

from llmref.tokenizer import Tokenizer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    trained().save(tmp_path / "tokenizer.json")
    return tmp_path / "tokenizer.json"


def test_the_file_is_the_librarys_byte_for_byte(file: Path, tmp_path: Path) -> None:
    library_trained(TEXTS, 480).save(str(tmp_path / "library.json"))
    assert file.read_bytes() == (tmp_path / "library.json").read_bytes()
    tokenizers.Tokenizer.from_file(str(file)).save(str(tmp_path / "again.json"))
    assert file.read_bytes() == (tmp_path / "again.json").read_bytes()


def test_what_was_saved_loads_the_same(file: Path) -> None:
    loaded = Tokenizer.load(str(file))
    for name in ("tokens", "merges", "special_tokens", "pattern", "vocab_size"):
        assert getattr(loaded, name) == getattr(trained(), name)
    assert [loaded.encode(text) for text in TEXTS] == [trained().encode(text) for text in TEXTS]


def test_merges_written_as_strings_load_too(file: Path) -> None:
    document = json.loads(file.read_text())
    document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    file.write_text(json.dumps(document))
    assert Tokenizer.load(file).merges == trained().merges


def test_a_special_token_may_stand_outside_the_models_vocabulary(file: Path) -> None:
    document = json.loads(file.read_text())
    del document["model"]["vocab"]["Ġthe"], document["model"]["vocab"][EOT]  # only to renumber
    document["model"]["merges"] = [
        pair for pair in document["model"]["merges"] if "Ġthe" not in ("".join(pair), *pair)
    ]
    names = sorted(document["model"]["vocab"], key=document["model"]["vocab"].get)
    document["model"]["vocab"] = {name: index for index, name in enumerate(names)}
    document["added_tokens"][0]["id"] = len(names)
    file.write_text(json.dumps(document))
    loaded, library = Tokenizer.load(file), tokenizers.Tokenizer.from_file(str(file))
    text = EOT.join(TEXTS)
    assert loaded.encode(text, allowed_special={EOT}) == library.encode(text).ids
    assert loaded.special_tokens == {EOT: loaded.vocab_size - 1}


def set_entry(*path: str | int, value: Any) -> Callable[[dict], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


def delete_entry(*path: str | int) -> Callable[[dict], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


SPLIT = ("pre_tokenizer", "pretokenizers", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_entry("version", value="2.0"), 'expected "1.0" at .version., found "2.0"'),
        (set_entry("model", "type", value="Unigram"), 'expected "BPE" at .model.type., found "Unigram"'),
        (set_entry("model", "dropout", value=0.1), "expected null at .model.dropout., found 0.1"),
        (
            set_entry("model", "byte_fallback", value=True),
            "expected false at .model.byte_fallback., found true",
        ),
        (
            set_entry("model", "ignore_merges", value="yes"),
            'expected false or true at .model.ignore_merges., found "yes"',
        ),
        (set_entry("normalizer", value={"type": "NFKC"}), "expected null or .* at .normalizer."),
        (set_entry("post_processor", value={"type": "Odd"}), "expected a known post-processor"),
        (
            set_entry("pre_tokenizer", value={"type": "Whitespace"}),
            'expected "Sequence" at .pre_tokenizer.type.',
        ),
        (set_entry("pre_tokenizer", value=None), "missing or misshapen"),
        (set_entry(*SPLIT, "behavior", value="Removed"), r"at .pre_tokenizer.pretokenizers\[0\]."),
        (set_entry(*SPLIT, "pattern", "Regex", value=r"\w+"), "split pattern must mean the same"),
        (set_entry("pre_tokenizer", "pretokenizers", 1, "use_regex", value=True), r"pretokenizers\[1\]."),
        (set_entry("decoder", "type", value="WordPiece"), 'expected "ByteLevel" at .decoder.type.'),
        (set_entry("added_tokens", 0, "special", value="yes"), "at .added_tokens, '<|endoftext|>'."),
        (set_entry("added_tokens", 0, "lstrip", value=True), "at .added_tokens, '<|endoftext|>'."),
        (set_entry("model", "vocab", "a", value=5000), "without gap or double"),
        (set_entry("model", "vocab", "a", value=7), "without gap or double"),
        (set_entry("model", "merges", 0, value=["Q", "Z"]), "merge 0 .* needs the token b'QZ'"),
        (set_entry("model", "merges", 0, value=["a"]), "missing or misshapen"),
        (set_entry("model", "merges", 0, value=["한", "a"]), "'한' in the token '한' stands for no byte"),
        (delete_entry("model", "vocab", "a"), "without gap or double"),
        (delete_entry("model", "merges"), "missing or misshapen.*merges"),
        (delete_entry("model"), "missing or misshapen.*model"),
        (delete_entry("added_tokens"), "missing or misshapen.*added_tokens"),
    ],
)
def test_what_cannot_be_run_exactly_is_refused(
    file: Path, change: Callable[[dict], None], message: str
) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.load(file)
    assert str(file) in str(caught.value)


def test_a_missing_byte_is_an_error() -> None:
    with pytest.raises(ValueError, match="all 256 bytes, found 1 missing"):
        Tokenizer([bytes([byte]) for byte in range(255)], [], {})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe\x00"])
def test_a_file_that_is_no_tokenizer_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json(: expected| is not)"):
        Tokenizer.load(file)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_an_error(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match="is not JSON, so it is damaged or cut short"):
        Tokenizer.load(file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.json"):
        Tokenizer.load(tmp_path / "none.json")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("llmref.tokenizer.files.os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        trained().save(file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        trained().save(tmp_path / "nowhere" / "tokenizer.json")
