"""What stands beside a ``tokenizer.json``: the names of the special tokens, and the chat template."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from llmref.files import read_json, read_text
from llmref.tokenizer.files import Unexpected, shaped

LARGEST_SETTINGS = 16 * 2**20
LARGEST_TEMPLATE = 2**17
"""Bytes that the files may have: some ten times those of the largest published ones."""

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Settings(NamedTuple):
    """What ``tokenizer_config.json`` and the files of chat templates say.

    Attributes:
        names: The special tokens that have a part of their own: `{"bos_token": "<s>", …}`.
        more_special: Names of further special tokens.
        add_bos_token: Whether a text begins with the `bos_token`, or `None` if it is not said.
        templates: The chat templates by name; the usual one is `"default"`.
    """

    names: dict[str, str] = {}
    more_special: tuple[str, ...] = ()
    add_bos_token: bool | None = None
    templates: dict[str, str] = {}


def read_settings(folder: str | os.PathLike[str]) -> Settings | None:
    """Reads the settings of a tokenizer.

    A file ``chat_template.jinja``, and those in ``additional_chat_templates``, count before what
    ``tokenizer_config.json`` holds.

    Returns:
        The settings, or `None` if there is no file of them.

    Raises:
        ValueError: If a file is too large, damaged or misshapen.
    """
    folder = Path(folder)
    settings = Settings()
    file = folder / "tokenizer_config.json"
    if file.is_file():
        values = read_json(file, LARGEST_SETTINGS)
        try:
            with shaped("the settings of a tokenizer"):
                settings = _settings(values)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    templates = dict(settings.templates)
    for template in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[template.stem] = read_text(template, LARGEST_TEMPLATE)
    if (folder / "chat_template.jinja").is_file():
        templates["default"] = read_text(folder / "chat_template.jinja", LARGEST_TEMPLATE)
    return settings._replace(templates=templates) if templates or file.is_file() else None


def _settings(values: Any) -> Settings:
    extra = values.get("extra_special_tokens") or values.get("additional_special_tokens") or []
    named = {name: values[name] for name in NAMES if values.get(name) is not None}
    if isinstance(extra, dict):
        named |= extra
        extra = []
    add_bos_token = values.get("add_bos_token")
    template = values.get("chat_template") or {}
    if isinstance(template, list):
        template = {each["name"]: each["template"] for each in template}
    elif isinstance(template, str):
        template = {"default": template}
    settings = Settings(
        names={name: _name(token) for name, token in named.items()},
        more_special=tuple(map(_name, extra)),
        add_bos_token=add_bos_token,
        templates=template,
    )
    if add_bos_token not in (None, True, False):
        raise Unexpected(f"add_bos_token must be true or false, found {add_bos_token!r}")
    for name, text in settings.templates.items():
        if not isinstance(text, str):
            raise Unexpected(f"the chat template {name!r} must be text, found {type(text).__name__}")
        if len(text) > LARGEST_TEMPLATE:
            raise Unexpected(f"the chat template {name!r} must have at most {LARGEST_TEMPLATE:,} characters")
    return settings


def _name(token: Any) -> str:
    name = token["content"] if isinstance(token, dict) else token
    if not isinstance(name, str):
        raise Unexpected(f"a token's name must be text, found {name!r}")
    return name
