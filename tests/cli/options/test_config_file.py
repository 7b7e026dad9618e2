"""`[run]` in scaledproc.toml: options by their flags' names, or by Python's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scaledproc import api
from scaledproc._util.command.config_file import read_config
from scaledproc.cli.main import app
from scaledproc.errors import UsageError

Seen = Callable[..., dict[str, Any]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Seen]:
    """What `scaledproc run` calls with a file's content and words."""

    def run(text: str, *words: str) -> dict[str, Any]:
        caught: dict[str, Any] = {}

        def instead(dataset: str, output: str, **options: Any) -> None:
            caught.update(options)
            raise UsageError("seen")

        monkeypatch.chdir(tmp_path)
        (tmp_path / "scaledproc.toml").write_text(text)
        read_config.cache_clear()
        monkeypatch.setattr(api, "run", instead)
        result = CliRunner().invoke(app, ["run", "in", "out", *words])
        if str(result.exception) != "seen":
            raise result.exception or AssertionError(result.output)
        return caught

    yield run
    read_config.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        "storage-option = ['anon=true', 'input.key=x']",
        "storage_options = ['anon=true', 'input.key=x']",
        "[run.storage_options]\nanon = true\n'input.key' = 'x'",
    ],
)
def test_storage_options_by_both_names(seen: Seen, text: str) -> None:
    assert seen(f"[run]\n{text}")["storage_options"] == {"anon": True, "input.key": "x"}


def test_options_of_the_file_and_flags_before_them(seen: Seen) -> None:
    text = "[run]\nmax-failures = '5%'\ntask_retries = 2\nanchor = '*.csv'\nhidden = true\ntask_timeout = 90\n"
    found = seen(text, "--task-retries", "3")

    assert (found["max_failures"], found["task_retries"], found["anchor"]) == ("5%", 3, ["*.csv"])
    assert found["hidden"] is True
    assert found["task_timeout"] == "90"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[run]\noverwrite = true", "has no 'overwrite'"),
        ("[run]\nset = ['window=1']", "has no 'set'"),
        ("[run]\noptions = {window = 1}", "has no 'options'"),
        ("[run]\nanchors = '*.csv'", "has no 'anchors'"),
        ("[run]\ninclude = {a = 1}", "give one value"),
        ("[run]\ngrace = 'long'", "--grace 'long'"),
    ],
)
def test_what_cannot_be(seen: Seen, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        seen(text)
