"""Words of the command line, read without Pydantic where that is not needed: the same values, the same refusals."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from scaledproc._util.command.light_params import _PARSER, LightCommand
from scaledproc.errors import UsageError

GIVEN: list[dict[str, Any]] = []


def command(
    name: Annotated[str, typer.Argument()],
    rest: Annotated[list[str] | None, typer.Argument()] = None,
    count: int = 3,
    limit: Annotated[int | None, typer.Option(min=1, max=5)] = None,
    share: float = 0.5,
    text: str | None = None,
    many: Annotated[list[str] | None, typer.Option()] = None,
    numbers: Annotated[list[int], typer.Option()] = [1, 2],  # noqa: B006 - as Typer takes it
    flag: Annotated[bool | None, typer.Option("--flag/--no-flag")] = None,
) -> None:
    GIVEN.append(dict(locals()))


def runs(cls: type[Any], words: list[str]) -> tuple[int, str, list[dict[str, Any]]]:
    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=cls)(command)
    GIVEN.clear()
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output, list(GIVEN)


@pytest.mark.parametrize(
    "words",
    [
        ["a"],
        ["a", "b", "c"],
        [],
        ["a", "--count", "5"],
        ["a", "--count", " -07 "],
        ["a", "--limit", "5"],
        ["a", "--limit", "6"],
        ["a", "--share", "1e-3", "--text", ""],
        ["a", "--share", "x"],
        ["a", "--text", "1"],
        ["a", "--many", "1", "--many", "2", "--numbers", "7"],
        ["a", "--numbers", "x"],
        ["a", "--flag"],
        ["a", "--no-flag"],
        ["a", "--other"],
        ["--help"],
    ],
)
def test_it_reads_what_typer_reads(words: list[str]) -> None:
    assert runs(LightCommand, words) == runs(typer.core.TyperCommand, words)


@pytest.mark.parametrize("word", ["five", "2.5", "", "1_000", "0x10", "٣", "9" * 30])
def test_what_is_no_whole_number_is_refused_by_name(word: str) -> None:
    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=LightCommand)(command)
    error = CliRunner().invoke(app, ["a", "--count", word]).exception
    assert isinstance(error, UsageError)
    assert str(error) == f"--count {word!r}: give a whole number"


def test_typer_still_has_a_parser_of_that_name() -> None:
    """Else all is right, and slow again."""
    app = typer.Typer()
    app.command(cls=LightCommand)(command)
    made: Any = typer.main.get_command(app)
    assert all(hasattr(param, _PARSER) for param in made.params)


def test_a_command_s_texts_need_no_pydantic() -> None:
    code = (
        "import sys\nfrom scaledproc.cli.main import app\n"
        "try: app(['run', '/nowhere', 'x', '--jobs', '2', '--set', 'a=1'])\n"
        "except Exception as error: print(type(error).__name__)\n"
        "assert 'pydantic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["UsageError"]), done.stderr
