"""Memory is known before it starts: what cannot fit is refused before anything is made."""

import os
from pathlib import Path

import torch

from llmref.cache import Cache, StaticCache
from llmref.cost import memory, size
from llmref.generation.protocol import LanguageModel


def check_memory(model: LanguageModel, batch: int, tokens: int, limit: int | None = None) -> None:
    """Whether so many texts of so many tokens fit, prompts and new tokens together.

    It counts what is there until the end, the cache and a row of logits for each text, beside weights that
    are already there. What a pass makes on the way comes on top.

    Args:
        model: The model, in memory.
        batch: How many texts at once.
        tokens: How many tokens the longest text has at most.
        limit: How many bytes may be used; what the machine has free if not given.

    Raises:
        ValueError: If they cannot fit.

    >>> import llmref
    >>> model, _ = llmref.load_tiny()
    >>> check_memory(model, batch=4, tokens=100, limit=1_000_000)
    Traceback (most recent call last):
    ...
    ValueError: not enough memory for 4 texts of up to 100 tokens: ... there is room for 977 KiB
    """
    needed = memory(model.config, batch, tokens, model.dtype.itemsize)
    free = available_memory(model.device) if limit is None else limit
    if free is not None and needed.cache + needed.logits > free:
        texts = "a text" if batch == 1 else f"{batch:,} texts"
        raise ValueError(
            f"not enough memory for {texts} of up to {tokens:,} tokens: {size(needed.cache)} of cache and "
            f"{size(needed.logits)} of logits, beside the model's "
            f"{size(needed.weights)}; there is room for {size(free)}"
        )


def available_memory(device: torch.device) -> int | None:
    """The bytes that are free where the model is, or `None` where the system does not say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What PyTorch holds without using it is free as well.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    found = [
        number for number in (_free_on_linux(), _limit_of_container(), _installed()) if number is not None
    ]
    return min(found, default=None)


def _free_on_linux() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def _limit_of_container() -> int | None:
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text("utf-8").strip()
        return None if text == "max" else int(text)
    except OSError:
        return None


def _installed() -> int | None:
    """All the memory there is: more than is free, but known on every Unix."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def check_cache(cache: Cache, tokens: int) -> None:
    """Whether a cache that was given can be used for texts of so many tokens.

    Raises:
        ValueError: If it is not empty, or too short.
    """
    if cache.n_tokens:
        raise ValueError(f"generation needs an empty cache, found one that holds {cache.n_tokens} tokens")
    if isinstance(cache, StaticCache) and tokens > cache.length:
        raise ValueError(f"this cache holds {cache.length} tokens, and the request may need {tokens}")
