"""The models that the benchmarks run: real shapes, random weights, one folder that we and the peer load."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from llmref.checkpoint import load_model, save
from llmref.families import family_of
from llmref.model import Transformer

NO_END = {
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}  # random weights never mean to end
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 32_000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "max_position_embeddings": 33_792,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": False,
}
SHAPES: dict[str, dict[str, Any]] = {
    "GPT-2 124M": GPT2,
    "Llama-style 134M": LLAMA,
    "Llama-style 8B": LLAMA
    | {
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rope_theta": 500_000.0,
    },
    "tiny GPT-2": GPT2 | {"vocab_size": 97, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "tiny Llama": LLAMA
    | {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    },
}


def peer_library() -> Any:
    """The transformers library, or `None` where it is not installed."""
    try:
        import transformers
    except ImportError:
        return None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


@contextmanager
def checkpoint(shape: str, device: str, dtype: torch.dtype) -> Iterator[Path]:
    """A folder with a model of that shape and random weights, made by the peer library where there is one."""
    values, transformers = {**SHAPES[shape], **NO_END}, peer_library()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if transformers is None:
            with torch.device(device):
                model = Transformer(family_of(values).read(values)).to(dtype)
            save(model, None, folder, family=values["model_type"])
        else:
            kind = values.pop("model_type")
            with torch.device(device):
                config = transformers.AutoConfig.for_model(kind, **values)
                made = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
            made.save_pretrained(folder)
        yield folder


def ours(folder: Path, device: str, dtype: torch.dtype) -> Transformer:
    """The model of a folder, by this package."""
    return load_model(folder, device=device, dtype=dtype)


def peers(folder: Path, device: str, dtype: torch.dtype) -> Any:
    """The model of a folder, by the peer library."""
    transformers = peer_library()
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()


def prompt(shape: str, length: int) -> list[int]:
    """So many random ids, the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, SHAPES[shape]["vocab_size"], (length,), generator=generator).tolist()
