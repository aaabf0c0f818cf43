"""Reading and writing checkpoints in the Hugging Face layout: config.json, safetensors, tokenizer.json.

A checkpoint is data: nothing in it is ever executed, and pickles are never opened. What a file says is
checked before anything large is read or made, and each error names the file and what is wrong in it.
"""

from llmref.checkpoint.configuration import load_config
from llmref.checkpoint.contents import outline
from llmref.checkpoint.device import find_device
from llmref.checkpoint.folder import find_folder
from llmref.checkpoint.loading import load, load_model
from llmref.checkpoint.saving import save
from llmref.checkpoint.tensors import find_tensors

__all__ = [
    "find_device",
    "find_folder",
    "find_tensors",
    "load",
    "load_config",
    "load_model",
    "outline",
    "save",
]
