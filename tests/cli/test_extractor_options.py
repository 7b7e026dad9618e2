"""Options of extractors on the command line, in scaledproc.toml, and as `scaledproc extractors` shows them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import TreeWriter

from scaledproc._util.command.config_file import read_config
from scaledproc.cli.main import main

MINE = """
import scaledproc
from typing import Annotated
print("loading")

@scaledproc.extractor(schema={"path": "string", "about": "string"}, anchor=["*.txt", "*.csv"], unit="file")
def windowed(
    task,
    *,
    window: Annotated[int, scaledproc.Option("Length of a window.", unit="seconds")] = 60,
    channels: tuple[str, ...] = (),
):
    '''One row for each file.

    More of it.
    '''
    return {"path": task.anchor, "about": f"{window} {' '.join(channels)}"}

@scaledproc.extractor(schema={"path": "string"})
def needy(task, *, table: str):
    return {"path": table}
"""
RUN = ("data", "out", "--extractor", "mine.py:windowed", "--jobs", "1")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Call]:
    """The console script's function, in a folder with a dataset and extractors."""
    tree({"1.txt": b"", "2.csv": b""})
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*words: str) -> tuple[int, str, str]:
        read_config.cache_clear()
        monkeypatch.setattr(sys, "argv", ["scaledproc", *words])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    yield run
    read_config.cache_clear()


def about(folder: Path) -> set[str]:
    return set(pq.read_table(folder / "out/features.parquet")["about"].to_pylist())


def test_set(call: Call, tmp_path: Path) -> None:
    code, _, err = call(*RUN, "--set", "window=30", "--set", "channels=I", "--set", "channels=aVR=x")
    assert code == 0, err
    assert about(tmp_path) == {"30 I aVR=x"}
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["extractor"]["options"] == {"window": 30, "channels": ["I", "aVR=x"]}
    code, _, err = call(*RUN, "--set", "window=20")
    assert code == 2
    assert "window: 20, was 30" in err


@pytest.mark.parametrize("table", ["[extractor.windowed]", '[extractor."mine.py:windowed"]'])
def test_the_files_table(call: Call, tmp_path: Path, table: str) -> None:
    (tmp_path / "scaledproc.toml").write_text(
        f"[extractor.other]\nwindow = 1\n{table}\nwindow = 20\nchannels = ['V']\n"
    )
    assert call(*RUN, "--set", "window=10")[0] == 0
    assert about(tmp_path) == {"10 V"}  # the flag goes before the file
    command = ("plan", "data", "--extractor", "mine.py:windowed", "--json")
    asked, plain = (call(*command, *words) for words in ((), ("--set", "window=20")))
    assert json.loads(asked[1])["plan_id"] == json.loads(plain[1])["plan_id"]


@pytest.mark.parametrize(
    ("table", "is_told"),
    [
        ("[extractor.windwed]", True),
        ("[extractor.wfdb-summary]", False),  # is installed
        ("[extractor.windowed]\nwindow = 20\n[extractor.needy]", False),  # may be of another extractor of this file
    ],
)
def test_a_table_that_may_be_misspelt_is_told(call: Call, tmp_path: Path, table: str, is_told: bool) -> None:
    (tmp_path / "scaledproc.toml").write_text(f"{table}\nwindow = 20\n")
    for command in (("plan", "data", "--extractor", "mine.py:windowed", "--json"), RUN):
        code, _, err = call(*command)
        said = "[extractor.windwed] is not used: this extractor's table is [extractor.windowed]"
        assert (code, said in " ".join(err.split())) == (0, is_told)


@pytest.mark.parametrize(
    ("words", "file", "said"),
    [
        (("--set", "window"), "", "--set 'window': give NAME=VALUE"),
        (("--set", "windw=1"), "", "takes no option windw; is 'window' meant?"),
        (("--set", "window=x"), "", "--set window=x: windowed takes for window a whole number"),
        (
            ("--set", "window=1", "--set", "window=2"),
            "",
            "--set window=1, 2: windowed takes for window a whole number, once",
        ),
        ((), "[extractor.windowed]\nwindow = 'x'\n", "--set window=x"),
        ((), "[extractor]\nwindow = 1\n", "options belong below [extractor.NAME]"),
        ((), "[run]\nset = ['window=1']\n", "[run] has no 'set'"),
    ],
)
def test_what_cannot_be(call: Call, tmp_path: Path, words: tuple[str, ...], file: str, said: str) -> None:
    (tmp_path / "scaledproc.toml").write_text(file)
    for command in (RUN, ("plan", "data", "--extractor", "mine.py:windowed")):
        code, _, err = call(*command, *words)
        assert code == 2
        assert said in " ".join(err.split())
        assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_an_option_that_must_be_given(call: Call, tmp_path: Path) -> None:
    code, _, err = call("data", "out", "--extractor", "mine.py:needy")
    assert (code, "needs the option table: --set table=VALUE" in err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert call("data", "out", "--extractor", "mine.py:needy", "--jobs", "1", "--set", "table=x")[0] == 0


def test_all_extractors_with_their_options(call: Call) -> None:
    code, out, _ = call("extractors")
    assert code == 0
    assert "wfdb-summary\n  Statistics of every signal" in out
    text = "signal_names=FILE Table of canonical signal names (TOML), or built-in. Default: (built-in)"
    assert text in " ".join(out.split())
    found = {each["name"]: each["options"] for each in json.loads(call("extractors", "--json")[1])}
    assert list(found) == ["files", "table", "wfdb-summary", "wfdb-windows"]
    assert [each["name"] for each in found["wfdb-summary"]] == ["signal_names", "ranges"]


def test_one_extractor(call: Call) -> None:
    code, out, err = call("extractors", "mine.py:windowed")
    assert (code, err) == (0, "loading\n")
    assert out == (
        "mine.py:windowed\n  One row for each file.\n\nunit: file\nanchors: *.txt  *.csv\n\n"
        "options, given with --set NAME=VALUE:\n"
        "  window=SECONDS   Length of a window. Default: 60 seconds\n"
        "  channels=TEXT,…  Default: (none)\n\n"
        "columns of the table (2):\n  path   string\n  about  string\n"
    )
    found = json.loads(call("extractors", "wfdb-summary", "--json")[1])
    assert found["columns"][0] == {"name": "group", "type": "string", "nullable": False}
    assert "signal_name" in {each["name"] for each in found["columns"]}
    _, out, _ = call("extractors", "mine.py:needy")
    assert "columns: shown when --set gives table" in out
    assert "table=TEXT  Must be given." in out
    assert "columns of the table (1)" in call("extractors", "mine.py:needy", "--set", "table=x")[1]


def test_parameters_that_are_no_options_are_told(call: Call, tmp_path: Path) -> None:
    head = "import scaledproc\n@scaledproc.extractor(schema={'path': 'string'})\n"
    body = "    return {'path': task.anchor}\n"
    (tmp_path / "loose.py").write_text(
        f"{head}def some(task, plain=3, bare=None, *, table: dict = {{}}, ok: int = 1, _own=None):\n{body}"
        f"{head}def none(task, *, bare=None):\n{body}"
        f"{head}def fine(task, *, ok: int = 1):\n{body}"
    )
    out = " ".join(call("extractors", "loose.py:some")[1].split())  # wherever the lines are broken
    assert "Cannot be set: bare, table. An option's annotation is bool, int, float, str, Literal" in out
    assert "options: none\n  Cannot be set: bare. An" in call("extractors", "loose.py:none")[1]
    assert "Cannot be set" not in call("extractors", "loose.py:fine")[1]
    assert json.loads(call("extractors", "loose.py:some", "--json")[1])["without_option"] == ["bare", "table"]


def test_extractor_that_is_not_there(call: Call) -> None:
    code, out, err = call("extractors", "wfdb")
    assert (code, out) == (2, "")
    assert "there are: files, table, wfdb-summary" in err


def test_a_flag_that_is_none_is_told_how_to_give_an_option(call: Call) -> None:
    for words in (RUN, ("combine", "out")):
        code, _, err = call(*words, "--signal-names", "names.toml")
        assert code == 2
        assert "No such option: --signal-names; an option of the extractor is given as --set" in " ".join(err.split())
