"""config.json, and what generation_config.json adds to it: the tokens that end a text."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmref.checkpoint.files import read_values, shortened
from llmref.config import ModelConfig
from llmref.families import FAMILIES, family_of
from llmref.families.values import read_token_ids
from llmref.files import shown

MODEL_TYPE = "llmref"  # our own format, which says any config
MOST_BLOCKS = 10_000  # checked before a config is made, for it holds every block
N_BLOCKS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")  # what families call their number


def load_config(file: str | os.PathLike[str]) -> ModelConfig:
    """The config in a config.json; a generation_config.json beside it may name more tokens that end a text.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or not a config of ours or of a known family; the message names the
            file and the value.
    """
    return read_config(Path(file))[1]


def read_config(file: Path) -> tuple[str, ModelConfig]:
    """The family that a config.json names, or `MODEL_TYPE`, and the config, as `load_config` reads it."""
    values = read_values(file)
    family = _family(file, values)
    config = _checked(file, _from_json, values)
    generation = file.parent / "generation_config.json"
    if generation.is_file():
        ends = _checked(generation, read_token_ids, read_values(generation))
        config = _checked(generation, _ending_also, config, ends["eos_id"], *ends["stop_ids"])
    return family, config


def to_json(config: ModelConfig) -> dict[str, Any]:
    """A config.json in our own format."""
    values = config.to_dict()
    ids = {"bos_token_id": values.pop("bos_id"), "eos_token_id": values.pop("eos_id")}
    return {"model_type": MODEL_TYPE, **ids, **values}


def _family(file: Path, values: Mapping[str, Any]) -> str:
    known, found = [MODEL_TYPE, *sorted(FAMILIES)], values.get("model_type")
    if found not in known:
        raise ValueError(f"{file}: model_type must be one of {', '.join(known)}, found {shown(found)}")
    if values.get("quantization_config") is not None:
        raise ValueError(
            f"{file}: quantization_config must not be there, for quantized weights are not read, "
            f"found {shown(values['quantization_config'])}"
        )
    for name in N_BLOCKS:
        number = values.get(name)
        if isinstance(number, int) and number > MOST_BLOCKS:
            raise ValueError(f"{file}: {name} must be at most {MOST_BLOCKS:,}, found {shown(number)}")
    return found


def _from_json(values: Mapping[str, Any]) -> ModelConfig:
    if values["model_type"] != MODEL_TYPE:
        return family_of(values).read(values)
    values = {name: value for name, value in values.items() if name != "model_type"}
    for ours, theirs in (("bos_id", "bos_token_id"), ("eos_id", "eos_token_id")):
        if theirs in values:
            values[ours] = values.pop(theirs)
    return ModelConfig.from_dict(values)


def _ending_also(config: ModelConfig, *ids: int | None) -> ModelConfig:
    """The config with more tokens that end a text, each once."""
    ends = list(dict.fromkeys(each for each in (config.eos_id, *config.stop_ids, *ids) if each is not None))
    return replace(config, eos_id=ends[0], stop_ids=tuple(ends[1:])) if ends else config


def _checked(file: Path, function: Any, *arguments: Any) -> Any:
    """What a function makes of a file's values; where they do not fit, one error that names the file."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ValueError(f"{file}: {shortened(error)}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(
            f"{file}: a value is missing or of another kind ({type(error).__name__}: {shortened(error)})"
        ) from None
