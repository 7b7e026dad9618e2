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
    assert {each.flag for each in declared(options) if each.flag} <= flags_in(short)
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
