"""Write the reference pages from the code: commands, settings, Python API, columns, run folder, events, modules.

`docs/build.py` calls it before Sphinx. The pages are not kept in the repository, so they cannot differ from the code.
No network is used: the run folder's page shows a run on the demo dataset that is made for it.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DO_NOT_EDIT = "<!-- Made by docs/generate.py from the code: edit that. -->"


def write_pages(folder: Path) -> None:
    """Write all pages into a folder, which holds nothing else."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        old.unlink()
    with tempfile.TemporaryDirectory() as made:
        lines = run_demo(Path(made))
        pages = {
            "cli": cli_page(),
            "python": python_page(),
            "columns": columns_page(),
            "run-folder": run_folder_page(Path(made) / "features"),
            "events": events_page(lines),
            "modules": modules_page(),
        }
        pages |= {f"_settings_{name}": table for name, table in tables_of_settings().items()}
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(f"{DO_NOT_EDIT}\n\n{text.strip()}\n", encoding="utf-8")


# Commands


def cli_page() -> str:
    """Each command with its arguments and options."""
    import typer

    from scaledproc.cli.main import app

    root = typer.main.get_command(app)
    plugged = importlib.metadata.entry_points(group="scaledproc.commands")
    found = dict(root.commands)  # type: ignore[attr-defined]
    parts = [
        "# Commands",
        (
            "`scaledproc INPUT OUTPUT` is short for `scaledproc run INPUT OUTPUT`. `scaledproc COMMAND --help` shows "
            "the same as this page."
        ),
        *(_command(f"scaledproc {name}", command) for name, command in found.items()),
    ]
    for point in sorted(plugged, key=lambda each: each.name):
        group = typer.main.get_command(point.load())
        parts.append(_command(f"scaledproc {point.name}", group, nested=True))
    for name, table in tables_of_settings().items():
        about = f"Each also has a flag that begins with the backend, such as `--{name}-…`, which no other can have."
        parts += [f"## Settings of the backend `{name}`", about, table]
    return "\n\n".join(parts)


def _command(name: str, command: Any, *, nested: bool = False) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    options = [each for each in shown if each.param_type_name == "option" and each.name != "help"]
    parts = [f"## `{name}`", _plain(inspect.cleandoc(command.help or ""))]
    words = " ".join(each.metavar or each.name.upper() for each in arguments)
    if nested:
        parts += [_command(f"{name} {each}", one).replace("## ", "### ", 1) for each, one in command.commands.items()]
        return "\n\n".join(parts)
    parts.append(f"```text\n{name} {words} [OPTIONS]\n```".replace("  ", " "))
    if arguments:
        parts.append(_table(("argument", "meaning"), [(f"`{a.metavar}`", _plain(a.help or "")) for a in arguments]))
    linked = []
    if table := _declared_options(name):
        parts.append(table)
        told = set(re.findall(r"`(--[a-z-]+)", table))
        linked = sorted({_panel(each).split()[-1] for each in options if _panel(each)})
        options = [each for each in options if not told & set(each.opts) and not _panel(each)]
    panels: dict[str, list[Any]] = {}
    for each in options:
        panels.setdefault(_panel(each), []).append(each)
    for panel, group in panels.items():
        if panel:
            parts.append(f"**{panel}**")
        parts.append(_table(("option", "default", "meaning"), [_option(each) for each in group]))
    if linked:
        links = [f"[`{each}`](#settings-of-the-backend-{each})" for each in linked]
        parts.append(f"Settings of backends: {', '.join(links)}.")
    return "\n\n".join(part for part in parts if part)


def _declared_options(command: str) -> str:
    """The table of the options that a command shares with a function of Python, if it does."""
    from scaledproc.cli.options.option_tables import all_tables

    return all_tables().get(command.removeprefix("scaledproc "), "") if command.count(" ") == 1 else ""


def _panel(option: Any) -> str:
    return getattr(option, "rich_help_panel", None) or ""


def _option(option: Any) -> tuple[str, str, str]:
    names = " ".join(f"`{each}`" for each in (*option.opts, *option.secondary_opts))
    help_text, _, told = (option.help or "").partition("[dim]Default: ")
    kind = option.type_descriptor.annotation
    value = "" if kind is bool else f" {option.metavar or {int: 'N', float: 'N', Path: 'PATH'}.get(kind, 'TEXT')}"
    default = told.removesuffix("[/]").removesuffix(".")
    if not default and isinstance(option.show_default, str):
        default = option.show_default
    if (
        not default
        and option.default not in (None, "", (), [])
        and option.default is not False
        and not callable(option.default)
    ):
        default = str(option.default)
    shown = f"{names[:-1]}{value}`"
    return shown, _code_or_words(default), _plain(help_text.strip())


def _code_or_words(text: str) -> str:
    return f"`{text}`" if re.fullmatch(r"\S+", text) else _plain(text)


def _plain(text: str) -> str:
    from scaledproc.cli.options.option_tables import as_markdown

    return as_markdown(text)


def tables_of_settings() -> dict[str, str]:
    """For each backend that has settings, their table: as flags, and as keys of scaledproc.toml."""
    from scaledproc.backend.settings import declared_settings
    from scaledproc.cli.options.option_tables import all_tables

    tables = all_tables()
    return {name: tables[name] for name in declared_settings()}


# Python


def python_page() -> str:
    """What `scaledproc.__all__` promises, from docstrings; then the modules that plug-ins build on."""
    import scaledproc

    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": []}
    for name in scaledproc.__all__:
        value = getattr(scaledproc, name)
        is_error = isinstance(value, type) and issubclass(value, BaseException)
        kinds["Errors" if is_error else "Classes" if isinstance(value, type) else "Functions"].append(name)
    parts = [
        "# Python API",
        "These names are promised; everything else may change.\n\n```python\nimport scaledproc\n```",
    ]
    for title, names in kinds.items():
        parts.append(f"## {title}")
        parts += [_autodoc(_directive(title), f"scaledproc.{name}", title) for name in names]
    return "\n\n".join(
        [*parts, *_plugin_names(), "## `scaledproc.testing`", _autodoc("automodule", "scaledproc.testing", "")]
    )


def _plugin_names() -> list[str]:
    """What `scaledproc.plugins` promises: each name described once, here, above, or on the page of events."""
    import scaledproc
    from scaledproc import events, plugins

    above = [name for name in plugins.__all__ if name in scaledproc.__all__ and name != "combine"]
    told = [name for name in plugins.__all__ if name not in above and hasattr(events, name)]
    parts = [
        "## `scaledproc.plugins`",
        (inspect.getdoc(plugins) or ""),
        (
            f"Described above: {', '.join(f'`{name}`' for name in above)}. "
            f"In [Events](events.md): {', '.join(f'`{name}`' for name in told)}."
        ),
    ]
    for name in plugins.__all__:
        if name not in (*above, *told):
            title = "Classes" if isinstance(getattr(plugins, name), type) else "Functions"
            parts.append(_autodoc(_directive(title), f"scaledproc.plugins.{name}", title))
    return parts


def _directive(title: str) -> str:
    return {"Functions": "autofunction", "Errors": "autoexception"}.get(title, "autoclass")


def _autodoc(directive: str, name: str, title: str) -> str:
    options = "" if title == "Functions" else "\n   :members:"
    return f"```{{eval-rst}}\n.. {directive}:: {name}{options}\n```"


# Columns


def columns_page() -> str:
    """The columns of the built-in extractors: types from their schemas, meanings from their docstrings.

    Raises
    ------
    ValueError
        If schema and docstring of one do not name the same columns in the same order.
    """
    from scaledproc.extractors.plain.files import files
    from scaledproc.extractors.plain.table import table
    from scaledproc.extractors.wfdb.summary import WfdbSummary
    from scaledproc.extractors.wfdb.windows.beats_table import SCHEMA, table_of_beats
    from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows

    guides = {
        "wfdb-summary": (
            "One row for each signal of each record or segment. [WFDB records](../guides/wfdb.md) tells how rows are "
            "made and joined."
        ),
        "wfdb-windows": inspect.cleandoc(
            (inspect.getdoc(WfdbWindows) or "").partition("\n\n")[2].partition("\nParameters\n")[0]
        ),
        "table": "One row for each column of each table. [Tables and other files](../guides/tables.md) has an example.",
        "files": "One row for each file. [Tables and other files](../guides/tables.md#files) has an example.",
    }
    parts = ["# Columns of the built-in extractors"]
    for name, made, documented in (
        ("wfdb-summary", WfdbSummary(), WfdbSummary),
        ("wfdb-windows", WfdbWindows(), WfdbWindows),
        ("table", table, table.function),
        ("files", files, files.function),
    ):
        parts += [f"## `{name}`", guides[name], *_columns(made, documented)]
        if name == "wfdb-windows":
            told = "With the option `beats_table` there is a further table, a row for each beat."
            parts += ["### The table `beats`", told, *_described(SCHEMA, table_of_beats)]
    return "\n\n".join(parts)


def _columns(made: Any, documented: Any) -> list[str]:
    """The columns of an extractor, by the docstring of its class or function."""
    return _described(made.finish(made.schema.empty_table()).schema, documented)


def _described(schema: Any, documented: Any) -> list[str]:
    """The columns of a schema, by the docstring of a class or function."""
    from scaledproc.extractors.described import column_entries

    described = column_entries(inspect.getdoc(documented) or "")
    names = [name for group, _ in described for name in group]
    if names != schema.names:
        raise ValueError(f"the docstring of {documented.__name__} describes {names}, the schema has {schema.names}")
    rows = []
    for group, meaning in described:
        types = list(dict.fromkeys(_type_name(schema.field(name).type) for name in group))
        rows.append((", ".join(f"`{name}`" for name in group), ", ".join(f"`{each}`" for each in types), meaning))
    never = [f"`{field.name}`" for field in schema if not field.nullable]
    return [_table(("column", "type", "meaning"), rows), *([f"Never null: {', '.join(never)}."] if never else [])]


def _type_name(kind: Any) -> str:
    """What an extractor's schema calls a type."""
    return {"double": "float64", "float": "float32", "date32[day]": "date32"}.get(str(kind), str(kind))


# A run's folder


def run_demo(folder: Path) -> list[str]:
    """Run the demo in a folder; what the command told as JSON."""
    from scaledproc.demo import write_demo

    write_demo(folder / "dataset")
    words = [sys.executable, "-m", "scaledproc", "run", "--json", "--jobs", "1", "dataset", "features"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.replace(str(folder), "/home/ada").splitlines()


def run_folder_page(folder: Path) -> str:
    """The files of a run: the layout from the module's docstring, the columns from a run on the demo dataset."""
    import pyarrow.parquet as pq

    from scaledproc.run_folder import names
    from scaledproc.run_folder.record import RunRecord

    layout = (inspect.getdoc(names) or "").partition("::\n")[2]
    parts = [
        "# A run's folder",
        f"```text\n{inspect.cleandoc(layout)}\n```",
        (
            "[The commit protocol](../design/commit-protocol.md) tells in which order they appear. The columns and "
            "values below are those of a run on the demo dataset."
        ),
        "## `run.json`",
        _table(("key", "meaning"), _parameters(RunRecord)),
    ]
    for name in ("plan.parquet", "inventory.parquet", "tasks.parquet", "errors.parquet"):
        table = pq.read_table(folder / name)
        rows = [
            (f"`{field.name}`", f"`{field.type}`", f"`{table[field.name][0].as_py()}`" if table.num_rows else "")
            for field in table.schema
        ]
        parts += [f"## `{name}`", _table(("column", "type", "first value"), rows)]
    summaries = sorted(path.name for path in folder.glob("*.csv"))
    for name in summaries:
        head = (folder / name).read_text(encoding="utf-8").splitlines()[:4]
        parts += [f"## `{name}`", "\n".join(["```text", *head, "…", "```"])]
    return "\n\n".join(parts)


def _parameters(documented: type) -> list[tuple[str, str]]:
    """The entries below *Parameters* in a class's numpydoc docstring."""
    text = (inspect.getdoc(documented) or "").split("Parameters\n----------\n", 1)[1]
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("    "):
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}".strip())
        elif line.strip():
            found.append((", ".join(f"`{name.strip()}`" for name in line.split(",")), ""))
    return found


# Events


def events_page(lines: Sequence[str]) -> str:
    """Events as classes, and as the lines that `--json` prints."""
    first: dict[str, str] = {}
    for line in lines:
        first.setdefault(json.loads(line)["event"], line)
    shown = "\n".join(first.values())
    return "\n\n".join(
        [
            "# Events",
            (
                "`run(..., on_event=function)` calls the function with each event as it happens; on the command line "
                "`--json` prints each as one line. Of a run on the demo dataset, the first of each kind:"
            ),
            f"```text\n{shown}\n```",
            (
                "```{eval-rst}\n.. automodule:: scaledproc.events\n   :members:\n   :inherited-members: object\n"
                "   :exclude-members: SHOWN_FAILURES\n```"
            ),
        ]
    )


# Modules


def modules_page() -> str:
    """Each folder and each module with the first sentence of its docstring."""
    parts = [
        "# Modules",
        (
            "What each module is for, by folder, as its docstring says. Imports point down only: the contracts are in "
            "`pyproject.toml`, and `.ci/run` checks them. `backends/` is imported as `scaledproc.backends`."
        ),
    ]
    for title, files in _folders():
        rows = [(f"`{path.stem}`", _summary(path)) for path in files if path.name != "__init__.py"]
        about = next((_summary(path) for path in files if path.name == "__init__.py"), "")
        parts += [f"## `{title}`", about, _table(("module", "what it is for"), rows) if rows else ""]
    return "\n\n".join(part for part in parts if part)


def _folders() -> Iterator[tuple[str, list[Path]]]:
    for top in ("scaledproc", "backends"):
        for folder in sorted({path.parent for path in (ROOT / top).rglob("*.py")}):
            if "__pycache__" not in folder.parts:
                yield f"{folder.relative_to(ROOT).as_posix()}/", sorted(folder.glob("*.py"))


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    write_pages(Path(__file__).resolve().parent / "reference")
