"""The tokenizers of published models: the same ids as the library gives, by our own encoder or through it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from published import (
    BOS,
    EOS,
    IM_END,
    IM_START,
    OURS,
    THEIRS,
    Recipe,
    deepseek,
    document_of,
    gemma,
    gpt2,
    library_of,
    llama2,
    llama3,
    metaspace,
    mistral,
    neox,
    phi3,
    qwen,
    unigram,
    word_piece,
    write,
)
from tokenizer_samples import SPECIMENS, STEADY, TEXTS, texts, trained
from transformers import PreTrainedTokenizerFast

from llmref.tokenizer import LibraryTokenizer, TextTokenizer, Tokenizer, load_tokenizer
from llmref.tokenizer.files import template

LOADED: dict[Recipe, TextTokenizer] = {}
ALL = st.sampled_from(OURS + THEIRS)
NAMES = [
    BOS,
    EOS,
    "<unk>",
    IM_START,
    IM_END,
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<tool_call>",
]
NAMES += [
    "<|user|>",
    "<|end|>",
    "[INST]",
    "<start_of_turn>",
    "<table>",
    "\n\n",
    "▁▁▁",
    "    ",
    "e\u0301tate",
    "<0x0A>",
]


def loaded(recipe: Recipe) -> TextTokenizer:
    if recipe not in LOADED:
        document = document_of(recipe)
        LOADED[recipe] = Tokenizer.from_document(document) if recipe in OURS else LibraryTokenizer(document)
    return LOADED[recipe]


def marked_texts() -> st.SearchStrategy[str]:
    """Any text, with names of tokens in it, and characters that join what stands before them."""
    parts = st.one_of(
        texts(24), st.sampled_from(NAMES), st.sampled_from(["\u0338", "\u0301", "  ", "\n", "'S"])
    )
    return st.lists(parts, max_size=8).map("".join)


def library_ids(recipe: Recipe, text: str, *, special: bool) -> list[int]:
    library = library_of(recipe)
    library.encode_special_tokens = not special
    return library.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("recipe", OURS + THEIRS)
def test_who_runs_it(recipe: Recipe, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write(tmp_path, document_of(recipe)))
    assert isinstance(tokenizer, Tokenizer if recipe in OURS else LibraryTokenizer)
    assert isinstance(tokenizer, TextTokenizer)
    assert tokenizer.vocab_size == library_of(recipe).get_vocab_size()
    assert isinstance(load_tokenizer(tmp_path / "tokenizer.json"), type(tokenizer))


BOTH = [(recipe, special) for recipe in OURS + THEIRS for special in (True, False)]
BOTH.remove((unigram, False))  # the library itself lets plain text become a special token here: see below


@pytest.mark.parametrize(("recipe", "special"), BOTH)
def test_hard_texts_have_the_librarys_ids(recipe: Recipe, special: bool) -> None:
    library, tokenizer = library_of(recipe), loaded(recipe)
    library.encode_special_tokens = not special
    allowed = tokenizer.special_tokens if special else ()
    for text in TEXTS + SPECIMENS + ["e\u0301tate e\u0301tate\u0301 \u00e9tate", "<tool_call>\u0338"]:
        assert (
            tokenizer.encode(text, allowed_special=allowed)
            == library.encode(text, add_special_tokens=False).ids
        )


@STEADY
@given(ALL, marked_texts(), st.booleans())
def test_any_text_has_the_librarys_ids(recipe: Recipe, text: str, special: bool) -> None:
    special = special or recipe is unigram
    allowed = loaded(recipe).special_tokens if special else ()
    assert loaded(recipe).encode(text, allowed_special=allowed) == library_ids(recipe, text, special=special)


@STEADY
@given(ALL, marked_texts())
def test_special_tokens_in_a_text_are_plain_text(recipe: Recipe, text: str) -> None:
    tokenizer = loaded(recipe)
    unknown = tokenizer.special_tokens.get("<unk>", tokenizer.special_tokens.get("[UNK]"))
    found = set(tokenizer.encode(text)) & set(tokenizer.special_tokens.values())
    assert found <= {unknown}


def test_plain_text_becomes_no_special_token_where_the_library_lets_it() -> None:
    """A Unigram vocabulary holds its special tokens as pieces, which any text may be made of."""
    tokenizer = loaded(unigram)
    assert tokenizer.special_tokens[EOS] in library_ids(unigram, "a</s>", special=False)
    assert tokenizer.special_tokens[EOS] not in tokenizer.encode("a</s>")


def test_merges_lead_to_no_special_token() -> None:
    document = document_of(llama2)
    names = document["model"]["vocab"]
    document["model"]["merges"] += [["<", "s"], ["<s", ">"]]
    names |= {token: len(names) + place for place, token in enumerate(["<", "<s", ">"])}
    tokenizer = LibraryTokenizer(document)
    assert tokenizer.pieces(tokenizer.encode("<s>")) == [" ", "<s", ">"]
    assert tokenizer.encode("<s>", allowed_special=[BOS]) == [1]


@STEADY
@given(ALL, st.data())
def test_a_special_token_is_recognised_if_it_alone_is_allowed(recipe: Recipe, data: st.DataObject) -> None:
    tokenizer = loaded(recipe)
    if not tokenizer.special_tokens:
        return
    name = data.draw(st.sampled_from(sorted(tokenizer.special_tokens)))
    ids = tokenizer.encode(f"the {name} dog", allowed_special=[name])
    assert ids.count(tokenizer.special_tokens[name]) == 1
    assert ids == tokenizer.encode_parts(["the ", tokenizer.special_tokens[name], " do", "g"])


@STEADY
@given(ALL, st.data())
def test_pieces_of_a_stream_join_to_what_decode_gives(recipe: Recipe, data: st.DataObject) -> None:
    tokenizer = loaded(recipe)
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=20))
    ids += tokenizer.encode(data.draw(texts()))
    text = tokenizer.decode(ids)
    cut = data.draw(st.integers(0, len(ids)))
    first, second = tokenizer.stream(), tokenizer.stream(after=ids[:cut])
    pieces = [first.push(index) for index in ids[:cut]]
    pieces += [second.push(index) for index in ids[cut:]]
    assert "".join(pieces) + second.flush() == text
    library = library_of(recipe).decode(ids, skip_special_tokens=False)
    if "\ufffd" not in library:  # the library writes one for each byte of a run that is no text
        assert text == library


@STEADY
@given(ALL, st.data())
def test_whole_characters_decode_as_the_library_decodes_them(recipe: Recipe, data: st.DataObject) -> None:
    tokenizer = loaded(recipe)
    whole = [index for index in range(tokenizer.vocab_size) if "\\x" not in tokenizer.pieces([index])[0]]
    ids = data.draw(st.lists(st.sampled_from(whole), max_size=8))
    assert tokenizer.decode(ids) == library_of(recipe).decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("recipe", [llama2, mistral, gemma, qwen])
@pytest.mark.parametrize("text", [" 뷁 👩🏽‍🚀", "각", "a\u0301 b\t\n"])
def test_a_character_comes_whole(recipe: Recipe, text: str) -> None:
    tokenizer = loaded(recipe)
    ids = tokenizer.encode(text)
    decoder = tokenizer.stream()
    pieces = [decoder.push(index) for index in ids]
    assert decoder.flush() == ""
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) == tokenizer.decode(ids)


def test_a_text_that_goes_on_keeps_the_space_of_its_first_token() -> None:
    tokenizer = loaded(llama2)
    ids = tokenizer.encode("the dog")
    after = tokenizer.stream(after=[tokenizer.special_tokens[BOS], *ids])
    assert after.push(ids[0]) == " " + tokenizer.stream().push(ids[0])


@pytest.mark.parametrize("recipe", OURS + THEIRS)
def test_what_was_saved_loads_the_same(recipe: Recipe, tmp_path: Path) -> None:
    tokenizer = loaded(recipe)
    tokenizer.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path)
    assert type(again) is type(tokenizer)
    assert again.begins_with == tokenizer.begins_with
    assert again.special_tokens == tokenizer.special_tokens
    text = "".join(SPECIMENS[:15] + NAMES)
    assert again.encode(text) == tokenizer.encode(text)
    library = library_of(recipe).from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode(text, add_special_tokens=False).ids == library_ids(recipe, text, special=True)


def test_words_that_are_tokens_need_no_merges() -> None:
    document = document_of(llama3)
    document["model"]["ignore_merges"] = False
    with_merges = Tokenizer.from_document(document)
    assert with_merges.encode(TEXTS[0]) != loaded(llama3).encode(TEXTS[0])


def test_a_decomposed_text_is_composed_first() -> None:
    tokenizer = loaded(qwen)
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.encode("각") == tokenizer.encode("각")
    assert tokenizer.encode_bytes("각".encode()) == tokenizer.encode("각")
    assert tokenizer.decode_bytes(tokenizer.encode_bytes("각".encode() + b"\xff")) == "각".encode() + b"\xff"


@pytest.mark.parametrize("recipe", [gpt2, llama2])
def test_bad_text_and_bad_ids_are_errors(recipe: Recipe) -> None:
    tokenizer = loaded(recipe)
    size = tokenizer.vocab_size
    with pytest.raises(ValueError, match="lone surrogate .* at 1"):
        tokenizer.encode("a\ud800")
    with pytest.raises(ValueError, match="lone surrogate .* at 0"):
        tokenizer.encode_parts(["\ud800"])
    with pytest.raises(ValueError, match=r"allowed_special must be among .*, found \['<none>'\]"):
        tokenizer.encode("a", allowed_special=["<none>"])
    with pytest.raises(ValueError, match="must be a special token's, found 77"):
        tokenizer.encode_parts(["a", 77])
    for bad in (-1, size):
        for use in (
            tokenizer.token_bytes,
            lambda bad: tokenizer.decode([bad]),
            lambda bad: tokenizer.pieces([bad]),
        ):
            with pytest.raises(ValueError, match=rf"token id must lie in 0\.\.{size - 1}"):
                use(bad)


# What begins a text


def processed(document: dict[str, Any], post_processor: Any) -> dict[str, Any]:
    return document | {"post_processor": post_processor}


@pytest.mark.parametrize("recipe", [llama2, llama3, gemma, qwen, phi3, gpt2, word_piece, deepseek])
@pytest.mark.parametrize("add_bos_token", [None, False, True])
@pytest.mark.parametrize("with_step", [True, False])
def test_a_text_begins_as_the_peer_begins_it(
    recipe: Recipe, add_bos_token: bool | None, with_step: bool, tmp_path: Path
) -> None:
    document = document_of(recipe) if with_step else processed(document_of(recipe), None)
    names = [token["content"] for token in document["added_tokens"]]
    bos = next(
        name for name in (BOS, "<|begin_of_text|>", "[CLS]", "<|endoftext|>", names[0]) if name in names
    )
    settings = {"bos_token": bos} | ({} if add_bos_token is None else {"add_bos_token": add_bos_token})
    tokenizer = load_tokenizer(write(tmp_path, document, settings))
    ids = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **settings)(
        "the"
    ).input_ids
    if recipe is word_piece and with_step and add_bos_token is None:
        ids = ids[:-1]  # the [SEP] after a text
    assert tokenizer.begins_with is not None
    assert [*tokenizer.begins_with, *tokenizer.encode("the")] == ids


def test_where_no_file_says_how_a_text_begins_the_models_config_does(tmp_path: Path) -> None:
    trained().save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path).begins_with is None
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert load_tokenizer(tmp_path).begins_with == ()


def test_each_step_puts_its_token_before_those_of_the_last() -> None:
    document = document_of(llama3)
    ids = [token["id"] for token in document["added_tokens"]]
    steps = [template([index], {index: f"<{index}>"}) for index in ids[:2]]
    document["post_processor"] = {"type": "Sequence", "processors": steps}
    library = tokenizers.Tokenizer.from_str(json.dumps(document))
    tokenizer = Tokenizer.from_document(document)
    assert tokenizer.begins_with == (ids[1], ids[0])
    assert [*tokenizer.begins_with, *tokenizer.encode("the")] == library.encode("the").ids


def test_what_begins_a_text_is_saved(tmp_path: Path) -> None:
    for recipe in (qwen, llama2):
        document = processed(document_of(recipe), None)
        bos = document["added_tokens"][1]
        write(tmp_path, document, {"bos_token": {"content": bos["content"]}, "add_bos_token": True})
        tokenizer = load_tokenizer(tmp_path)
        (tmp_path / "tokenizer_config.json").unlink()
        tokenizer.save(tmp_path / "tokenizer.json")
        assert load_tokenizer(tmp_path).begins_with == tokenizer.begins_with == (bos["id"],)


# What is special


def test_what_a_chat_template_writes_is_special(tmp_path: Path) -> None:
    settings = {"chat_template": "{{ '<｜User｜>' + messages[0]['content'] + '\n\n' }}"}
    write(tmp_path, document_of(deepseek), settings)
    tokenizer = load_tokenizer(tmp_path)
    user, assistant = (library_of(deepseek).token_to_id(f"<｜{role}｜>") for role in ("User", "Assistant"))
    assert set(tokenizer.special_tokens) == {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>"}
    assert tokenizer.encode("<｜Assistant｜>") == [assistant]
    assert user not in tokenizer.encode("<｜User｜>")
    assert tokenizer.encode("<｜User｜>", allowed_special=["<｜User｜>"]) == [user]
    tokenizer.save(tmp_path / "tokenizer.json")
    saved = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert saved["added_tokens"] == document_of(deepseek)["added_tokens"]


def test_the_same_for_our_own(tmp_path: Path) -> None:
    write(tmp_path, document_of(qwen))
    (tmp_path / "chat_template.jinja").write_text("<tool_call>{{ messages }}")
    tokenizer = load_tokenizer(tmp_path)
    assert isinstance(tokenizer, Tokenizer)
    assert "<tool_call>" in tokenizer.special_tokens
    assert tokenizer.special_tokens["<tool_call>"] not in tokenizer.encode("<tool_call>")
    assert tokenizer.encode("</tool_call>") == [tokenizer.added_tokens["</tool_call>"]]
    tokenizer.save(tmp_path / "tokenizer.json")
    saved = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert saved["added_tokens"] == document_of(qwen)["added_tokens"]


def test_what_the_settings_name_is_special(tmp_path: Path) -> None:
    document = document_of(phi3)
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] != EOS]
    settings = {"eos_token": EOS, "additional_special_tokens": ["<0x41>", "<absent>"]}
    tokenizer = load_tokenizer(write(tmp_path, document, settings))
    assert tokenizer.special_tokens[EOS] == 2
    assert "<absent>" not in tokenizer.special_tokens
    assert 2 not in tokenizer.encode(EOS)
    assert tokenizer.encode(f"a{EOS}", allowed_special=[EOS])[-1] == 2
    assert EOS in load_tokenizer(write(tmp_path, document_of(phi3), settings)).special_tokens


def test_a_run_of_spaces_stays_text_though_a_template_holds_it(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write(tmp_path, document_of(neox), {"chat_template": "    {{ messages }}"}))
    assert len(tokenizer.encode("    ")) == 1
    assert "    " not in tokenizer.special_tokens


# Bad input


def test_a_file_of_too_many_bytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(
        ValueError, match=r"tokenizer\.json must have at most 67,108,864 bytes, found 67,108,865"
    ):
        load_tokenizer(tmp_path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json is missing"):
        load_tokenizer(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none/tokenizer\.json is missing"):
        load_tokenizer(tmp_path / "none")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe\x00", b"{}", b"[" * 100_000, b"null"]
)
def test_what_is_no_tokenizer_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json(: expected| is not)"):
        load_tokenizer(tmp_path)


def changed(recipe: Recipe, *path: Any, value: Any) -> Callable[[], dict[str, Any]]:
    def made() -> dict[str, Any]:
        whole = document = document_of(recipe)
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value
        return whole

    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (changed(llama2, "model", "vocab", "▁", value=9999), "without gap .* from 0 to 9999"),
        (changed(llama2, "model", "vocab", "▁", value="1"), "whole numbers"),
        (changed(llama2, "model", "vocab", "\ud800", value=559), "misshapen .*surrogates"),
        (changed(llama2, "added_tokens", 0, "content", value=""), "tokens with names"),
        (changed(llama2, "added_tokens", 0, value={"id": 0}), "misshapen .*KeyError"),
        (changed(llama2, "model", "type", value="Odd"), "the tokenizers library cannot read"),
        (changed(llama2, "model", "merges", 0, value=["a"]), "the tokenizers library cannot read"),
        (changed(llama2, "model", "merges", 0, value=["a", "qqq"]), "the tokenizers library cannot read"),
        (changed(llama2, "decoder", value={"type": "CTC"}), "expected a known decoder"),
        (changed(llama2, "decoder", "decoders", 3, "stop", value=1), "expected a known decoder"),
        (changed(llama2, "decoder", value="Fuse"), "misshapen"),
        (changed(llama2, "post_processor", "type", value="Odd"), "expected a known post-processor"),
        (
            changed(llama2, "post_processor", "special_tokens", BOS, "ids", value=[99999]),
            "token id must lie in",
        ),
        (changed(llama2, "model", value=None), "misshapen"),
        (changed(qwen, "pre_tokenizer", "pretokenizers", 0, "pattern", value={"Regex": "("}), "cannot read"),
        (changed(unigram, "model", "vocab", 3, value=["a"]), "misshapen"),
    ],
)
def test_a_misshapen_tokenizer_is_an_error(made: Recipe, message: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(made()))
    with pytest.raises(ValueError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"[]", "misshapen"),
        (b'{"bos_token": 5}', "a token's name must be text, found 5"),
        (b'{"bos_token": {}}', "misshapen .*KeyError"),
        (b'{"add_bos_token": "yes"}', "add_bos_token must be true or false, found 'yes'"),
        (b'{"chat_template": 5}', "misshapen"),
        (b'{"chat_template": [{"name": "default", "template": 5}]}', "'default' must be text, found int"),
        (b'{"chat_template": ["a"]}', "misshapen"),
        (json.dumps({"chat_template": "a" * (2**17 + 1)}).encode(), "at most 131,072 characters"),
    ],
)
def test_misshapen_settings_are_an_error(content: bytes, message: str, tmp_path: Path) -> None:
    write(tmp_path, document_of(qwen))
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"tokenizer_config\.json.*{message}"):
        load_tokenizer(tmp_path)


def test_a_bos_token_without_an_id_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, document_of(qwen), {"bos_token": "<none>", "add_bos_token": True})
    with pytest.raises(ValueError, match="add_bos_token needs the bos_token '<none>', which has no id"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("recipe", [gpt2, llama2])
def test_batch_settings_of_a_file_are_left_aside(recipe: Recipe, tmp_path: Path) -> None:
    truncation = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    document = document_of(recipe) | {"truncation": truncation}
    if recipe is llama2:
        document["model"]["dropout"] = 0.9
    tokenizer = load_tokenizer(write(tmp_path, document))
    assert tokenizer.encode(TEXTS[0]) == loaded(recipe).encode(TEXTS[0])


def test_decoders_without_byte_fallback() -> None:
    document = document_of(metaspace)
    assert LibraryTokenizer(document | {"decoder": None}).decode([300, 301]) == "".join(
        library_of(metaspace).id_to_token(index) + end for index, end in ((300, " "), (301, ""))
    )
