"""Extractors for a person, or as JSON for a program: what they begin tasks at, their options, their columns."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import clean_text
from scaledproc.errors import UsageError
from scaledproc.extractors import Extractor, FunctionExtractor
from scaledproc.extractors.options import (
    KINDS,
    NEEDED,
    ExtractorOption,
    label_of,
    make_extractor,
    options_of,
    parameters_without_option,
    parse_options,
)
from scaledproc.extractors.registry import find_extractor, names
from scaledproc.extractors.tables import tables_of

if TYPE_CHECKING:
    import pyarrow as pa


WIDTH = 120
"""Columns, where there is no terminal."""
NARROWEST = 60


def extractor_json(spec: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What an extractor is, as JSON's types; without its columns where it needs options that are not given.

    Parameters
    ----------
    spec
        Its specification.
    given
        Options, on which its columns may depend.

    Raises
    ------
    UsageError
        If there is no such extractor, or it cannot have such options.
    """
    from scaledproc.execution.tables.finishing import finished_schema

    found = find_extractor(spec)
    values = parse_options(found, given or {})
    options = options_of(found)
    needed = [name for name, each in options.items() if each.default is NEEDED and name not in values]
    columns, tables = None, {}
    if not needed:
        made = make_extractor(found, values)
        columns = _columns(finished_schema(made))
        tables = {name: _columns(schema) for name, schema in tables_of(made).items()}
    return {
        "name": spec,
        "label": label_of(found),
        "about": _about(found),
        "unit": found.unit,
        "anchors": list(found.anchors),
        "reads": list(found.reads),
        "env": list(found.env),
        "options": [_option(each) for each in options.values()],
        "without_option": parameters_without_option(found),
        "needs": needed,
        "columns": columns,
        **({"tables": tables} if tables else {}),
    }


def extractor_text(about: Mapping[str, Any], width: int = WIDTH) -> str:
    """One extractor for a person, in lines of a terminal."""
    lines = [about["name"]]
    if about["about"]:
        lines += _wrapped(about["about"], width)
    lines += ["", f"unit: {about['unit']}", f"anchors: {'  '.join(about['anchors'])}"]
    lines += [f"{name}: {'  '.join(about[name])}" for name in ("reads", "env") if about[name]]
    lines += ["", "options, given with --set NAME=VALUE:" if about["options"] else "options: none"]
    lines += _option_lines(about["options"], width)
    if strange := about["without_option"]:
        lines += _wrapped(f"Cannot be set: {', '.join(strange)}. An option's annotation is {KINDS}.", width)
    columns = about["columns"]
    if columns is None:
        lines += ["", f"columns: shown when --set gives {', '.join(about['needs'])}"]
    else:
        lines += ["", f"columns of the table ({len(columns)}):", *_column_lines(columns)]
    for name, further in about.get("tables", {}).items():
        lines += ["", f"columns of the table {name} ({len(further)}):", *_column_lines(further)]
    return _clean(lines)


def all_json() -> list[dict[str, Any]]:
    """Every installed extractor with its options; one that cannot be imported with the reason."""
    found: list[dict[str, Any]] = []
    for name in names():
        try:
            extractor = find_extractor(name)
        except UsageError as error:
            found.append({"name": name, "about": "", "options": [], "error": str(error)})
        else:
            options = [_option(each) for each in options_of(extractor).values()]
            found.append({"name": name, "about": _about(extractor), "options": options, "error": None})
    return found


def all_text(width: int = WIDTH) -> str:
    """Every installed extractor for a person, in lines of a terminal."""
    lines = []
    for each in all_json():
        about = _wrapped(each["error"] or each["about"], width)
        lines += [each["name"], *about, *_option_lines(each["options"], width), ""]
    lines.append("scaledproc extractors NAME shows more;")
    lines.append("your own is package.module:name or path/to/file.py:name")
    return _clean(lines)


def _option(each: ExtractorOption) -> dict[str, Any]:
    return {
        "name": each.name,
        "type": each.type_text,
        "unit": each.about.unit,
        "metavar": each.placeholder,
        "default": None if each.default is NEEDED else each.default,
        "needed": each.default is NEEDED,
        "default_text": each.default_text,
        "help": each.about.help,
    }


def _columns(schema: pa.Schema) -> list[dict[str, Any]]:
    return [{"name": each.name, "type": str(each.type), "nullable": each.nullable} for each in schema]


def _column_lines(columns: list[dict[str, Any]]) -> list[str]:
    width = max((len(each["name"]) for each in columns), default=0)
    return [
        f"  {each['name']:<{width}}  {each['type']}{'' if each['nullable'] else ', never null'}" for each in columns
    ]


def _wrapped(text: str, width: int, indent: str = "  ") -> list[str]:
    return textwrap.wrap(
        text, max(width, NARROWEST), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _option_lines(options: list[dict[str, Any]], width: int) -> list[str]:
    words = [f"{each['name']}={each['metavar']}" for each in options]
    room = min(max(map(len, words), default=0), width // 3)
    lines = []
    for word, each in zip(words, options, strict=True):
        # No full stop behind a default, which would be typed with it.
        default = f"Default: {each['default_text']}"
        if each["needed"]:
            default = f"Must be given{f', in {unit}' if (unit := each['unit']) else ''}."
        elif each["unit"] and each["default_text"][-1:].isdigit():
            default += f" {each['unit']}"
        about = f"{each['help']} " if each["help"] else ""
        told = _wrapped(f"{about}{default}", width, " " * (room + 4))
        if len(word) > room:
            lines.append(f"  {word}")
        else:
            told[0] = f"  {word:<{room}}  {told[0].lstrip()}"
        lines += told
    return lines


def _about(found: type[Extractor] | Extractor) -> str:
    """The first sentence of its docstring."""
    documented: Any = found
    if isinstance(found, FunctionExtractor):
        documented = found.function
        while isinstance(documented, functools.partial):
            documented = documented.func
    text = inspect.getdoc(documented) or ""
    return " ".join(text.split("\n\n")[0].split())


def _clean(lines: list[str]) -> str:
    """Lines that cannot steer a terminal."""
    return "\n".join(clean_text(line) for line in lines)
