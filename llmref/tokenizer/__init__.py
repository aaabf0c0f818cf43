"""Text to ids and back: our own byte-level BPE, and the tokenizers of published models."""

from llmref.tokenizer.bpe import Tokenizer
from llmref.tokenizer.library import LibraryTokenizer
from llmref.tokenizer.load import load_tokenizer
from llmref.tokenizer.pattern import PATTERN
from llmref.tokenizer.protocol import TextTokenizer
from llmref.tokenizer.stream import StreamDecoder

__all__ = ["PATTERN", "LibraryTokenizer", "StreamDecoder", "TextTokenizer", "Tokenizer", "load_tokenizer"]
