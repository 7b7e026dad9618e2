"""Which display there is, by what was asked for and where it goes."""

from __future__ import annotations

import sys

import pytest

from scaledproc.reporting.terminal import JsonProgress, LiveProgress, PlainProgress, Progress, choose, waiting


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Standard error that is a terminal, of a person."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    return monkeypatch


def test_a_terminal_is_drawn_on(environment: pytest.MonkeyPatch) -> None:
    assert type(choose(quiet=False, as_json=False)) is LiveProgress
    assert type(waiting("verifying")) is LiveProgress


def test_what_was_asked_for_comes_first(environment: pytest.MonkeyPatch) -> None:
    assert type(choose(quiet=True, as_json=False)) is Progress
    assert type(waiting("verifying", quiet=True)) is Progress
    assert type(choose(quiet=True, as_json=True)) is JsonProgress


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("TERM", "unknown"), ("CI", "true"), ("CI", "1")])
def test_where_lines_cannot_be_drawn_anew_there_is_a_log(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    assert type(choose(quiet=False, as_json=False)) is PlainProgress


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_a_ci_that_is_off_is_none(environment: pytest.MonkeyPatch, value: str) -> None:
    environment.setenv("CI", value)
    assert type(choose(quiet=False, as_json=False)) is LiveProgress


def test_what_is_no_terminal_is_a_log(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert type(choose(quiet=False, as_json=False)) is PlainProgress
