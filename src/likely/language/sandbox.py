"""A Jinja environment for templates of strangers: no way out, no endless loop, no flood.

Jinja's own sandbox keeps a template away from Python's insides and from changing what it is given, but not from
computing for ever: two nested loops over range(100000), a macro that calls itself twice, a string joined to itself
forty times. Here everything a template does is paid for from a `Meter`:

    every turn of a loop, every call, every character written    one unit, or its size
    every value made by an operator, a literal, a filter         its size, everything inside it counted

A value may not be larger than the meter's `largest`; checked before it is made where an operation multiplies (repeat,
join, replace, indent, format, power). When the units or the processor seconds are spent the template is stopped. Since
no single operation handles more than `largest`, the clock is looked at often enough.

Jinja is told of all this by rewriting the parsed template, before it is compiled.
"""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from likely.registry import require

FILTERS = (
    "abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "e", "escape", "first",
    "float", "format", "groupby", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max",
    "min", "reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "slice", "sort",
    "string", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
)  # fmt: skip
METHODS: dict[type, tuple[str, ...]] = {
    str: (
        "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "index", "isalnum",
        "isalpha", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "ljust",
        "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust",
        "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
        "zfill",
    ),
    dict: ("copy", "get", "items", "keys", "values"),
    list: ("copy", "count", "index"),
    tuple: ("count", "index"),
    float: ("is_integer",),
    int: (), bytes: (), bytearray: (), set: (), frozenset: (), type: (),
}  # fmt: skip
WIDE = ("batch", "center", "expandtabs", "indent", "ljust", "rjust", "round", "slice", "truncate", "zfill")
SHALLOW = ("count", "d", "default", "first", "last", "length", "list")  # their cost is not that of what is inside
BITS = 4096  # of an integer


class Overrun(Exception):
    """A template that does too much. The text says of what."""


class Meter:
    """What one rendering may still do: `units` of work, values no larger than `largest`, processor `seconds`."""

    def __init__(self, units: int, largest: int, seconds: float) -> None:
        self.units, self.largest, self.end = units, largest, time.thread_time() + seconds

    def charge(self, units: int) -> None:
        """Pay. Raises Overrun when nothing is left."""
        self.units -= units
        if self.units < 0:
            raise Overrun("it does not end, or writes too much")
        if time.thread_time() > self.end:
            raise Overrun("it takes too long")

    def fits(self, size: int) -> None:
        """Raises Overrun where a value would be too large."""
        if size > self.largest:
            raise Overrun(f"it makes a value of over {self.largest} characters")

    def weigh(self, value: Any) -> Any:
        """Pay for a value, all inside it counted, as often as it stands there; gives it back."""
        self.charge(self.size(value))
        return value

    def size(self, value: Any) -> int:
        """Characters and elements of a value. Raises Overrun as soon as they are too many."""
        if isinstance(value, str):
            self.fits(len(value))
            return len(value) + 1
        total, stack = 0, [value]
        while stack:
            item = stack.pop()
            total += len(item) + 1 if isinstance(item, str) else 1
            if isinstance(item, Mapping):
                stack += [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple | set | frozenset):
                stack += item
            elif type(item).__name__ == "Namespace":
                stack += item._Namespace__attrs.values()
            self.fits(total + len(stack))
        return total


_active = threading.local()


def metered(meter: Meter, work: Callable[[], Any]) -> Any:
    """What `work` gives, paid for by a meter."""
    before = getattr(_active, "meter", None)
    _active.meter = meter
    try:
        return work()
    finally:
        _active.meter = before


def _meter() -> Meter:
    meter: Meter = _active.meter
    return meter


def _width(args: Iterable[Any]) -> int:
    sizes = [len(arg) if isinstance(arg, str) else abs(arg) for arg in args if isinstance(arg, int | str)]
    return max(sizes, default=0)


def _format(meter: Meter, pattern: str, args: Any) -> None:
    """Refuse patterns that ask for wide fields, or that repeat a large argument."""
    if re.search(r"\d{4}|[*]", pattern):
        raise Overrun("it formats with wide fields")
    sizes = [meter.size(args), *[abs(arg) for arg in args if isinstance(arg, int)]]
    meter.fits(len(pattern) + (pattern.count("%") + pattern.count("{")) * max(sizes))


def _before(name: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Check what a filter or a method called `name` would make of a value, before it does."""
    meter, rest = _meter(), (*args, *kwargs.values())
    meter.charge(1 if name in SHALLOW else meter.size(value) + meter.size(rest))
    text = value if isinstance(value, str) else ""
    if name in WIDE:
        meter.fits((text.count("\n") + text.count("\t") + 1) * _width(rest))
    elif name == "replace" and len(rest) >= 2:
        meter.fits(len(str(value)) + str(value).count(str(rest[0])) * len(str(rest[1])))
    elif name == "format":
        _format(meter, str(value), rest)


def _join(meter: Meter, items: Any, between: Any) -> list[Any]:
    """The items of a join, if their text fits."""
    found = list(items)
    meter.fits(meter.size(found) + len(found) * len(str(between)))
    return found


def _filter(name: str, function: Any) -> Any:
    """A filter that is paid for. It keeps the mark that says whether it wants Jinja's context."""
    skip = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def paid(*args: Any, **kwargs: Any) -> Any:
        value, rest = args[skip], args[skip + 1 :]
        if name == "join":
            value = _join(_meter(), value, rest[0] if rest else kwargs.get("d", ""))
        _before(name, value, rest, kwargs)
        found = function(*args[:skip], value, *rest, **kwargs)
        return found if name in SHALLOW and name != "list" else _meter().weigh(found)

    return paid


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None,
            sort_keys: bool = False) -> str:  # fmt: skip
    """JSON as chat templates mean it: not escaped for HTML."""
    meter = _meter()
    meter.charge(meter.size(value))
    meter.fits(_width([indent or 0]))
    coder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    parts, size = [], 0
    for part in coder.iterencode(value):
        size += len(part)
        meter.fits(size)
        parts.append(part)
    meter.charge(size)
    return "".join(parts)


def _operate(operator: str, left: Any, right: Any) -> None:
    """Check what an operator would make."""
    meter = _meter()
    meter.charge(1)
    if operator == "+" and isinstance(left, str | list | tuple):
        meter.fits(meter.size(left) + meter.size(right))
    elif operator == "%" and isinstance(left, str):
        _format(meter, left, right if isinstance(right, tuple) else (right,))
    elif operator in ("*", "**"):
        for many, times in ((left, right), (right, left)):
            if isinstance(many, str | list | tuple) and isinstance(times, int):
                meter.fits(meter.size(many) * max(times, 0))
        if isinstance(left, int) and isinstance(right, int):
            by = abs(right) if operator == "**" else 1
            if by > BITS or left.bit_length() * by + right.bit_length() > BITS:
                raise Overrun("it computes with numbers that are too large")


def _call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Check a call that a template makes; the arguments to make it with. Raises TypeError for methods out of bounds."""
    meter = _meter()
    meter.charge(1)
    bound = getattr(function, "__wrapped__", function)  # Jinja wraps str.format
    owner, name = getattr(bound, "__self__", None), getattr(bound, "__name__", "")
    for kind, names in METHODS.items():
        if isinstance(owner, kind):
            if name not in names:
                raise TypeError(f"{kind.__name__}.{name} is not for templates")
            if name == "join" and args:
                args = (_join(meter, args[0], owner), *args[1:])
            given = {key: value for key, value in kwargs.items() if key not in ("_loop_vars", "_block_vars")}
            _before(name, owner, args, given)
            break
    return args


def _rewriter() -> Any:
    """What puts the payments into a parsed template."""
    nodes, visitor = require("jinja2.nodes", "chat templates"), require("jinja2.visitor", "chat templates")

    def paid(name: str, args: list[Any], line: int) -> Any:
        """The call of a method of the environment, in a template's tree."""
        return nodes.Call(nodes.EnvironmentAttribute(name), args, [], None, None, lineno=line)

    class Rewriter(visitor.NodeTransformer):  # type: ignore[misc, name-defined]
        """The names of the methods are Jinja's."""

        def visit_For(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            node.body.insert(0, nodes.ExprStmt(paid("step", [nodes.Const(1)], node.lineno), lineno=node.lineno))
            if node.test is not None:
                node.test = paid("weigh", [node.test], node.lineno)
            return node

        def visit_Output(self, node: Any) -> Any:  # noqa: N802
            size = sum(len(part.data) for part in node.nodes if isinstance(part, nodes.TemplateData))
            self.generic_visit(node)
            step = paid("step", [nodes.Const(size + 1)], node.lineno)
            return [nodes.ExprStmt(step, lineno=node.lineno), node]

        def visit_Concat(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            return paid("joined", node.nodes, node.lineno)

        def literal(self, node: Any) -> Any:
            self.generic_visit(node)
            plain = all(isinstance(part, nodes.Const) for part in node.items)
            return node if plain or getattr(node, "ctx", "load") != "load" else paid("weigh", [node], node.lineno)

        visit_List = visit_Tuple = visit_Dict = literal  # noqa: N815

    return Rewriter()


def _generation() -> Any:
    """{% generation %} marks what the assistant says; here it says the same without the marks."""

    class Generation(require("jinja2.ext", "chat templates").Extension):  # type: ignore[misc]
        """The names are Jinja's."""

        tags = frozenset(("generation",))

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def environment(functions: Mapping[str, Callable[..., Any]]) -> Any:
    """A jinja2.Environment in which a template may call these `functions` and nothing dangerous."""
    sandbox, rewriter = require("jinja2.sandbox", "chat templates"), _rewriter()

    class Bounded(sandbox.ImmutableSandboxedEnvironment):  # type: ignore[misc, name-defined]
        """Jinja's sandbox, with everything paid for."""

        intercepted_binops = frozenset(("+", "*", "**", "%"))

        def _parse(self, source: str, name: str | None, filename: str | None) -> Any:
            return rewriter.visit(super()._parse(source, name, filename))

        def step(self, units: int) -> None:
            _meter().charge(units)

        def weigh(self, value: Any) -> Any:
            return _meter().weigh(value)

        def joined(self, *parts: Any) -> str:
            return "".join(map(str, _join(_meter(), [_meter().weigh(part) for part in parts], "")))

        def getitem(self, obj: Any, argument: Any) -> Any:
            found = super().getitem(obj, argument)
            return _meter().weigh(found) if isinstance(argument, slice) else found

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _operate(operator, left, right)
            return _meter().weigh(super().call_binop(context, operator, left, right))

        def call(self, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(function, "__self__", None) is self:  # one of the payments above
                return function(*args)
            args = _call(function, args, kwargs)
            return _meter().weigh(super().call(context, function, *args, **kwargs))

    controls = require("jinja2.ext", "chat templates").loopcontrols
    made = Bounded(
        trim_blocks=True, lstrip_blocks=True, extensions=[controls, _generation()],
        finalize=lambda value: _meter().weigh(value), cache_size=0,
    )  # fmt: skip
    made.filters = {name: _filter(name, made.filters[name]) for name in FILTERS} | {"tojson": _tojson}
    made.globals = {name: made.globals[name] for name in ("range", "dict", "namespace", "cycler", "joiner")}
    made.globals.update(functions)
    return made
