"""The tables of options in the documents have every option, with its default and what it does."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from scaledproc._util.options import declared
from scaledproc.backend.settings import declared_settings
from scaledproc.backends.sagemaker.settings import Settings
from scaledproc.cli.options.option_tables import all_tables, markdown_table
from scaledproc.engine.options import FetchOptions, PlanOptions, RunOptions


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]


@pytest.mark.parametrize(
    ("name", "options"), [("run", RunOptions), ("plan", PlanOptions), ("fetch", FetchOptions), ("sagemaker", Settings)]
)
def test_a_table_is_complete(name: str, options: type) -> None:
    head, rule, *rows = cells(all_tables()[name])

    assert len({len(row) for row in (head, rule, *rows)}) == 1
    assert [row[1] for row in rows] == [f"`{each.name}`" for each in fields(options)]
    for each, row in zip(declared(options), rows, strict=True):
        assert f"`{each.flag}" in row[0] if each.flag else row[0] == "in Python only"
        assert re.sub(r"\[bold\]|\[/\]", "", each.help).replace("|", "\\|")[:20] in row[3].replace("`", "")
        assert each.default_text.replace("|", "\\|") in row[2]
        assert "[/" not in row[3]


def test_a_setting_that_is_called_as_an_option_of_a_run_has_the_flag_of_its_backend() -> None:
    taken = {flag for each in declared(RunOptions) for flag in each.flags}
    colliding = {}
    for backend, settings in declared_settings().items():
        flags = [row[0].strip("`").partition(" ")[0] for row in cells(all_tables()[backend])[2:]]
        assert taken.isdisjoint(flags), backend
        colliding[backend] = [flag for flag in flags if flag.startswith(f"--{backend}-")]
        assert len(flags) == len(settings)
    assert colliding["slurm"] == ["--slurm-grace", "--slurm-memory-step"]
    assert colliding["commands"] == ["--commands-grace"]


def test_some_lines() -> None:
    run, sagemaker = (all_tables()[name] for name in ("run", "sagemaker"))
    assert "| `--max-failures N\\|P%` | `max_failures` | `0` tasks; in Python: any number | Quarantined tasks" in run
    assert "| `--unit KIND` | `unit` | the extractor's | What must stay together" in run
    assert "| `--hidden` | `hidden` | off | Take files" in run
    assert "| `--limit N` | `limit` | all units | Only so many" in run
    assert "| `--role ARN` | `role` | none | IAM role" in sagemaker
    assert "| `--retry-wait SECONDS` | `retry_wait` | `30.0` seconds |" in sagemaker


def test_what_is_to_be_typed_is_code() -> None:
    run, sagemaker = (all_tables()[name] for name in ("run", "sagemaker"))
    assert "| Only files that match this glob (`'30/**'`, `'*.csv'`); can be repeated. |" in run
    assert "`scaledproc extractors` shows what each has." in run
    assert "needs `--input-mode` file." in sagemaker


def test_bars_in_cells() -> None:
    assert markdown_table(("a",), [("x|y",)]) == "| a |\n| --- |\n| x\\|y |"
