"""The tiny model that comes with the package: a million parameters, two languages, one small world.

`make tiny` (`python -m llmref.tiny.make`) trains it from nothing, and `make measure` (`python -m
llmref.tiny.measure`) measures what its card says.
"""

from pathlib import Path

import torch

from llmref.checkpoint import load
from llmref.model import Transformer
from llmref.tokenizer import Tokenizer

FOLDER = Path(__file__).parent


def load_tiny(
    device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[Transformer, Tokenizer]:
    """The trained tiny model and its tokenizer, from the package itself: nothing is downloaded.

    Args:
        device: Where the weights go.
        dtype: Their dtype in memory; on disk they are float16.

    >>> model, tokenizer = load_tiny()
    >>> model.config.d_model
    128
    """
    model, tokenizer = load(FOLDER, device, dtype)
    assert isinstance(tokenizer, Tokenizer)
    return model, tokenizer
