"""What the Tab key offers: by the protocol that shells use, and in a real bash."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support import COMMAND, Cli, clean_environment

from scaledproc._util.command.flags import names_of
from scaledproc.cli.main import main
from scaledproc.cli.options import completion
from scaledproc.cli.options.completion import folders, run_folders
from scaledproc.run_folder.names import RECORD

Offered = Callable[..., list[str]]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, one that has to be quoted, and other folders and files; the working folder of the test."""
    for name in ("out", "old/first", "my run"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "other").mkdir()
    (tmp_path / "outlook.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def offered(runs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Offered:
    """What is offered for the last of some words, as bash asks for it."""

    def ask(*words: str, shell: str = "bash") -> list[str]:
        line = " ".join(["scaledproc", *words])
        monkeypatch.setattr(sys, "argv", ["scaledproc"])
        for name, value in {
            "_SCALEDPROC_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)),
            "_TYPER_COMPLETE_ARGS": line,
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            main()
        shown = capfd.readouterr()
        assert end.value.code in (0, None)
        assert shown.err == ""
        return shown.out.split()

    return ask


def test_commands(offered: Offered) -> None:
    every = offered("")
    assert {"run", "plan", "doctor", "status", "verify", "sagemaker"} <= set(every)
    assert offered("ver") == ["verify"]
    assert offered("sage") == ["sagemaker"]


def test_options(offered: Offered) -> None:
    assert {"--task-timeout", "--task-retries"} == set(offered("run", "data", "out", "--task"))
    assert offered("fetch", "--use") == ["--username"]
    assert "--json" in offered("status", "out", "--")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--backend", "loc"), ["local"]),
        (("--extrac",), ["--extractor"]),
        (("data", "out", "--extractor", "wfdb-s"), ["wfdb-summary"]),
        (("data", "out", "--backend", "local", "--task-t"), ["--task-timeout"]),
        (("data", "out", "--vers"), []),  # of the command itself, not of `run`
        (("--vers",), ["--version"]),
    ],
)
def test_the_command_that_is_not_named(offered: Offered, words: tuple[str, ...], expected: list[str]) -> None:
    assert offered(*words) == expected


def test_a_folder_that_begins_as_a_command_does(offered: Offered, runs: Path) -> None:
    (runs / "stays").mkdir()
    assert set(offered("sta")) == {"status", "stays"}
    assert offered("stay") == []  # left to the shell, which adds the slash


def test_commands_of_plugins(offered: Offered) -> None:
    assert "policy" in offered("sagemaker", "")


def test_extractors_and_backends(offered: Offered) -> None:
    assert {"files", "table", "wfdb-summary", "wfdb-windows"} <= set(offered("run", "--extractor", ""))
    assert offered("extractors", "wfdb-s") == ["wfdb-summary"]
    assert offered("try", "tab") == ["table"]
    assert {"local", "dry-run"} <= set(offered("plan", "data", "--backend", ""))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "show", "verify", "combine", "stop"])
def test_run_folders(offered: Offered, command: str) -> None:
    assert offered(command, "o") == ["out"]
    assert offered(command, "old/") == ["old/first"]
    assert offered(command, "oth") == []  # left to the shell


def test_a_run_to_update_or_to_try(offered: Offered) -> None:
    assert offered("plan", "data", "--update", "ou") == ["out"]
    assert offered("try", "ou") == ["out"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_ask_too(offered: Offered, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert "verify" in " ".join(offered("ver", shell=shell))


def test_a_mistake_in_the_configuration_is_not_told_to_a_shell(offered: Offered, runs: Path) -> None:
    (runs / "scaledproc.toml").write_text("[nonsense]\nx = 1\n")
    assert offered("data", "out", "--task-t") == ["--task-timeout"]


def test_names_without_importing_what_they_name() -> None:
    before = set(sys.modules)
    assert "wfdb-windows" in names_of("extractor")("wfdb-w")
    assert names_of("backend")("nosuch") == []
    assert set(sys.modules) == before


def test_folders_that_cannot_be_looked_at_offer_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for strange in ("nowhere/", "~nobody-at-all/", "a\0b/", "outlook.txt/"):
        assert run_folders(strange) == []
    (runs / ".hidden").mkdir()
    assert ".hidden" not in folders("")
    assert folders(".h") == [".hidden"]
    assert run_folders("") == ["out"]  # `my run` would have to be quoted
    monkeypatch.setenv("HOME", str(runs))
    assert run_folders("~/o") == ["~/out"]
    monkeypatch.setattr(completion, "LOOKED_AT", 0)
    assert folders("o") == []
    assert completion.RECORD == RECORD


# A real bash


@pytest.mark.slow
def test_installed_in_a_real_bash(runs: Path) -> None:
    """The Tab key of an interactive bash, after --install-completion in a home of its own."""
    bash = shutil.which("bash")
    assert bash is not None
    home = runs / "home"
    home.mkdir()
    programs = runs / "bin"
    programs.mkdir()
    (programs / "scaledproc").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    (programs / "scaledproc").chmod(0o755)
    env = {
        **clean_environment({"HOME": str(home), "TERM": "dumb"}),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [bash, "-c", "scaledproc --install-completion; exit $?"],
        cwd=runs,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "bash completion installed" in done.stdout
    assert (home / ".bash_completions/scaledproc.sh").is_file()
    with (home / ".bashrc").open("a") as file:
        file.write("PS1='$ '\n")
    typed = {
        "scaledproc veri\t": "scaledproc verify ",
        "scaledproc status ou\t": "scaledproc status out ",
        "scaledproc data out --extractor wfdb-s\t": "--extractor wfdb-summary ",
        "scaledproc othe\t": "scaledproc other/",
    }
    shown = bash_shows(bash, env, runs, list(typed))
    for keys, expected in typed.items():
        assert expected in shown[keys], shown


def bash_shows(bash: str, env: Mapping[str, str], folder: Path, typed: list[str]) -> dict[str, str]:
    """What an interactive bash shows on its terminal after some keys, each typed on a line of its own."""
    leader, follower = os.openpty()
    process = subprocess.Popen(
        [bash, "--noprofile", "--rcfile", str(Path(env["HOME"]) / ".bashrc"), "-i"],
        cwd=folder,
        env=dict(env),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    found = {}
    try:
        read_until(leader, re.compile(r"\$ $"))
        for keys in typed:
            os.write(leader, keys.encode())
            # Once the line is longer than what was typed, it was completed.
            found[keys] = read_until(leader, re.compile(re.escape(keys.strip()) + r"[^\a\r\n]+"))
            os.write(leader, b"\x15\n")  # the line is thrown away
            read_until(leader, re.compile(r"\$ $"))
    finally:
        process.kill()
        process.wait(10)
        os.close(leader)
    return found


def read_until(leader: int, wanted: re.Pattern[str], patience: float = 60.0) -> str:
    end, shown = time.monotonic() + patience, ""
    while not wanted.search(shown):
        assert time.monotonic() < end, shown
        if select.select([leader], [], [], 0.5)[0]:
            shown += os.read(leader, 65536).decode(errors="replace")
    return shown


@pytest.mark.parametrize("words", [("--install-completion", "basch"), ("--install-completion=basch",)])
def test_a_shell_that_there_is_not_is_refused(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    result = cli(*words, env={"HOME": str(tmp_path / "home")})
    assert result.returncode == 2
    assert "no shell is called 'basch'; is 'bash' meant? there are bash, zsh, fish" in result.stderr
    assert not (tmp_path / "home").exists()


def test_the_shell_that_is_named_is_meant(cli: Cli, tmp_path: Path) -> None:
    result = cli("--install-completion", "fish", env={"HOME": str(tmp_path / "home")})
    assert result.returncode == 0, result.stderr
    file = tmp_path / "home/.config/fish/completions/scaledproc.fish"
    assert result.stdout.startswith(f"fish completion installed in {file}")
    assert cli("--show-completion", "fish").stdout == file.read_text()


def test_a_home_that_cannot_be_written_is_told_in_words(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    env = {"HOME": str(tmp_path / "home"), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    result = cli("--install-completion", "bash", env=env)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "completion cannot be installed" in result.stderr
    result = cli("--show-completion", "bash", env=env)
    assert result.returncode == 0
    assert "complete -o default" in result.stdout
