"""What a command tells of itself."""

from __future__ import annotations

import sys

import pytest

from scaledproc.cli.interaction import continuable
from scaledproc.errors import RunInterruptedError


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["in", "out", "--set", "window=60", "--set=is-quick=yes"], "in out --set window=60 --set=is-quick=yes"),
        (["in", "--set", "api_key=abc", "--set=password=abc"], "in --set 'api_key=***' '--set=password=***'"),
        (
            ["in", "--storage-option", "secret=abc", "--storage-option=key=abc"],
            "in --storage-option 'secret=***' '--storage-option=key=***'",
        ),
        (["in", "--options", "window=60", "--options=token=abc"], "in --options window=60 '--options=token=***'"),
        (
            ["in", "--storage-options", "secret=abc", "--storage-options=anon=abc"],
            "in --storage-options 'secret=***' '--storage-options=anon=***'",
        ),
        (["in", "--env", "A=abc", "--env=A=abc"], "in --env 'A=***' '--env=A=***'"),  # a backend's
        (["in", "--include", "date=2026/**", "--include=date=2026"], "in --include 'date=2026/**' --include=date=2026"),
        (["in", "--overwrite", "--jobs", "2"], "in --jobs 2"),
        (["--limit=3", "in"], "--limit=3 in"),
    ],
)
def test_the_command_that_continues_is_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, words: list[str], shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["scaledproc", *words])
    with pytest.raises(RunInterruptedError) as caught, continuable():
        raise KeyboardInterrupt
    assert str(caught.value).endswith(f"this continues: scaledproc {shown}")
