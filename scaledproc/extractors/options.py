"""Options of extractors: declared by a signature, given by a person, checked before anything starts.

A class declares them as parameters that it is made with, so as the fields of a dataclass; a decorated function as
its parameters behind the task. Each has an annotation and a default; one without a default must be given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import json
import math
import os
import re
import shlex
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union

from scaledproc._util.redaction import is_secret_option
from scaledproc._util.units import parse_number, parse_seconds, size_text
from scaledproc.errors import UsageError
from scaledproc.extractors.base import Extractor, FunctionExtractor

NEEDED = inspect.Parameter.empty
"""As a default: the option must be given."""
KINDS = "bool, int, float, str, Literal, a tuple or list of these, or one of them or None"
"""What an option's annotation can be."""
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_SHOWN = 200  # characters of a value in a message
_NUMBERS = {"bytes": "SIZE", "seconds": "SECONDS"}  # by their unit, what stands for numbers that take further units


@dataclass(frozen=True)
class Option:
    """What there is to say of an extractor's option besides its type and default; it stands within `Annotated`.

    Parameters
    ----------
    help
        What it does, in a sentence; where none is given, what the docstring says of the parameter.
    unit
        What a number counts, such as `seconds`. One of `bytes` can be given as `2GB` too, one of `seconds` as `5m`.
    metavar
        What stands for its value in a usage text, such as `FILE`.
    default_text
        What its default is called, such as `built-in` for None; it is shown in parentheses.
    read
        Makes the value of what a person gave, once, where the run is started: the content of a file, say, which then
        travels with the run. What it returns must be of the option's type.
    in_report
        Whether only a report depends on it: then `scaledproc report --set` can set it for one report.

    Examples
    --------
    >>> from typing import Annotated
    >>> import scaledproc
    >>> @scaledproc.extractor(schema={"mean": "float64"}, anchor="*.csv")
    ... def means(task, *, window: Annotated[int, scaledproc.Option("Length of a window.", unit="seconds")] = 60):
    ...     return {"mean": window / 2}

    `scaledproc run --extractor means.py:means --set window=30` sets it.
    """

    help: str = ""
    unit: str = ""
    metavar: str | None = None
    default_text: str = ""
    read: Callable[[Any], Any] | None = None
    in_report: bool = False


@dataclass(frozen=True)
class ExtractorOption:
    """An option as its extractor declares it.

    Parameters
    ----------
    name
        Of the parameter.
    kind
        Its type.
    default
        Its value where none is given; `NEEDED` where it must be.
    about
        What is said of it besides.
    """

    name: str
    kind: Any
    default: Any
    about: Option

    @property
    def type_text(self) -> str:
        """Its type, for a person."""
        return self.kind.__name__ if isinstance(self.kind, type) else str(self.kind).replace("typing.", "")

    @property
    def placeholder(self) -> str:
        """What stands for its value in a command, for a person."""
        return self.about.metavar or _placeholder(self.kind, _NUMBERS.get(self.about.unit))

    @property
    def default_text(self) -> str:
        """Its default for a person: as a shell takes it behind `--set NAME=`, or in parentheses where none does."""
        if self.default is NEEDED:
            return "must be given"
        if self.about.default_text:
            return f"({self.about.default_text})"
        text = _written(self.default, self.about.unit)
        if text is not None and self.about.read is None and text.isprintable():
            with contextlib.suppress(ValueError, TypeError, OverflowError):
                if _same(self.converted(text), self.default):
                    return shlex.quote(text)
        nothing = self.default in (None, (), [])
        return "(none)" if nothing else f"({json.dumps(_as_json(self.default), ensure_ascii=False)})"

    def converted(self, value: Any) -> Any:
        """Its value, of what a person wrote or what Python has.

        Raises
        ------
        ValueError, TypeError, OverflowError
            If the option cannot have that value.
        """
        return _convert(_in_units(_listed(value) if self.is_list else value, self), self.kind)

    @property
    def is_list(self) -> bool:
        """Whether it may have several values."""
        return any(typing.get_origin(each) in (tuple, list) for each in (self.kind, *typing.get_args(self.kind)))


def options_of(found: Any) -> dict[str, ExtractorOption]:
    """The options that an extractor declares, by name; those of an instance are set already.

    Parameters
    ----------
    found
        An extractor's class, or an extractor.
    """
    return {
        name: ExtractorOption(name, kind, _plain(default), about)
        for name, (kind, default, about) in _parameters(found).items()
        if _can_be_written(kind)
    }


def parameters_without_option(found: Any) -> list[str]:
    """The parameters that cannot be set, since their annotations are missing or none that a person can write.

    Parameters
    ----------
    found
        An extractor's class, or an extractor.
    """
    return [name for name, (kind, *_) in _parameters(found).items() if not _can_be_written(kind)]


def parse_options(found: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values, as JSON's types, of what a person gave: texts of the command line, or what Python or TOML has.

    Parameters
    ----------
    found
        An extractor's class, or an extractor.
    given
        Values by the options' names, which may have `-` for `_`.

    Raises
    ------
    UsageError
        If there is no such option, or it cannot have that value.
    """
    known, label = options_of(found), label_of(found)
    values = {}
    for word, value in given.items():
        name = word.replace("-", "_")
        if name not in known:
            raise UsageError(_unknown(found, name, known))
        option = known[name]
        if option.is_list:
            value = _listed(value)
        if option.about.read is not None and value is not None:
            try:
                value = option.about.read(value)
            except UsageError as error:
                raise UsageError(f"--set {name}: {error}") from None
            except (OSError, ValueError, TypeError) as error:
                reason = (isinstance(error, OSError) and error.strerror) or error
                raise UsageError(f"--set {name}={_told(name, value)}: {reason}") from None
        try:
            values[name] = _as_json(option.converted(value))
        except (ValueError, TypeError, OverflowError):
            raise UsageError(f"--set {name}={_told(name, value)}: {_taken_by(label, option, value)}") from None
    return values


def without_defaults(found: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not what an extractor has anyway, so that giving the default makes no other plan."""
    known = options_of(found)

    def is_default(name: str, value: Any) -> bool:
        return name in known and _same(known[name].default, value)

    return {
        name: value
        for name, value in values.items()
        if (name in known and known[name].default is NEEDED) or not is_default(name, value)
    }


def make_extractor(found: Any, options: Mapping[str, Any]) -> Extractor:
    """An extractor with these options.

    Parameters
    ----------
    found
        An extractor's class, or an extractor.
    options
        As `parse_options` has them.

    Raises
    ------
    UsageError
        If the extractor has no such option, needs one that is not given, or refuses a value.
    """
    known, label = options_of(found), label_of(found)
    for name in options:
        if name not in known:
            raise UsageError(_unknown(found, name, known))
    for name, option in known.items():
        if option.default is NEEDED and name not in options:
            raise UsageError(f"extractor {label!r} needs the option {name}: --set {name}=VALUE")
    if isinstance(found, FunctionExtractor):
        for name, (_, default, _) in _parameters(found).items():
            if default is NEEDED and name not in known:
                raise UsageError(
                    f"function {label!r} takes {name} besides the task, and nothing gives it: with an annotation, such "
                    f"as {name}: int, --set {name}=VALUE does; or give it a default"
                )
    try:
        values = {name: _convert(value, known[name].kind) for name, value in options.items()}
        if isinstance(found, FunctionExtractor):
            return found.with_arguments(**values) if values else found
        made: Extractor = found if isinstance(found, Extractor) else found(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"extractor {label!r} cannot be made with these options: {error}") from None
    _check_attributes(made)
    return made


def _check_attributes(made: Extractor) -> None:
    """See that a class has what each extractor has."""
    import pyarrow as pa

    called = type(made).__name__
    if not isinstance(getattr(made, "name", None), str):
        raise UsageError(f'class {called} has no name: write name = "{called.lower()}" in it')
    schema = getattr(made, "schema", None)
    if not isinstance(schema, pa.Schema):
        what = "has no schema" if schema is None else f"has a schema that is a {type(schema).__name__}"
        raise UsageError(f'class {called} {what}: write schema = pyarrow.schema([("column", "float64"), …]) in it')
    anchors: Any = made.anchors
    if isinstance(anchors, str):
        raise UsageError(f"class {called}: its anchors are a text: write anchors = ({anchors!r},) in it")


def label_of(found: Any) -> str:
    """What a person calls an extractor, or its class."""
    name = getattr(found, "name", None)
    if isinstance(found, Extractor) and name:
        return found.label
    return str(name or getattr(found, "__name__", type(found).__name__))


# What a signature declares


def _parameters(found: Any) -> dict[str, tuple[Any, Any, Option]]:
    """Type, default and the rest of each parameter that can be given by name; of a function, behind the task."""
    is_function = isinstance(found, FunctionExtractor)
    function = found.function if is_function else found
    if not is_function and not (isinstance(found, type) and issubclass(found, Extractor)):
        return {}
    try:
        parameters = _taken(function) if is_function else list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of what is not written in Python
        return {}
    if is_function and parameters and parameters[0].kind is not inspect.Parameter.KEYWORD_ONLY:
        del parameters[0]
    about = inspect.getdoc(_innermost(function)) or ""
    declared = {}
    for each in parameters:
        name = each.name
        if each.kind not in _BY_NAME or name.startswith("_"):
            continue
        default = _default_of(found, each)
        annotation = _annotation(function, each)
        kind, option = _taken_apart(annotation, default)
        if not option.help:
            option = dataclasses.replace(option, help=_from_docstring(about, name))
        declared[name] = kind, default, option
    return declared


def _taken(function: Any) -> list[inspect.Parameter]:
    """What a function can be called with: of one that wraps another (`functools.wraps`), what it takes or passes on.

    Raises
    ------
    TypeError, ValueError
        If the function is not written in Python.
    """
    inner = _innermost(function)
    if not hasattr(inner, "__wrapped__") and inspect.ismethod(getattr(inner, "__call__", None)):  # noqa: B004
        inner = inner.__call__
    if not hasattr(inner, "__wrapped__"):
        return list(inspect.signature(function).parameters.values())
    below = inner.__wrapped__
    if inspect.ismethod(inner):
        below = types.MethodType(below, inner.__self__)
    if isinstance(function, functools.partial):
        below = functools.partial(below, *function.args, **function.keywords)
    try:
        own = list(inspect.signature(function, follow_wrapped=False).parameters.values())
    except (TypeError, ValueError):  # of what is not written in Python, such as `functools.cache`
        return _taken(below)
    kinds = [each.kind for each in own]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        return own
    if kinds == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]:
        return _taken(below)
    named = {each.name for each in own}
    # What is passed on can be given; none must be, as the function that wraps may give it itself.
    more = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=None if each.default is NEEDED else each.default)
        for place, each in enumerate(_taken(below))
        if each.name not in named and (each.kind is _BY_NAME[1] or (place > 0 and each.kind is _BY_NAME[0]))
    ]
    return [*own, *more]


def _innermost(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _default_of(found: Any, parameter: inspect.Parameter) -> Any:
    if dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
                return field.default_factory()
    return parameter.default


def _plain(default: Any) -> Any:
    """A default as a type that can be written: NumPy's numbers and paths too; what is none of these as a text of it."""
    if default is NEEDED or default is None or isinstance(default, bool | int | float | str):
        return default
    if isinstance(default, tuple | list):
        return type(default)(map(_plain, default)) if type(default) in (tuple, list) else list(map(_plain, default))
    return default.item() if getattr(default, "ndim", None) == 0 else str(default)


def _annotation(function: Any, parameter: inspect.Parameter) -> Any:
    """An annotation, of its text where it is one; `NEEDED` where there is none, `object` where it cannot be read."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    for space in _spaces(function, parameter.name):
        holder = types.FunctionType((lambda: None).__code__, {})
        holder.__annotations__ = {parameter.name: parameter.annotation}
        try:
            return typing.get_type_hints(holder, space, include_extras=True)[parameter.name]
        except Exception:  # noqa: S112 - whatever evaluating a text raises: it is not one of the types that can be set
            continue
    return object


def _spaces(function: Any, name: str) -> list[dict[str, Any]]:
    """Where the names in an annotation are looked up: the modules of the class that has it, or of the function."""
    inner = _innermost(function)
    if isinstance(inner, type):
        owners = [each for each in inner.__mro__ if name in vars(each).get("__annotations__", {})]
        modules = [vars(sys.modules[each.__module__]) for each in owners if each.__module__ in sys.modules]
        return [*modules, getattr(vars(inner).get("__init__"), "__globals__", {})]
    inner = getattr(inner, "__func__", inner)
    if not any(hasattr(inner, each) for each in ("__globals__", "__wrapped__")):
        inner = getattr(type(inner).__call__, "__func__", type(inner).__call__)
    return [getattr(inspect.unwrap(inner), "__globals__", {})]


def _taken_apart(annotation: Any, default: Any) -> tuple[Any, Option]:
    """The type and what else an annotation says; without one the type of the default."""
    if annotation is NEEDED:
        return (type(default) if default is not NEEDED else None), Option()
    if typing.get_origin(annotation) is typing.Annotated:
        kind, *more = typing.get_args(annotation)
        option = next((each for each in more if isinstance(each, Option)), None)
        text = next((each for each in more if isinstance(each, str)), "")
        return kind, option or Option(text)
    return annotation, Option()


def _from_docstring(text: str, name: str) -> str:
    """What a docstring in numpydoc's layout says of a parameter."""
    match = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", text, re.MULTILINE | re.DOTALL)
    entry = re.search(
        rf"^(?:\w+, )*{re.escape(name)}\b[^\n]*\n((?:[ \t]+\S[^\n]*\n?)+)", match[1] if match else "", re.MULTILINE
    )
    return " ".join(entry[1].split()) if entry else ""


# Values


def _can_be_written(kind: Any) -> bool:
    """Whether a person can write a value of a type, and run.json hold it."""
    if kind in (bool, int, float, str):
        return True
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return all(isinstance(each, (bool, int, float, str)) for each in inner)
    if origin in (Union, types.UnionType):
        plain = [each for each in inner if each is not type(None)]
        return bool(plain) and all(map(_can_be_written, plain))
    if origin is list:
        return _can_be_written(inner[0])
    return origin is tuple and len(inner) == 2 and inner[1] is Ellipsis and _can_be_written(inner[0])


def _convert(value: Any, kind: Any) -> Any:
    """A value of a type, of what a person gave or run.json has.

    Raises
    ------
    ValueError, TypeError
        If the value cannot be converted to the type.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        for each in inner:
            if (type(each) is type(value) and each == value) or (isinstance(value, str) and str(each) == value):
                return each
        raise ValueError(value)
    if origin in (Union, types.UnionType):
        return _first(value, inner)
    if origin in (tuple, list):
        if isinstance(value, str) and inner[0] in (int, float):
            value = value.split(",")
        items = [value] if isinstance(value, str | os.PathLike) or not isinstance(value, list | tuple) else value
        return origin(_convert(each, inner[0]) for each in items)
    if kind is bool:
        return _truth(value)
    if kind is str:
        if not isinstance(value, str | os.PathLike):
            raise TypeError(value)
        return os.fspath(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(value)
    if kind is int:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return int(value)
    number = float(value)
    if not math.isfinite(number):  # which JSON has not
        raise ValueError(value)
    return number


def _listed(value: Any) -> Any:
    """The list that a text is, written as `scaledproc extractors` shows one; anything else as it is."""
    if isinstance(value, str) and value.startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def _in_units(value: Any, option: ExtractorOption) -> Any:
    """The number that a text with a unit is: `60 seconds`, or `5m`, of an option in seconds; anything else as it is."""
    unit = option.about.unit
    if not isinstance(value, str) or not unit or not {int, float} & {option.kind, *typing.get_args(option.kind)}:
        return value
    if match := re.fullmatch(rf"(.*\d)\s*{re.escape(unit)}", value):
        value = match[1]
    with contextlib.suppress(ValueError):
        float(value)
        return value
    with contextlib.suppress(UsageError):
        if unit == "bytes":
            kind, size = parse_number(value, "", "")
            return size if kind == "bytes" else value
        if unit == "seconds":
            return parse_seconds(value, "", least=0, most=math.inf)
    return value


def _written(value: Any, unit: str) -> str | None:
    """A default as a person writes it; None for an empty list."""
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        if not value:
            return None
        if len(value) == 1:
            return _written(value[0], unit)
        if all(isinstance(each, int | float) for each in value):
            return ",".join(str(_written(each, unit)) for each in value)
        return json.dumps(_as_json(value), ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and unit == "bytes":
        return size_text(value)
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _same(one: Any, other: Any) -> bool:
    return json.dumps(_as_json(one)) == json.dumps(_as_json(other))


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in _WORDS:
        raise ValueError(value)
    return _WORDS[value.lower()]


def _first(value: Any, kinds: tuple[Any, ...]) -> Any:
    """The value as the first of several types that has it: those that it is of already before all others."""
    plain = [kind for kind in kinds if kind is not type(None)]
    if type(None) in kinds and (value is None or (value == "none" and str not in plain)):
        return None
    exact = [kind for kind in plain if isinstance(kind, type) and type(value) is kind]
    # A text may be any of them: the narrower ones are tried first.
    ranks = {bool: 0, int: 1, float: 2, str: 4}
    for kind in [*(exact if not isinstance(value, str) else ()), *sorted(plain, key=lambda kind: ranks.get(kind, 3))]:
        try:
            return _convert(value, kind)
        except (ValueError, TypeError, OverflowError):
            continue
    raise ValueError(value)


def _told(name: str, value: Any) -> str:
    """A value, or several, as a message may have it."""
    if is_secret_option(name):
        return "***"
    return _short(", ".join(map(str, value)) if isinstance(value, tuple | list) else value)


def _taken_by(label: str, option: ExtractorOption, value: Any) -> str:
    """What an extractor takes for an option that cannot have a value."""
    text = f"{label} takes for {option.name} {_description(option.kind)}"
    if isinstance(value, tuple | list) and not option.is_list:
        return f"{text}, once"
    more = {"bytes": "a size such as 2GB", "seconds": "a time such as 90s, 5m or 1h"}.get(option.about.unit)
    return f"{text}, or {more}" if more and not option.is_list else text


def _as_json(value: Any) -> Any:
    return [_as_json(each) for each in value] if isinstance(value, tuple | list) else value


def _description(kind: Any) -> str:
    """What a person can give for a type."""
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if kind in plain:
        return plain[kind]
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(str, inner))
    if typing.get_origin(kind) in (tuple, list):
        return f"{_description(inner[0])}, or several"
    return " or ".join("none" if each is type(None) else _description(each) for each in inner)


def _placeholder(kind: Any, number: str | None) -> str:
    """What stands for a value of a type, and for numbers where they are not plain ones."""
    plain = {bool: "true|false", int: number or "WHOLE", float: number or "NUMBER", str: "TEXT", type(None): "none"}
    if kind in plain:
        return plain[kind]
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return "|".join(map(str, inner))
    if typing.get_origin(kind) in (tuple, list):
        return f"{_placeholder(inner[0], None)},…"
    return "|".join(_placeholder(each, number) for each in inner)


def _unknown(found: Any, name: str, known: Mapping[str, ExtractorOption]) -> str:
    label = label_of(found)
    strange = _parameters(found).get(name)
    if strange is not None:
        return f"option {name} of extractor {label!r} cannot be set: its annotation is none of {KINDS}"
    if isinstance(found, Extractor) and not isinstance(found, FunctionExtractor):
        return f"extractor {label!r} takes no option {name}, since it is made already: give its class"
    if not known:
        return f"extractor {label!r} takes no option {name}: it has none"
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    hint = f"is {close[0]!r} meant?" if close else f"it has: {', '.join(known)}"
    return f"extractor {label!r} takes no option {name}; {hint}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
