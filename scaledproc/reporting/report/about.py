"""The part of a report on what a run is: plan, versions, options, columns, how to open and to repeat it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from htpy import Node, dd, details, div, dl, dt, h4, p, summary

from scaledproc._util.text import bytes_text, count_text, cut_text
from scaledproc.reporting.report.again import again, python_text
from scaledproc.reporting.report.parts import block, command, grid, listed, part, said

if TYPE_CHECKING:
    from scaledproc.reporting.report.findings import Findings, Table


def about_part(found: Findings) -> Node:
    """The part."""
    return part(
        "run",
        "What it is",
        block("The run", _facts(_run_facts(found))),
        *(_columns(table) for table in found.tables),
        block("Open the table", *_openings(found)) if found.is_done else None,
        None if found.update_of else _again(found),
        block("Cite it", command(citation(found)), text="What a paper needs to name this table."),
        block("Versions", _facts([(name, said(each)) for name, each in found.versions.items()])),
        _fingerprint(found),
    )


def _again(found: Findings) -> Node:
    made = again(found)
    return block(
        "Make it again",
        command(made.command) if made.command else None,
        listed(said(each) for each in made.needs) if made.needs else None,
        [p["Python writes these files as run.json has them:"], command(made.content)] if made.content else None,
        text=made.text,
    )


def _facts(facts: list[tuple[str, Node]]) -> Node:
    return dl(class_="facts")[(div[dt[name], dd[value]] for name, value in facts)]


def _run_facts(found: Findings) -> list[tuple[str, Node]]:
    options = {**found.extractor.get("options", {})}
    times = found.timings
    files = f"{count_text(found.counts.get('files', 0), 'file')}, {bytes_text(found.bytes.get('input', 0))}"
    facts: list[tuple[str, Node]] = [
        ("Folder", said(found.output)),
        ("Plan", said(found.plan_id)),
        ("Dataset", said(found.dataset)),
        ("Files", files),
        ("Units, tasks", f"{found.counts.get('units', 0):,}, {found.counts.get('tasks', 0):,}"),
        ("Shards, chunks", f"{found.counts.get('shards', 0):,}, {found.counts.get('chunks', 0):,}"),
        ("Extractor", said(str(found.extractor.get("label", "")))),
        ("Its options", said(", ".join(f"{name}={_word(value)}" for name, value in options.items()) or "none given")),
        ("Backend", said(str(found.backend.get("name", "local")))),
        ("Begun", said(moment_text(times.get("started", "")))),
        ("Finished", said(moment_text(times.get("finished", "not yet")))),
    ]
    facts += [("Note", said(note)) for note in found.notes]
    if found.summaries:
        facts.append(("Summaries", said(", ".join(f"{name}.csv" for name in found.summaries))))
    return facts


def moment_text(value: Any) -> str:
    """A moment of run.json for a person."""
    return str(value).replace("T", " ").replace("+00:00", " UTC")


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _columns(table: Table) -> Node:
    heads, has_units = ["Column", "Type", "Units", "Description"], any(each.units for each in table.columns)
    rows: list[tuple[Node, ...]] = [
        (said(each.name), said(each.type), said(each.units), said(each.description, 600)) for each in table.columns
    ]
    if not has_units:
        heads.remove("Units")
        rows = [(name, kind, description) for name, kind, _, description in rows]
    shown = grid(f"Columns of {table.name}", heads, rows)
    return details(class_="block")[summary[f"Columns of {table.name} ({len(table.columns):,})"], shown]


def _openings(found: Findings) -> list[Node]:
    return [div[h4[name], command(text)] for name, text in openings(found).items()]


def openings(found: Findings) -> dict[str, str]:
    """How to open the table, by the tool."""
    is_folder = found.options.get("table") == "dataset"
    base = found.output.rstrip("/")
    where = f"{base}/{'features' if is_folder else 'features.parquet'}"
    quoted, opened = python_text(where), python_text(found.output)
    glob = f"{where}/*.parquet" if is_folder else where
    sql = glob.replace("'", "''")
    ways = {
        "Python": f"import scaledproc\n\nrun = scaledproc.Run.open({opened})\nrun.to_pandas()",
        "pandas": f"import pandas as pd\n\npd.read_parquet({quoted})",
        "polars": f"import polars as pl\n\npl.scan_parquet({python_text(glob)})",
        "DuckDB": f"SELECT * FROM read_parquet('{sql}');",  # noqa: S608 - to be read by a person
        "R": f"library(arrow)\n\ndata <- open_dataset({quoted})",
    }
    if base.startswith("s3://"):
        first = "" if is_folder else f"scaledproc combine {shlex.quote(base)} --table dataset\n"
        ways["Athena"] = f"{first}scaledproc show {shlex.quote(base)} --ddl"
    return ways


def citation(found: Findings) -> str:
    """What names the table in a paper."""
    extractor = cut_text(str(found.extractor.get("label", "")))
    version = found.extractor.get("fingerprint", {})
    number = version.get("version", "").strip("'") if isinstance(version, Mapping) else ""
    own = f"{extractor}{f' (version {number})' if number else ''}"
    tool = f"scaledproc {found.versions.get('scaledproc', found.version)}"
    by = f"{own} of {tool}" if found.is_built_in else f"{own}, run by {tool}"
    when = str(found.timings.get("finished", found.timings.get("started", "")))[:10]
    return f"Features of {cut_text(found.dataset)}, extracted with {by}, {when}. Plan {found.plan_id}."


def _fingerprint(found: Findings) -> Node:
    given = found.extractor.get("fingerprint", "")
    parts = given.items() if isinstance(given, Mapping) else [("fingerprint", given)]
    rows = [(said(name), said(str(each), 200)) for name, each in parts]
    return details(class_="block")[
        summary["Fingerprint of the extractor"],
        grid("Fingerprint of the extractor", ("Part", "Value"), rows, is_live=False),
    ]
