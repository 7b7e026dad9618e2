"""The commands by their names, each imported when it is named."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from scaledproc.cli import commands
from scaledproc.cli.commands import Commands

OF_ANOTHER = """
import sys
from scaledproc.cli.main import app
try:
    app([{words}])
except SystemExit as end:
    assert end.code == {code}, end.code
print(*sorted(name for name in sys.modules if name.startswith("scaledproc.cli.")), file=sys.stderr)
"""


def loaded(*words: str, code: int = 0) -> set[str]:
    source = OF_ANOTHER.format(words=", ".join(map(repr, words)), code=code)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return {name.rpartition(".")[2] for name in done.stderr.splitlines()[-1].split()}


def test_a_command_is_imported_alone() -> None:
    assert loaded("init", "--help") & {"run", "inspect", "watch", "doctor", "trial", "init"} == {"init"}
    assert loaded("plan", "--help") & {"run", "inspect", "watch", "doctor", "trial", "init"} == {"run"}


def test_the_list_of_commands_needs_all() -> None:
    assert loaded("--help") >= {"run", "inspect", "watch", "doctor", "trial", "init", "fetch", "worker"}


def test_each_is_what_its_name_says() -> None:
    found = Commands()
    assert len(found) == len(set(found)) == len(dict(found))
    for name, command in found.items():
        assert command.name == name
        assert command.help


def test_a_plug_in_s_command_comes_after_them() -> None:
    found = Commands()
    app = typer.Typer()
    app.command("more")(lambda: None)
    found["more"] = typer.main.get_command(app)
    assert "more" in found
    assert list(found)[-1] == "more"
    assert len(found) == len(Commands()) + 1
    with pytest.raises(TypeError):
        del found["run"]


def test_a_command_that_cannot_be_loaded_is_no_unknown_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(commands, "import_module", broken)
    with pytest.raises(RuntimeError, match="the command run cannot be loaded"):
        Commands().get("run")


def test_no_other_name_is_known() -> None:
    assert "runs" not in Commands()
    assert Commands().get("runs") is None
