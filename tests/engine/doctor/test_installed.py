"""What is installed: programs that stand in for the real ones, and requirements that are made up."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from scaledproc.engine.doctor import installed
from scaledproc.engine.doctor.findings import Finding, Verdict
from scaledproc.engine.doctor.installed import PROGRAMS, find_extras, find_plugins, find_program, find_versions

DOCKER, SLURM = PROGRAMS


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, the only one in which any are found."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_program_that_is_not_there_is_missing_and_stops_nothing(programs: Path) -> None:
    found = find_program(DOCKER)
    assert (found.verdict, found.stops, found.text) == (Verdict.MISSING, False, "no command docker")
    assert found.advice.startswith("only needed")


def test_a_program_that_answers_is_fine(programs: Path) -> None:
    put(programs, "docker", 'test "$1" = info && echo 27.1')
    found = find_program(DOCKER)
    assert (found.verdict, found.text) == (Verdict.FINE, "answers: 27.1")
    assert found.details["commands"] == {"docker": str(programs / "docker")}


def test_a_service_that_does_not_answer_is_missing_with_its_own_words(programs: Path) -> None:
    put(programs, "docker", "echo first >&2; printf 'permission \\033denied' >&2; exit 1")
    found = find_program(DOCKER)
    assert (found.verdict, found.stops) == (Verdict.MISSING, False)
    assert found.text == "docker info: permission �denied"
    assert "start its daemon" in found.advice


def test_a_service_that_hangs_is_not_waited_for(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "PATIENCE", 0.1)
    put(programs, "docker", "exec /bin/sleep 60")
    assert find_program(DOCKER).text == "docker info: no answer within 0 s"


def test_all_commands_of_slurm_are_needed(programs: Path) -> None:
    for name in ("sbatch", "squeue", "sinfo"):
        put(programs, name, "echo batch")
    found = find_program(SLURM)
    assert found.verdict == Verdict.MISSING
    assert found.text == "no command scontrol and none scancel, though sbatch is there"
    for name in ("scontrol", "scancel"):
        put(programs, name, "echo batch")
    assert find_program(SLURM).text == "answers: batch"


def test_versions_are_those_that_are_installed() -> None:
    found = find_versions()
    assert (found.verdict, found.stops) == (Verdict.FINE, False)
    assert found.details["scaledproc"] == version("scaledproc")
    assert found.details["numpy"] == version("numpy")


REQUIREMENTS = [
    "present>=1.10",
    'tool[part]>=2.0,<3 ; extra == "fast"',
    'gone>=1; extra == "fast"',
    "other ; extra == 'cloud'",
    'lint>=1; extra == "dev"',
    'colorama>=1; sys_platform == "win32"',
]


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions of the packages that are installed."""
    there = {"present": "1.10.0", "tool": "2.0"}
    monkeypatch.setattr(installed, "requires", lambda _: REQUIREMENTS)
    monkeypatch.setattr(installed, "_version", lambda name: there.get(name, ""))
    return there


def extras() -> dict[str, Finding]:
    return {each.name: each for each in find_extras()}


def test_extras_are_those_that_the_package_declares(has: dict[str, str]) -> None:
    found = extras()
    assert set(found) == {"extra cloud", "extra fast", "polars"}
    assert (found["extra fast"].verdict, found["extra fast"].text) == (Verdict.WORRY, "gone is not installed")
    assert (found["extra cloud"].verdict, found["extra cloud"].text) == (Verdict.MISSING, "not installed")
    assert "pip install 'scaledproc[cloud]'" in found["extra cloud"].advice
    has |= {"gone": "1", "other": "0.1", "polars": "9"}
    assert {each.verdict for each in extras().values()} == {Verdict.FINE}
    assert not any(each.stops for each in found.values())


@pytest.mark.parametrize(
    ("has_version", "is_enough"),
    [("2", True), ("2.0.0", True), ("2.1rc1", True), ("10.0", True), ("1.99", False), ("1.99.9+local.7", False)],
)
def test_versions_are_compared_as_numbers(has: dict[str, str], has_version: str, is_enough: bool) -> None:
    has |= {"tool": has_version, "gone": "1"}
    found = extras()["extra fast"]
    assert (found.verdict is Verdict.FINE) == is_enough
    assert is_enough or found.text == f"tool is {has_version}, and 2.0 or newer is needed"


def test_a_library_that_is_too_old_stops_a_run(has: dict[str, str]) -> None:
    has["present"] = "1.9.1"
    found = find_versions()
    assert (found.verdict, found.stops) == (Verdict.MISSING, True)
    assert "present is 1.9.1, and 1.10 or newer is needed" in found.advice


def test_the_installed_plugins_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_plugins()
    assert {"local", "dry-run"} <= set(found.details["backend"])
    assert "wfdb-summary" in found.text
    monkeypatch.setattr(installed, "plugins", lambda _: ())
    assert find_plugins().stops


def test_real_programs_end_in_a_finding() -> None:
    """Whichever of them this machine has."""
    for each in PROGRAMS:
        found = find_program(each)
        assert found.name == each.name
        assert not found.stops
