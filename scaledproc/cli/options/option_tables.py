"""Tables of all options for the documents, in Markdown, made of what is declared.

`scaledproc.cli.options.option_tables.all_tables()` has one for each command that has options of its own and one for
each backend with settings, by a name that a page can ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from scaledproc._util.options import Declared, declared
from scaledproc.backend.settings import declared_settings
from scaledproc.engine.options import RUN_FLAGS, FetchOptions, PlanOptions, RunOptions

OPTIONS = ("Flag", "Python", "Default", "What it does")
SETTINGS = ("Flag", "Key", "Default", "What it does")
NO_FLAG = "in Python only"


def all_tables() -> dict[str, str]:
    """Each table by its name: `run`, `plan`, `fetch`, and the backends' names with settings."""
    commands = {"run": RunOptions, "plan": PlanOptions, "fetch": FetchOptions}
    tables = {name: options_table(declared(options)) for name, options in commands.items()}
    return tables | {name: settings_table(name, found) for name, found in declared_settings().items()}


def options_table(options: Iterable[Declared]) -> str:
    """A table of options of commands and of Python's functions."""
    rows = [(_flag(each, each.flag), f"`{each.name}`", _default(each), _help(each)) for each in options]
    return markdown_table(OPTIONS, rows)


def settings_table(backend: str, settings: Iterable[Declared]) -> str:
    """A table of a backend's settings; each has the flag `--BACKEND-NAME` besides, which no other can have."""
    rows = [
        (_flag(each, each.flag_of(backend, RUN_FLAGS)), f"`{each.name}`", _default(each), _help(each))
        for each in settings
    ]
    return markdown_table(SETTINGS, rows)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; a cell's own bars are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _flag(each: Declared, flag: str) -> str:
    if not flag:
        return NO_FLAG
    value = {"flag": "", "integer": " N", "number": " X"}.get(each.kind, " TEXT")
    metavar = each.about.get("metavar")
    word = "" if each.kind == "flag" else f" {metavar}" if metavar else value
    return f"`{flag}{word}`"


def _default(each: Declared) -> str:
    text = each.default_text
    nothing = "off" if each.kind == "flag" else "none"
    shown = f"`{text}`" if text and not each.about.get("default_text") else text or nothing
    unit = each.about.get("unit")
    is_number = text.replace(".", "", 1).isdigit()
    shown += f" {unit}" if unit and is_number else ""
    python = each.about.get("python_default_text")
    return f"{shown}; in Python: {python}" if python else shown


def _help(each: Declared) -> str:
    """What an option does; what is to be typed is code, since Markdown would take a glob's stars for emphasis."""
    return as_markdown(f"{each.help} {each.about.get('details', '')}".strip())


def as_markdown(text: str) -> str:
    """A help text, of Rich's markup: what is bold on a terminal is something to type, as flags and globs are."""
    parts = re.sub(r"\[(?:bold|dim)\](.*?)\[/\]", r"`\1`", text).split("`")
    for place in range(0, len(parts), 2):  # the others are code already
        marked = re.sub(r"'([^' ]*\*[^' ]*)'", r"`'\1'`", parts[place])
        parts[place] = re.sub(r"(?<![\w-])--[a-z][a-z-]*", r"`\g<0>`", marked)
    return re.sub(r"(?<!\n)\n(?!\n)", " ", "`".join(parts))
