"""Chat templates: a conversation as the text, and the ids, that a model was trained to read."""

import os
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Template, TemplateSyntaxError

from llmref.chat.sandbox import Sandbox
from llmref.chat.written import Written, marks_of
from llmref.tokenizer import TextTokenizer
from llmref.tokenizer.added import cut
from llmref.tokenizer.settings import read_settings

Message = Mapping[str, Any]
"""One turn: `{"role": "user", "content": "Hello"}`, and whatever else the template reads."""


class ChatTemplate:
    """A model's chat template, which is a program in Jinja, run in a sandbox.

    Whose text is whose: the text that stands in the template (and the names that it is given, such as
    `bos_token`) is the model's, as is a message's role. Everything else is the users'. In ``ids``, special
    tokens are recognised in the model's text alone. So no message, tool or document can hold one, whether
    whole or in parts that the template puts side by side.

    What is not guaranteed: a template sees what users wrote, and may do with it what it likes (trim it, cut
    it at `</think>`, leave it out); it can even spell a special token itself when a text asks for it. What
    users write in plain words is for the model to judge.

    >>> template = ChatTemplate("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}")
    >>> template.render([{"role": "user", "content": "Hello"}])
    '<|user|>Hello<|end|>'
    """

    def __init__(self, source: str, names: Mapping[str, str] | None = None) -> None:
        """Compiles a template.

        Args:
            source: The template.
            names: The special tokens that it can write by what they are for: `{"bos_token": "<s>"}`.

        Raises:
            ValueError: If it is no template; the message names the line.
        """
        self.source = source
        self.names = dict(names or {})
        try:
            self._code = Sandbox().compiled(source)
        except TemplateSyntaxError as error:
            raise ValueError(f"the chat template fails at line {error.lineno}: {error.message}") from None
        except Exception as error:  # too deeply nested for Jinja or for Python
            raise ValueError(f"the chat template cannot be compiled: {error}") from None

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, **variables: Any
    ) -> str:
        """The conversation as text.

        It cannot be told from this text who wrote what: for a model, use ``ids``.

        Args:
            messages: The turns. Entries that are `None` are left out.
            add_generation_prompt: Whether the text ends where the model's answer begins.
            variables: What else the template reads: `tools`, `documents`, `enable_thinking` …

        Raises:
            ValueError: If there is no message, a role is no word, a value is none of JSON's, or the template
                fails, refuses the conversation, or makes or takes too much.
        """
        return str.__str__(self._render(messages, add_generation_prompt, variables))

    def ids(
        self,
        tokenizer: TextTokenizer,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> list[int]:
        """The conversation as ids: what ``generation.stream`` takes as a prompt.

        The template writes all of it, the token that begins a text included; nothing is put before it.

        Args:
            tokenizer: The model's tokenizer.
            messages: The turns. Entries that are `None` are left out.
            add_generation_prompt: Whether the text ends where the model's answer begins.
            variables: What else the template reads: `tools`, `documents`, `enable_thinking` …

        Raises:
            ValueError: As ``render``; or if a special token's name came about in a way in which the template
                may have written it or not.

        >>> import llmref
        >>> _, tokenizer = llmref.load_tiny()
        >>> names = {"bos_token": "<|endoftext|>"}
        >>> template = ChatTemplate("{{ bos_token }}{{ messages[0].content }}", names)
        >>> tokenizer.pieces(template.ids(tokenizer, [{"role": "user", "content": "a<|endoftext|>"}]))[:4]
        ['<|endoftext|>', 'a', '<', '|']
        """
        text = self._render(messages, add_generation_prompt, variables)
        parts = list(_parts(text, tokenizer.special_tokens))
        _check_plain(parts, tokenizer.special_tokens, [*_texts([*messages, variables])])
        return tokenizer.encode_parts(parts)

    def _render(
        self, messages: Sequence[Message], add_generation_prompt: bool, variables: dict[str, Any]
    ) -> Written:
        sandbox = Sandbox()
        template = Template.from_code(sandbox, self._code, sandbox.make_globals(None))
        given = {
            **{name: Written(token) for name, token in self.names.items()},
            **{name: _plain(value, name) for name, value in variables.items()},
            "messages": _messages(messages),
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            text = template.render(given)
        except Exception as error:  # whatever a template can do wrong
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
            where = f" at line {lines[-1]}" if lines else ""
            raise ValueError(f"the chat template fails{where}: {type(error).__name__}: {error}") from None
        assert isinstance(text, Written)
        return text


def load_chat_template(folder: str | os.PathLike[str], name: str = "default") -> ChatTemplate:
    """Reads a model's chat template.

    Args:
        folder: A folder with ``chat_template.jinja``, or with ``tokenizer_config.json`` that holds it.
        name: Which one, where a model has several: `"tool_use"`, `"rag"`.

    Raises:
        ValueError: If there is none of that name, a file is damaged, or the template has an error.
    """
    settings = read_settings(folder)
    if settings is None or name not in settings.templates:
        there = ", ".join(map(repr, settings.templates if settings else ())) or "none"
        raise ValueError(f"{folder}: no chat template is named {name!r}; there is {there}")
    try:
        return ChatTemplate(settings.templates[name], settings.names)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    if not messages:
        raise ValueError("a conversation needs at least one message, found none")
    made = []
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or not re.fullmatch(r"[\w-]+", role, re.ASCII):
            raise ValueError(f"message {place} needs a role that is a word, such as 'user', found {role!r}")
        entries = {key: value for key, value in message.items() if value is not None}
        made.append(_plain(entries, f"message {place}") | {"role": Written(role)})
    return made


def _plain(value: Any, where: str) -> Any:
    """A copy of JSON's own types: an object with methods would be one more thing for a template to call."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, where) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [_plain(entry, where) for entry in value]
    raise ValueError(f"{where} must be made of text, numbers, lists and dictionaries, found {value!r}")


def _texts(value: Any) -> Iterator[str]:
    """All that users wrote."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*map(str, value), *value.values()])
    elif isinstance(value, Sequence):
        for entry in value:
            yield from _texts(entry)


def _parts(text: str, special_tokens: Mapping[str, int]) -> Iterator[str | int]:
    """The text, with ids in the place of the special tokens that the template wrote."""
    for run in re.finditer(rb"\x01+|\x00+", marks_of(text)):
        part = str(text)[run.start() : run.end()]
        yield from cut(part, special_tokens if run[0].startswith(b"\1") else {})


def _check_plain(parts: list[str | int], special_tokens: Mapping[str, int], texts: list[str]) -> None:
    """A special token's name that stays text must be a user's: else its mark was lost on the way."""
    plain = "".join(part if isinstance(part, str) else "\0" for part in parts)
    names = {id: name for name, id in special_tokens.items()}
    for found in cut(plain, special_tokens):
        if isinstance(found, int) and not any(names[found] in text for text in texts):
            raise ValueError(
                f"the chat template makes the special token {names[found]!r} in a way that does not show who "
                "wrote it: neither stands it in the template's own text, nor in a message"
            )
