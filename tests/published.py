"""Small tokenizers in the formats of published ones, trained by the library with those files' settings."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers
from tokenizer_samples import TEXTS
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

ENGLISH = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {
    "llama3": ENGLISH + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL,
    "qwen": ENGLISH + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL,
    "o200k": (
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENGLISH}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENGLISH}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "cl100k": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s*[\r\n]|\s+(?!\S)|\s+"
    ),
    "deepseek": (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}

BOS, EOS, IM_START, IM_END = "<s>", "</s>", "<|im_start|>", "<|im_end|>"


def byte_level(pattern: str | None, vocab_size: int = 480) -> tokenizers.Tokenizer:
    """Trained byte-level BPE with a split of its own, or with that of the byte-level step."""
    library = tokenizers.Tokenizer(models.BPE())
    if pattern is None:
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([split, last])
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(TEXTS, trainer)
    return library


def bos_before(library: tokenizers.Tokenizer, bos: str) -> Any:
    """The step that puts the BOS token before a text."""
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, library.token_to_id(bos))]
    )


def gpt2() -> dict[str, Any]:
    library = byte_level(None)
    library.add_special_tokens([AddedToken("<|endoftext|>", normalized=True)])
    library.post_processor = processors.ByteLevel(trim_offsets=False)
    document = json.loads(library.to_str())
    document["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    del document["model"]["type"], document["pre_tokenizer"]["use_regex"]  # its file is older than these
    return document


def neox() -> dict[str, Any]:
    library = byte_level(None)
    library.normalizer = normalizers.NFC()
    library.add_special_tokens(["<|endoftext|>"])
    library.add_tokens([AddedToken(" " * size, normalized=True) for size in range(8, 1, -1)])
    library.add_tokens([AddedToken("e\u0301tate", normalized=True), AddedToken("하\u0302", normalized=True)])
    return json.loads(library.to_str())


def llama3() -> dict[str, Any]:
    library = byte_level(PATTERNS["llama3"])
    library.add_special_tokens(
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    )
    steps = [processors.ByteLevel(trim_offsets=True), bos_before(library, "<|begin_of_text|>")]
    library.post_processor = processors.Sequence(steps)
    document = json.loads(library.to_str())
    document["model"]["ignore_merges"] = True
    del document["model"]["merges"][20::3]  # so that there are words which no merges lead to
    made = {"".join(pair) for pair in document["model"]["merges"]}
    document["model"]["merges"] = [
        pair for pair in document["model"]["merges"] if all(len(part) == 1 or part in made for part in pair)
    ]
    return document


def qwen() -> dict[str, Any]:
    library = byte_level(PATTERNS["qwen"])
    library.normalizer = normalizers.NFC()
    library.add_special_tokens(["<|endoftext|>", IM_START, IM_END])
    library.add_tokens(
        [AddedToken(name, normalized=False) for name in ("<tool_call>", "</tool_call>", "<think>")]
    )
    library.post_processor = processors.ByteLevel(trim_offsets=False, use_regex=False)
    return json.loads(library.to_str())


def o200k() -> dict[str, Any]:
    library = byte_level(PATTERNS["o200k"])
    library.add_special_tokens(["<|startoftext|>", "<|endoftext|>", "<|start|>", "<|end|>", "<|message|>"])
    document = json.loads(library.to_str())
    document["model"]["ignore_merges"] = True
    return document


def cl100k() -> dict[str, Any]:
    library = byte_level(PATTERNS["cl100k"])
    library.add_special_tokens(["<|endoftext|>", "<|fim_prefix|>"])
    return json.loads(library.to_str())


def deepseek() -> dict[str, Any]:
    """Several splits one after the other, which ours leaves to the library."""
    library = byte_level(PATTERNS["deepseek"])
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
            pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
            pre_tokenizers.Split(Regex(PATTERNS["deepseek"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    library.add_special_tokens(["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])
    library.add_tokens([AddedToken(name, normalized=False) for name in ("<｜User｜>", "<｜Assistant｜>")])
    return json.loads(library.to_str())


def starcoder() -> dict[str, Any]:
    library = byte_level(None)
    digits = pre_tokenizers.Digits(individual_digits=True)
    library.pre_tokenizer = pre_tokenizers.Sequence([digits, library.pre_tokenizer])
    library.add_special_tokens(["<|endoftext|>", "<fim_prefix>"])
    return json.loads(library.to_str())


def sentence_piece(normalizer: Any, pre_tokenizer: Any, decoder: Any) -> tokenizers.Tokenizer:
    """BPE on characters, whose spaces are `▁`, with byte fallback."""
    library = tokenizers.Tokenizer(models.BPE())
    library.normalizer, library.pre_tokenizer = normalizer, pre_tokenizer
    words = [word for text in TEXTS[:3] for word in text.split("\n")]
    library.train_from_iterator(words, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    document = json.loads(library.to_str())
    learned = document["model"]["vocab"]
    first = ["<unk>", BOS, EOS, *(f"<0x{byte:02X}>" for byte in range(256))]
    document["model"] |= {
        "vocab": {token: index for index, token in enumerate([*first, *learned])},
        "unk_token": "<unk>",
        "fuse_unk": True,
        "byte_fallback": True,
    }
    library = tokenizers.Tokenizer.from_str(json.dumps(document))
    library.decoder = decoder
    library.add_special_tokens(["<unk>", BOS, EOS])
    return library


SPACES = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def llama2() -> dict[str, Any]:
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    library = sentence_piece(normalizer, None, decoders.Sequence([*SPACES, decoders.Strip(" ", 1, 0)]))
    library.post_processor = bos_before(library, BOS)
    return json.loads(library.to_str())


def mistral() -> dict[str, Any]:
    decoder = decoders.Sequence([*SPACES, decoders.Strip(" ", 1, 0)])
    metaspace = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    library = sentence_piece(None, metaspace, decoder)
    library.add_special_tokens(["[INST]", "[/INST]"])
    library.post_processor = bos_before(library, BOS)
    return json.loads(library.to_str())


def metaspace() -> dict[str, Any]:
    """As in models of before 2023: the space that is put before a text is taken off the first token."""
    always = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    library = sentence_piece(None, always, decoders.Metaspace("▁", prepend_scheme="always"))
    return json.loads(library.to_str())


def phi3() -> dict[str, Any]:
    document = llama2()
    library = tokenizers.Tokenizer.from_str(json.dumps(document))
    names = ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
    library.add_special_tokens([AddedToken(name, rstrip=True, normalized=False) for name in names])
    library.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    document = json.loads(library.to_str())
    document["added_tokens"][2] |= {"rstrip": True, "special": False}  # </s>, as its file has it
    return document


def gemma() -> dict[str, Any]:
    split = pre_tokenizers.Split(" ", "merged_with_previous")
    library = sentence_piece(normalizers.Replace(" ", "▁"), split, decoders.Sequence(SPACES))
    library.add_special_tokens(["<start_of_turn>", "<end_of_turn>"])
    library.add_tokens([AddedToken(name, normalized=False) for name in ("\n\n", "▁▁▁", "<table>")])
    library.post_processor = bos_before(library, BOS)
    return json.loads(library.to_str())


def unigram() -> dict[str, Any]:
    library = tokenizers.Tokenizer(models.Unigram())
    library.pre_tokenizer = pre_tokenizers.Metaspace("▁")
    library.decoder = decoders.Metaspace("▁")
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=[BOS, EOS, "<unk>"], unk_token="<unk>", show_progress=False
    )
    library.train_from_iterator(TEXTS[:3], trainer)
    return json.loads(library.to_str())


def word_piece() -> dict[str, Any]:
    library = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    library.train_from_iterator(TEXTS[:3], trainer)
    ids = [(name, library.token_to_id(name)) for name in special[1:]]
    library.post_processor = processors.BertProcessing(ids[1], ids[0])
    return json.loads(library.to_str())


OURS = [gpt2, neox, llama3, qwen, o200k, cl100k]
"""What our own encoder runs."""
THEIRS = [deepseek, starcoder, llama2, mistral, metaspace, phi3, gemma, unigram, word_piece]
"""What is left to the library."""

Recipe = Callable[[], dict[str, Any]]


@cache
def _text(recipe: Recipe) -> str:
    return json.dumps(recipe(), ensure_ascii=False)


def document_of(recipe: Recipe) -> dict[str, Any]:
    """What the file holds, to be changed at will."""
    return json.loads(_text(recipe))


def library_of(recipe: Recipe) -> tokenizers.Tokenizer:
    """The file as the library reads it by itself."""
    return tokenizers.Tokenizer.from_str(_text(recipe))


def write(folder: Path, document: dict[str, Any], settings: dict[str, Any] | None = None) -> Path:
    """Writes the files of a tokenizer into a folder."""
    (folder / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False), "utf-8")
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), "utf-8")
    return folder
