"""Where chat templates run: Jinja's sandbox, with a budget, and with the template's own text marked.

A chat template is a program from a checkpoint. Jinja's sandbox keeps it from everything outside, but not
from running forever or from filling the memory. So a template pays for what it makes: for the characters of a
text, the entries of a list, each round of a loop and each call. And of Jinja there is what chat templates
use: no other files, no formatting, no powers, and the filters and methods that are named below.

Source: the Jinja documentation, "Sandbox", section "Security Considerations", which leaves these limits to
its users.
"""

import json
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import TemplateRuntimeError, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.filters import FILTERS, do_sort, make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from llmref.chat.written import Written, join

BUDGET = 2**26
"""Characters that one run may make, in all: ten times those of a conversation of a million tokens."""

STEP = 100
"""Characters that a round of a loop, a call or a filter counts as."""

PIECE = 10
"""Characters that a piece of a text counts as, beside its own."""

SECONDS = 10.0
"""How long one run may take."""

_FILTERS = (
    "abs capitalize count d default dictsort first float int items last length lower map max min reject "
    "rejectattr reverse select selectattr title trim unique upper wordcount"
)
_METHODS: dict[type, str] = {
    str: "capitalize count endswith find index isalnum isalpha isdecimal isdigit islower isnumeric isspace "
    "isupper join lower lstrip removeprefix removesuffix replace rfind rsplit rstrip split splitlines "
    "startswith strip title upper",
    dict: "get items keys values",
    list: "count index",
    tuple: "count index",
}


class Sandbox(ImmutableSandboxedEnvironment):
    """One run of one template."""

    intercepted_binops = frozenset(["+", "*", "%", "**"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=self.text,
            extensions=[_Generation, "jinja2.ext.loopcontrols"],
        )
        self.left = BUDGET
        self.deadline = time.monotonic() + SECONDS
        filters: dict[str, Callable[..., Any]] = {name: FILTERS[name] for name in _FILTERS.split()}
        filters |= {"join": self.join, "list": self.listed, "replace": self.replace, "safe": self.text}
        filters |= {"sort": self.sort, "string": self.text, "tojson": self.to_json}
        self.filters = {name: self._paid(function) for name, function in filters.items()}
        self.globals = {
            "dict": lambda *args, **entries: self.built(dict(*args, **entries)),
            "namespace": Namespace,
            "raise_exception": _raise_exception,
            "range": safe_range,
            "strftime_now": lambda form: datetime.now().strftime(form),
        }

    def compiled(self, source: str) -> Any:
        """The code of a template, in which it pays and its own text is marked."""
        tree = _Metered().visit(self.parse(source))
        tree.set_environment(self)
        return self.compile(tree)

    # What it costs

    def spend(self, characters: int) -> None:
        """Takes from the budget, and ends the run when nothing is left or the time is up."""
        self.left -= characters
        if self.left < 0:
            raise SecurityError(f"the template makes more than {BUDGET:,} characters, or loops forever")
        if time.monotonic() > self.deadline:
            raise SecurityError(f"the template takes more than {SECONDS:g} seconds")

    def step(self) -> bool:
        """One round of a loop, or one call of a macro."""
        self.spend(STEP)
        return True

    def made(self, value: Any) -> Any:
        """Pays for a value, but not for what it holds, which was there before."""
        self.spend(STEP + (len(value) if isinstance(value, str | list | tuple | dict) else 0))
        if isinstance(value, int) and value.bit_length() > 256:
            raise SecurityError("the template makes a number of more than 256 bits")
        return value

    def built(self, value: Any) -> Any:
        """Pays for a list or a dictionary with all that it holds: lists of lists of lists can be huge."""
        self.made(value)
        if isinstance(value, list | tuple | dict):
            for item in value.values() if isinstance(value, dict) else value:
                if isinstance(item, Namespace):
                    raise SecurityError("a namespace must not stand in a list")
                self.built(item)
        return value

    def _paid(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)  # with Jinja's mark of what else the function is given
        def paid(*args: Any, **kwargs: Any) -> Any:
            return self.made(function(*args, **kwargs))

        return paid

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        text = getattr(function, "__self__", None)
        if isinstance(text, str):
            name = function.__name__
            self.spend(len(text) * (PIECE if "split" in name else 1))
            if name == "join":
                return self.join(args[0], text)
            if name == "replace":
                return self.replace(text, *args, **{key: kwargs[key] for key in kwargs if key == "count"})
        return self.made(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise SecurityError(f"the operator {operator} is not there for {type(left).__name__}")
        if operator == "*" and not isinstance(left, float) and not isinstance(right, float):
            many, times = (right, left) if isinstance(left, int) else (left, right)
            self.spend(max(0, times) * len(many) if hasattr(many, "__len__") else 0)
        return self.made(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kind, names in _METHODS.items():
            if isinstance(obj, kind):
                return attr in names.split()
        known = isinstance(obj, LoopContext | Macro | Namespace)
        return known and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        if getattr(value, "__name__", "") in ("format", "format_map"):
            raise SecurityError("the method format is not there")

    # What templates call, by other names

    def written(self, text: str) -> Written:
        """A text that stands in the template."""
        return Written(text)

    def text(self, value: Any) -> str:
        """A value as text."""
        return value if isinstance(value, str) else str(self.built(value))

    def joined(self, *values: Any) -> Written:
        """Values as one text."""
        return self.concat(map(self.text, values))

    def concat(self, parts: Iterable[str]) -> Written:
        """What a template or a macro has put out, as one text; Jinja calls it."""
        return join("", (self.made(part) for part in parts))

    def join(self, values: Iterable[Any], separator: str = "", attribute: str | None = None) -> Written:
        """Values as one text, with a text between each and the next."""
        values = values if attribute is None else map(make_attrgetter(self, attribute), values)
        parts = [self.text(value) for value in self.listed(values)]
        self.spend(len(separator) * len(parts))
        return join(separator, parts)

    def listed(self, values: Iterable[Any]) -> list[Any]:
        """Values as a list."""
        items = []
        for value in values:
            self.spend(PIECE)
            items.append(value)
        return items

    def sort(self, values: Iterable[Any], *how: Any, **more: Any) -> list[Any]:
        """Values in order."""
        return do_sort(self, self.listed(values), *how, **more)

    def replace(self, text: Any, old: str, new: str, count: int | None = None) -> str:
        """A text with another in the place of a third."""
        text = self.text(text)
        self.spend(len(text) + text.count(old) * (len(new) + PIECE))
        return text.replace(old, new, -1 if count is None else count)

    def to_json(
        self, value: Any, ensure_ascii: bool = False, indent: int | None = None, **others: Any
    ) -> str:
        """A value as JSON, which is not made safe for HTML."""
        if indent is not None and not 0 <= indent <= 16:
            raise SecurityError(f"the filter tojson takes an indent from 0 to 16, found {indent}")
        return json.dumps(self.built(value), ensure_ascii=ensure_ascii, indent=indent, **others)


class _Generation(Extension):
    """`{% generation %}` … `{% endgeneration %}`, around what the model writes: of use in training only."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Metered(NodeTransformer):
    """Puts calls of the sandbox where a template makes something, goes round, or has text of its own."""

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:
        return _call("written", node, nodes.Const(node.data))

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        return _call("written", node, node) if isinstance(node.value, str) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call("joined", node, *node.nodes)

    def visit_List(self, node: nodes.Node) -> nodes.Node:
        return _call("built", node, self.generic_visit(node))

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        return self.visit_List(node) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _call("made", node, node) if isinstance(node.arg, nodes.Slice) else node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _call("listed", node, node.iter)
        if node.test is not None:
            node.test = nodes.And(_call("step", node), node.test, lineno=node.lineno)
        return self._with_step(node)

    def visit_Macro(self, node: nodes.Macro | nodes.CallBlock) -> nodes.Node:
        return self._with_step(self.generic_visit(node))

    visit_CallBlock = visit_Macro

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateRuntimeError(f"line {node.lineno}: calls with * are not there")
        return self.generic_visit(node)

    def visit_ScopedEvalContextModifier(self, node: nodes.Node) -> nodes.Node:
        raise TemplateRuntimeError(f"line {node.lineno}: autoescape is not there")

    def _with_step(self, node: Any) -> nodes.Node:
        node.body.insert(0, nodes.ExprStmt(_call("step", node), lineno=node.lineno))
        return node


def _call(name: str, node: nodes.Node, *args: nodes.Node) -> nodes.Call:
    called = nodes.EnvironmentAttribute(name, lineno=node.lineno)
    return nodes.Call(called, list(args), [], None, None, lineno=node.lineno)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)
