"""The help of a command with very many options is short, and nothing of it cannot be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import Cli

from scaledproc._util.options import declared
from scaledproc.backend.settings import declared_settings
from scaledproc.engine.options import PlanOptions, RunOptions

LINES = 100
"""What fits two screens, at 100 columns."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", text))


@pytest.mark.parametrize(("command", "options"), [("run", RunOptions), ("plan", PlanOptions)])
def test_it_is_short_and_names_each_option(cli: Cli, command: str, options: type) -> None:
    short = cli(command, "-h").stdout
    assert len(short.splitlines()) <= LINES
    named = {*flags_in(short), *(flag.replace("--no-", "--") for flag in flags_in(short))}
    assert {each.flag for each in declared(options) if each.flag} <= named
    for name, settings in declared_settings().items():
        assert f"{name} ({len(settings)} settings)" in " ".join(short.split())
    assert "Backend sagemaker" not in short


def test_all_options_can_be_asked_for(cli: Cli) -> None:
    shown = cli("run", "--help-all").stdout
    for name in declared_settings():
        assert f"─ Backend {name} ─" in shown
    of_run = {each.flag for each in declared(RunOptions) if each.flag}
    assert of_run <= {flag for line in shown.splitlines() if line.startswith("│ --") for flag in flags_in(line)}
    assert {each.flag for each in declared_settings()["slurm"] if each.flag == "--partition"} <= flags_in(shown)


@pytest.mark.parametrize(
    "words", [("--backend", "slurm"), ("--backend=slurm",), ("in", "--backend=x", "--backend=slurm")]
)
def test_the_settings_of_the_backend_that_is_named_are_shown(cli: Cli, words: tuple[str, ...]) -> None:
    shown = cli(*words, "--help").stdout
    assert "─ Backend slurm ─" in shown
    assert "─ Backend sagemaker ─" not in shown
    assert "slurm (" not in shown


def test_a_backend_of_the_file_is_the_one_that_is_meant(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "scaledproc.toml").write_text('[run]\nbackend = "commands"\n')
    assert "─ Backend commands ─" in cli("run", "-h").stdout


NOISE = re.compile(r"<(?:bool|str|int|float|Path)>")


@pytest.mark.parametrize(
    "words",
    [(), ("run",), ("plan",), ("try",), ("status",), ("watch",), ("extractors",), ("fetch",), ("run", "--help-all")],
)
def test_help_fits_80_columns_and_names_no_types(cli: Cli, words: tuple[str, ...]) -> None:
    shown = cli(*words, *(() if "--help-all" in words else ("-h",)), env={"COLUMNS": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert not NOISE.findall(shown)
    assert "[[" not in shown
    assert "{" not in shown.split("Arguments")[0]


def test_paragraphs_are_broken_by_the_terminal_alone(cli: Cli) -> None:
    shown = " ".join(cli("run", "-h", env={"COLUMNS": "80"}).stdout.split("╭")[0].split())
    assert "stop. Exit codes: 0 all tasks done or failures within --max-failures, 3 more tasks quarantined" in shown
    narrow = cli("run", "-h", env={"COLUMNS": "80"}).stdout.split("╭")[0].splitlines()
    middle = narrow[narrow.index(next(line for line in narrow if "Exit codes" in line)) : -2]
    assert all(len(line.rstrip()) > 55 for line in middle[:-1])


@pytest.mark.parametrize("command", ["status", "watch", "stop", "report"])
def test_settings_of_backends_are_shown_where_they_are_asked_for(cli: Cli, command: str) -> None:
    short = cli(command, "-h").stdout
    assert "Backend" not in short
    assert "--help-all" in short
    if command == "status":
        assert {"--region", "--profile", "--poll"} <= flags_in(cli(command, "--help-all").stdout)


def test_what_is_switched_on_is_shown_by_what_switches_it_off(cli: Cli) -> None:
    shown = flags_in(cli("run", "-h").stdout)
    assert "--no-report" in shown
    assert "--no-report" in flags_in(cli("run", "--help-all").stdout)
