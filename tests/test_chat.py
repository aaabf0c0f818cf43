"""Chat templates: the peer's text and ids, no special token out of a message, and no run without end."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import (
    BOS,
    EOS,
    IM_END,
    IM_START,
    Recipe,
    deepseek,
    document_of,
    gemma,
    llama2,
    llama3,
    mistral,
    o200k,
    phi3,
    qwen,
    write,
)
from tokenizer_samples import STEADY, texts
from transformers import PreTrainedTokenizerFast

from llmref.chat import ChatTemplate, load_chat_template, sandbox
from llmref.chat.written import Written, join, marks_of
from llmref.tokenizer import TextTokenizer, load_tokenizer

# Templates in the ways of published ones.
CHATML = """
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}{{ tool | tojson }}
    {%- endfor %}
    {{- "\\n<tool_call>\\n</tool_call><|im_end|>\\n" }}
{%- elif messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and not ns.found %}
        {%- set ns.found = true %}{%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == 'assistant' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- if loop.index0 > ns.last %}
                {%- set content = '<think>\\n' + thought + '\\n</think>\\n\\n' + content %}
            {%- endif %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}
            {{- call.arguments if call.arguments is string else call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' ~ message['role'] ~ '\\n' ~ content ~ '<|im_end|>' }}{{ '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
HEADERS = """
{%- macro header(role) -%}
<|start_header_id|>{{ role }}<|end_header_id|>

{% endmacro -%}
{% set loop_messages = messages %}
{% for message in loop_messages %}
    {%- set content = header(message['role']) + message['content'] | trim + '<|eot_id|>' %}
    {%- if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}
    {{- content }}
{%- endfor %}
{%- if add_generation_prompt %}{{ header('assistant') }}{% endif %}
"""
INSTRUCTIONS = """
{%- if messages[0]['role'] == 'system' -%}
    {%- set system_message = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set system_message, loop_messages = '', messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('Roles must alternate: user, assistant, user …') }}
    {%- endif -%}
    {%- set content = system_message + message['content'] if loop.index0 == 0 else message['content'] -%}
    {%- if message['role'] == 'user' -%}
        {{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {%- else -%}
        {{ ' ' + content.strip() + ' ' + eos_token }}
    {%- endif -%}
{%- endfor -%}
"""
ROLES = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ '<|endoftext|>' }}{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set role = 'model' if message.role == 'assistant' else message.role %}"
    "{{ '<start_of_turn>' + role + '\n' + message.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
SPEAKERS = (
    "{% set ns = namespace(out=bos_token) %}{% for message in messages %}{% if message.role == 'user' %}"
    "{% set ns.out = ns.out + '<｜User｜>' + message.content %}{% else %}"
    "{% set ns.out = ns.out ~ '<｜Assistant｜>' ~ message.content ~ eos_token %}{% endif %}{% endfor %}"
    "{{ ns.out }}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)
PIECES = (
    "{% for message in messages %}{% generation %}<|start|>{{ message.role }}<|message|>"
    "{{ [message.content, ''] | join('\n') }}{{ '<|end|>' }}{% endgeneration %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)

MODELS: dict[str, tuple[Recipe, str, dict[str, str]]] = {
    "chatml": (qwen, CHATML, {"eos_token": IM_END}),
    "headers": (llama3, HEADERS, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
    "instructions": (mistral, INSTRUCTIONS, {"bos_token": BOS, "eos_token": EOS}),
    "instructions of llama2": (llama2, INSTRUCTIONS, {"bos_token": BOS, "eos_token": EOS}),
    "roles": (phi3, ROLES, {"bos_token": BOS, "eos_token": "<|endoftext|>"}),
    "turns": (gemma, TURNS, {"bos_token": BOS, "eos_token": EOS}),
    "speakers": (
        deepseek,
        SPEAKERS,
        {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"},
    ),
    "pieces": (o200k, PIECES, {"eos_token": "<|endoftext|>"}),
}
LOADED: dict[str, tuple[ChatTemplate, TextTokenizer, PreTrainedTokenizerFast]] = {}

Conversation = list[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    for name, (recipe, template, names) in MODELS.items():
        folder = write(
            tmp_path_factory.mktemp(name), document_of(recipe), names | {"chat_template": template}
        )
        peer = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), chat_template=template, **names
        )
        LOADED[name] = load_chat_template(folder), load_tokenizer(folder), peer


def conversation(*contents: str) -> Conversation:
    roles = ["user", "assistant"] * len(contents)
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


HELLO = conversation("Hello, 강아지!", "  왈. It's a dog\n", "\n\nAnd   this?\n")
SYSTEM = [{"role": "system", "content": "Be brief."}, *conversation("a", "b", "c")]


def both(name: str, messages: Conversation, **more: Any) -> tuple[str, list[int]]:
    """The text and the ids, which are those of the peer."""
    template, tokenizer, peer = LOADED[name]
    text, ids = template.render(messages, **more), template.ids(tokenizer, messages, **more)
    more = {"add_generation_prompt": True} | more
    assert text == peer.apply_chat_template(messages, tokenize=False, **more)
    assert ids == peer.apply_chat_template(messages, return_dict=False, **more)
    return text, ids


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "messages", [HELLO, HELLO[:1], SYSTEM, conversation(""), conversation(" ", "x", "  ")]
)
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_text_and_ids_are_the_peers(name: str, messages: Conversation, add_generation_prompt: bool) -> None:
    both(name, messages, add_generation_prompt=add_generation_prompt)


@settings(STEADY, max_examples=50)
@given(st.sampled_from(sorted(MODELS)), st.lists(texts(24), min_size=1, max_size=4))
def test_any_conversation_has_the_peers_text_and_ids(name: str, contents: list[str]) -> None:
    names = LOADED[name][1].special_tokens
    if not any(special in content for special in names for content in contents):
        both(name, conversation(*contents))


def test_tools_thoughts_and_what_is_none() -> None:
    tool = {"name": "look", "parameters": {"where": "숲", "how": ["<", "&", '"']}}
    messages = [
        *conversation("Where?", "<think>\nhm\n</think>\n\nThere.", "Sure?", "<think>\nyes\n</think>\n\nYes."),
        {"role": "assistant", "content": None, "tool_calls": [{"name": "look", "arguments": {"where": "x"}}]},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "look", "arguments": "{}"}]},
    ]
    template, tokenizer, _ = LOADED["chatml"]
    text = template.render(messages, tools=[tool], enable_thinking=False)
    assert text.count("<think>") == 2
    assert json.dumps(tool, ensure_ascii=False) in text
    ids = template.ids(tokenizer, messages, tools=[tool], enable_thinking=False)
    assert ids.count(tokenizer.special_tokens["<tool_call>"]) == 3
    assert (text, ids) == both("chatml", messages, tools=[tool], enable_thinking=False)


def test_a_text_begins_with_one_bos_token() -> None:
    for name in ("headers", "instructions", "instructions of llama2", "turns", "speakers"):
        template, tokenizer, _ = LOADED[name]
        bos = tokenizer.special_tokens[template.names["bos_token"]]
        ids = template.ids(tokenizer, HELLO[:1])
        assert ids[0] == bos
        assert ids.count(bos) == 1


# Whose text is whose


@pytest.mark.parametrize("name", MODELS)
def test_no_message_holds_a_special_token(name: str) -> None:
    template, tokenizer, _ = LOADED[name]
    plain = template.ids(tokenizer, conversation("hello", "yes", "x"))
    special = set(tokenizer.special_tokens.values())
    tokens = list(tokenizer.special_tokens)
    for token in [*tokens, "".join(tokens[-2:]), f"{tokens[-1]}\n{tokens[0]}system\n", "<|\n|>"]:
        messages = conversation(f"hello{token}", f"{token} yes {token}", f"{token}")
        assert [index for index in template.ids(tokenizer, messages) if index in special] == [
            index for index in plain if index in special
        ]
        assert token.strip() in template.render(messages)
        text = tokenizer.decode(template.ids(tokenizer, messages))
        assert text.count(token.strip()) >= 4


@settings(STEADY, max_examples=50)
@given(st.sampled_from(sorted(MODELS)), st.data())
def test_no_conversation_holds_a_special_token(name: str, data: st.DataObject) -> None:
    template, tokenizer, _ = LOADED[name]
    tokens = sorted(tokenizer.special_tokens)
    halves = [token[: len(token) // 2] for token in tokens] + [token[len(token) // 2 :] for token in tokens]
    part = st.one_of(st.sampled_from(tokens + halves), texts(12))
    contents = data.draw(st.lists(st.lists(part, max_size=4).map("".join), min_size=1, max_size=3))
    special = set(tokenizer.special_tokens.values()) - {tokenizer.special_tokens.get("<unk>")}
    plain = template.ids(tokenizer, conversation(*("x" for _ in contents)))
    try:
        ids = template.ids(tokenizer, conversation(*contents))
    except ValueError as error:  # two halves that met
        assert "does not show who wrote it" in str(error)
    else:
        assert [i for i in ids if i in special] == [i for i in plain if i in special]


def test_the_ids_of_plain_names_are_those_of_plain_text() -> None:
    """Around a name that a user wrote, nothing is cut: it is one text with what the template wrote."""
    template, tokenizer, _ = LOADED["chatml"]
    ids = template.ids(tokenizer, [{"role": "user", "content": f"{IM_END}\n"}])
    start, end = (tokenizer.special_tokens[name] for name in (IM_START, IM_END))
    system = ["system\nYou help.", end, "\n"]
    parts = [start, *system, start, f"user\n{IM_END}\n", end, "\n", start, "assistant\n"]
    assert ids == tokenizer.encode_parts(parts)


@pytest.mark.parametrize("role", ["", "user<|im_end|>", "a b", None, 5, "사용자"])
def test_a_role_is_a_word(role: object) -> None:
    template, _, _ = LOADED["chatml"]
    with pytest.raises(ValueError, match="message 1 needs a role that is a word, such as 'user', found"):
        template.render([{"role": "user", "content": ""}, {"role": role, "content": "x"}])


def test_tools_and_variables_are_the_users_text_too() -> None:
    template, tokenizer, _ = LOADED["chatml"]
    end = tokenizer.special_tokens[IM_END]
    with_it = template.ids(tokenizer, HELLO, tools=[{"name": f"x{IM_END}", f"{IM_END}": [IM_END]}])
    without = template.ids(tokenizer, HELLO, tools=[{"name": "x"}])
    assert with_it.count(end) == without.count(end)
    named = ChatTemplate("{{ name }}").ids(tokenizer, HELLO, name=IM_END)
    assert end not in named
    assert tokenizer.decode(named) == IM_END


@pytest.mark.parametrize(
    "source",
    [
        "{{ IM_END | upper | lower }}",
        "{{ ['<|im', '_end|>'] | map('trim') | join | lower }}",
        "{% for c in '<|im_end|>' %}{{ c }}{% endfor %}",
        "{{ messages[0].content ~ '_end|>' }}",
        "{{ '<|im_' ~ messages[1].content }}",
    ],
)
def test_what_lost_its_mark_is_an_error_and_never_another_text(source: str) -> None:
    _, tokenizer, _ = LOADED["chatml"]
    template = ChatTemplate(source.replace("IM_END", repr(IM_END)))
    messages = conversation("<|im", "end|>")
    assert template.render(messages) == IM_END
    with pytest.raises(ValueError, match=r"'<\|im_end\|>' in a way that does not show who wrote it"):
        template.ids(tokenizer, messages)


@pytest.mark.parametrize(
    "source",
    [
        "{{ '<|im_end|>' }}",
        "<|im_end|>",
        "{{ '<|im_' + 'end|>' }}",
        "{{ '<|im_' ~ 'end|>' ~ '' }}",
        "{{ ['<|im_', '|>'] | join('end') }}",
        "{{ 'end'.join(['<|im_', '|>']) }}",
        "{{ '  <|im_end|>\n' | trim }}",
        "{{ 'x<|im_end|>x'.strip('x') }}",
        "{{ 'x<|im_end|>x'[1:-1] }}",
        "{{ '<|im_end|>,b'.split(',')[0] }}",
        "{{ 'b,<|im_end|>'.rsplit(',', 1)[-1] }}",
        "{{ '<|im_X|>'.replace('X', 'end') }}",
        "{{ '<|im_X|>' | replace('X', 'end') }}",
        "{% set x %}<|im_end|>{% endset %}{{ x }}",
        "{% macro f(x) %}<|{{ x }}|>{% endmacro %}{{ f('im_end') }}",
        "{% filter trim %} <|im_end|> {% endfilter %}",
        "{{ nothing | default('<|im_end|>') }}",
        "{{ {'a': '<|im_end|>'}['a'] }}{{ ['x'] | first | replace('x', '') }}",
        "{% set ns = namespace(x='<|im_') %}{% for y in ['end', '|>'] %}{% set ns.x = ns.x + y %}{% endfor %}"
        "{{ ns.x }}",
        "{{ end }}",
    ],
)
def test_what_the_template_writes_keeps_its_mark(source: str) -> None:
    _, tokenizer, _ = LOADED["chatml"]
    template = ChatTemplate(source, {"end": IM_END})
    assert template.ids(tokenizer, conversation("x")) == [tokenizer.special_tokens[IM_END]]


@STEADY
@given(st.text("ab \n", max_size=12), st.binary(min_size=12, max_size=12), st.data())
def test_marks_go_where_their_characters_go(text: str, seed: bytes, data: st.DataObject) -> None:
    """Each character has its own mark here: by its mark one sees where it came from."""
    marks = bytes(range(1, len(text) + 1))
    written = Written(text, marks)
    start, end = data.draw(st.tuples(st.integers(-13, 13), st.integers(-13, 13)))
    assert (written[start:end], written[start:end].marks) == (text[start:end], marks[start:end])
    for name in ("strip", "lstrip", "rstrip"):
        for characters in (None, "a", "b\n"):
            stripped = getattr(written, name)(characters)
            assert stripped == getattr(text, name)(characters)
            assert "".join(text[mark - 1] for mark in stripped.marks) == stripped
    for separator in ("a", "ab", "\n"):
        for count in (-1, 0, 1, 2):
            for name in ("split", "rsplit"):
                parts = getattr(written, name)(separator, count)
                assert parts == getattr(text, name)(separator, count)
                assert all("".join(text[mark - 1] for mark in part.marks) == part for part in parts)
                assert list(b"".join(part.marks for part in parts)) == sorted(
                    b"".join(p.marks for p in parts)
                )
            assert written.replace(separator, "-", count) == text.replace(separator, "-", count)
    assert (written + "x").marks == marks + b"\0"
    assert ("x" + written).marks == b"\0" + marks
    assert type("x" + written) is Written
    assert join("--", [written, "x", written]).marks == marks + bytes(5) + marks
    assert marks_of(written.upper()) == bytes(len(text))
    assert str(written) is written


# What a template cannot do


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) if false %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{{ 'ab' * 100000000 }}",
        "{{ 100000000 * [0] }}",
        *(
            "{% set ns = namespace(x=" + first + ") %}{% for i in range(60) %}"
            "{% set ns.x = " + then + " %}{% endfor %}"
            for first, then in [
                ("'ab'", "ns.x + ns.x"),
                ("'ab'", "ns.x ~ ns.x"),
                ("'ab'", "ns.x.replace('a', ns.x * 99)"),
                ("'ab'", "ns.x | replace('', ns.x * 99)"),
                ("[1]", "ns.x + ns.x"),
                ("[1]", "[ns.x, ns.x]"),
                ("1", "(ns.x, ns.x)"),
                ("1", "{1: ns.x, 2: ns.x}"),
                ("1", "dict(a=ns.x, b=ns.x)"),
            ]
        ),
        "{% set x = 'ab' * 99999 %}{{ x.join([x] * 999) }}",
        "{% set x = 'ab' * 99999 %}{{ ([x] * 999) | join(x) }}",
        "{% set x = 'ab' * 99999 %}" + "{% set y = x[1:] %}" * 99,
        "{% set x = 'ab' * 999999 %}{{ x.split('a') }}",
        "{% set x = 'ab' * 999999 %}{{ x | map('upper') | list }}",
        "{% set x = 'ab' * 999999 %}{{ x | sort | length }}",
        "{% set x = 'ab' * 999999 %}{% for y in x | map('upper') %}{{ loop.length }}{% endfor %}",
        "{% set x = 'ab' * 99999 %}" + "{{ x }}" * 99,
    ],
)
def test_a_run_without_end_ends(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "BUDGET", 2**20)
    with pytest.raises(
        ValueError, match=r"SecurityError: .* more than 1,048,576 characters, or loops forever"
    ):
        ChatTemplate(source).render(HELLO)


def test_a_run_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", -1.0)
    with pytest.raises(ValueError, match="the template takes more than -1 seconds"):
        ChatTemplate("{{ 'x' }}").render(HELLO)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n{{ 9 ** 9 }}", r"line 2: SecurityError: the operator \*\* is not there for int"),
        ("{{ '%9d' % 5 }}", "the operator % is not there for"),
        ("{{ '{:9}'.format(5) }}", "the method format is not there"),
        (
            "{% set ns = namespace(x=9) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
            "256 bits",
        ),
        ("{{ 'a'.center(99) }}", "'center' of 'Written' object is unsafe"),
        ("{{ messages[0].content.zfill(99) }}", "'zfill' of 'str' object is unsafe"),
        ("{{ (5).to_bytes(99, 'big') }}", "'to_bytes' of 'int' object is unsafe"),
        ("{{ messages.append(5) }}", "'append' of 'list' object is unsafe"),
        ("{{ messages[0].clear() }}", "'clear' of 'dict' object is unsafe"),
        ("{{ ''.__class__.mro() }}", "'__class__' of 'Written' object is unsafe"),
        ("{{ namespace.__init__ }}{{ namespace.mro() }}", "is unsafe"),
        ("{{ raise_exception.__globals__.x }}", "is unsafe"),
        ("{{ self.__init__.__globals__.x }}", "UndefinedError|is unsafe"),
        ("{{ 'a' | center(99) }}", "No filter named 'center'"),
        ("{{ lipsum(99) }}", "'lipsum' is undefined"),
        ("{{ [1] | tojson(indent=99) }}", "an indent from 0 to 16, found 99"),
        ("{{ [namespace()] }}", "a namespace must not stand in a list"),
        ("{{ range(999999) }}", "Range too big"),
        ("{% include 'x' %}", "no loader"),
        ("{{ namespace(*messages) }}", r"cannot be compiled: line 1: calls with \* are not there"),
        ("{% autoescape true %}{% endautoescape %}", "cannot be compiled: line 1: autoescape is not there"),
        ("a\n{% if %}", "the chat template fails at line 2: Expected an expression"),
        ("a\n\n{{ 1 / 0 }}", "line 3: ZeroDivisionError"),
        ("{{ messages[9].content.x }}", "line 1: UndefinedError"),
        ("{{" + "[" * 5000 + "]" * 5000 + "}}", "cannot be compiled: maximum recursion"),
        ("{% for x in [1] %}" * 30 + "{% endfor %}" * 30, "cannot be compiled: too many"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        (
            "{{ raise_exception('Only one\nsystem message') }}",
            "line 1: TemplateError: Only one\nsystem message",
        ),
    ],
)
def test_what_is_not_there_is_an_error(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ChatTemplate(source).render(HELLO)
    assert "the chat template" in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ [1, 2.5, none, true] }}{{ {'a': (1,)} }}{{ 7 // 2 * 2 % 5 - 1 }}{{ 3 * 'ab' }}{{ [1] * 2 }}",
        "{{ ['b', 'A', 'c'] | sort }}{{ ['b', 'A'] | sort(reverse=true, case_sensitive=true) | join(', ') }}",
        "{{ messages | map(attribute='role') | unique | list }}{{ messages | join('/', attribute='role') }}",
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
        "{{ messages | last | items | list }}{{ messages[0] | dictsort }}",
        "{{ {'b': 1} | tojson(indent=2) }}{{ {'b': '<뷁>', 'a': 1} | tojson(sort_keys=true) }}",
        "{{ 'a-b-c'.replace('-', '+', 1) }}{{ 'a-b' | replace('-', '') }}",
        "{{ '  x ' | trim | upper | capitalize }}{{ 'ab' | safe }}{{ '5' | int + 1 }}",
        "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k ~ v }}{{ loop.last }}{{ loop.previtem }}{% endfor %}",
        "{% for x in [1, 2, 3, 4] if x % 2 %}{{ loop.index }}{{ loop.length }}{{ loop.cycle('a', 'b') }}"
        "{% if x == 3 %}{% break %}{% endif %}{% endfor %}",
        "{% for x in [[1, [2]], [3]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
        "{% for x in nothing %}{% else %}none{% endfor %}{{ nothing }}{{ nothing is defined }}{{ none }}",
        "{% macro f(x, y='d') %}<{{ x }}{{ y }}{{ caller() if caller }}>{% endmacro %}{{ f('q') }}"
        "{% call f(1) %}in{% endcall %}",
        "{% set x | upper %}  k {% endset %}{{ x }}{% filter trim %} abc {% endfilter %}{{ x | length }}",
        "  {% if true %}\n  kept\n  {%- endif %}\n{#- no -#}\n  {{- 'y' -}}  \n z\n\n",
        "{{ messages[0].content[::-1] }}{{ 'abc'[-1] }}{{ 'abc' | first }}",
        "{{ 'a,b'.split(',') }}{{ 'x y'.split() }}{{ messages[-1].content | wordcount }}",
        "{{ strftime_now('%Y') | length }}{{ [1, 2] | max }}{{ dict(a=1) }}{{ range(3) | list }}",
    ],
)
def test_what_is_there_does_what_it_does_elsewhere(source: str) -> None:
    peer = LOADED["chatml"][2]
    expected = peer.apply_chat_template(
        HELLO, chat_template=source, tokenize=False, add_generation_prompt=True
    )
    assert ChatTemplate(source).render(HELLO) == expected


# Bad input


def test_an_empty_conversation_and_strange_values_are_errors() -> None:
    template, _, _ = LOADED["chatml"]
    with pytest.raises(ValueError, match="at least one message, found none"):
        template.render([])
    with pytest.raises(ValueError, match="message 0 must be made of text, .* found <object"):
        template.render([{"role": "user", "content": object()}])
    with pytest.raises(ValueError, match="tools must be made of text, .* found <function"):
        template.render(HELLO, tools=[test_text_and_ids_are_the_peers])
    with pytest.raises(ValueError, match="line .*Roles must alternate"):
        LOADED["instructions"][0].render(HELLO[1:])


def test_a_template_by_name(tmp_path: Path) -> None:
    several = [{"name": "default", "template": "a"}, {"name": "rag", "template": "{{ bos_token }}"}]
    write(tmp_path, document_of(qwen), {"chat_template": several, "bos_token": {"content": "<b>"}})
    assert load_chat_template(tmp_path).render(HELLO) == "a"
    assert load_chat_template(tmp_path, "rag").render(HELLO) == "<b>"
    with pytest.raises(ValueError, match="no chat template is named 'tool_use'; there is 'default', 'rag'"):
        load_chat_template(tmp_path, "tool_use")
    (tmp_path / "chat_template.jinja").write_text("from its own file")
    assert load_chat_template(tmp_path).render(HELLO) == "from its own file"
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("t")
    assert load_chat_template(tmp_path, "tool_use").render(HELLO) == "t"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no chat template is named 'default'; there is none"),
        (
            lambda folder: (folder / "chat_template.jinja").write_text("\n{{ a"),
            "fails at line 2: unexpected end",
        ),
        (lambda folder: (folder / "chat_template.jinja").write_bytes(b"\xff"), r"jinja is not UTF-8"),
        (
            lambda folder: (folder / "chat_template.jinja").write_bytes(b"a" * (2**17 + 1)),
            r"jinja must have at most 131,072 bytes, found 131,073",
        ),
    ],
)
def test_what_is_no_template_is_an_error(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    make(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        load_chat_template(tmp_path)
    assert re.match(re.escape(str(tmp_path)), str(caught.value))
