"""An exported folder is what others read: the same logits, ids, chat and settings by the peer library."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from helpers import random_ids, small_tokenizer

import llmref
from llmref.checkpoint import save
from llmref.generation import prompt_ids

TEXTS = ("the dog saw the cat", "강아지가 고양이를 보았다.", "  two\n\nlines <|endoftext|> 👩‍👩‍👧")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
TURNS = [{"role": "user", "content": "the dog?"}, {"role": "assistant", "content": "강아지"}]
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<|endoftext|>",
    "eos_token": "<|endoftext|>",
    "add_bos_token": True,
    "clean_up_tokenization_spaces": False,
}
GENERATION = {"eos_token_id": [0, 7], "do_sample": True, "temperature": 0.6, "top_p": 0.9}


@pytest.fixture(scope="module")
def loaded_from(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model's folder, made by the peer library, with all that stands beside the weights."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        "llama",
        vocab_size=small_tokenizer().vocab_size,
        hidden_size=24,
        intermediate_size=29,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    small_tokenizer().save(folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER), "utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION), "utf-8")
    return folder


@pytest.fixture(scope="module")
def exported(loaded_from: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, loaded and saved by this package."""
    folder = tmp_path_factory.mktemp("exported")
    model, tokenizer = llmref.load(loaded_from)
    save(model, tokenizer, folder, family="llama", settings_from=loaded_from)
    return folder


def test_the_peer_library_reads_model_and_tokenizer(exported: Path) -> None:
    model, tokenizer = llmref.load(exported)
    peer = transformers.AutoModelForCausalLM.from_pretrained(exported).eval()
    theirs = transformers.AutoTokenizer.from_pretrained(exported)
    for text in TEXTS:
        ids = prompt_ids(model, tokenizer, text)
        # By itself the peer library takes a special token's name in a user's text for the token.
        assert theirs(text, split_special_tokens=True)["input_ids"] == ids
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids[1:])
    batch = random_ids(2, 9, high=model.config.vocab_size)
    with torch.no_grad():
        ours, found = model(batch, llmref.sequential_positions(batch)), peer(batch).logits
    torch.testing.assert_close(found, ours, rtol=0, atol=1e-5)


def test_a_conversation_and_the_settings_are_the_published_ones(exported: Path) -> None:
    from llmref.chat import load_chat_template

    model, tokenizer = llmref.load(exported)
    theirs: Any = transformers.AutoTokenizer.from_pretrained(exported)
    expected = load_chat_template(exported).ids(tokenizer, TURNS)
    found = theirs.apply_chat_template(TURNS, add_generation_prompt=True, return_dict=False)
    assert found == expected
    assert theirs.eos_token == "<|endoftext|>"
    settings = transformers.GenerationConfig.from_pretrained(exported)
    assert {name: getattr(settings, name) for name in GENERATION} == GENERATION
    assert model.config.end_ids == {0, 7}


def test_without_a_source_no_settings_are_written(loaded_from: Path, tmp_path: Path) -> None:
    model, tokenizer = llmref.load(loaded_from)
    save(model, tokenizer, tmp_path, family="llama")
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert set(json.loads((tmp_path / "config.json").read_text())["eos_token_id"]) == {0, 7}
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path)("the dog", add_special_tokens=False)[
        "input_ids"
    ]
    assert ids == tokenizer.encode("the dog")


def test_a_source_that_is_not_there_is_an_error_before_anything_is_written(
    loaded_from: Path, tmp_path: Path
) -> None:
    model, tokenizer = llmref.load(loaded_from)
    with pytest.raises(FileNotFoundError, match="no checkpoint: nowhere is not a folder"):
        save(model, tokenizer, tmp_path / "out", settings_from="nowhere")
    assert not (tmp_path / "out").exists()
