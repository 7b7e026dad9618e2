"""What the page says of how to make a table again: typed as it stands, it gives the same bytes, or it says why not."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import Cli, TreeWriter

import scaledproc
from scaledproc.reporting.report.about import citation
from scaledproc.reporting.report.again import again, python_text, shell_word
from scaledproc.reporting.report.failures import try_command
from scaledproc.reporting.report.gather import gather
from scaledproc.reporting.report.page import page
from scaledproc.run_folder.run import Run

ODD = "two\nlines\t'quoted' \\n \u202eback $HOME `id` \u00e9 \U000e0001!"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from scaledproc.demo import write_demo

    return write_demo(tmp_path_factory.mktemp("again") / "data")


@pytest.fixture(scope="module")
def finished(dataset: Path) -> Run:
    return scaledproc.run(dataset, dataset.parent / "out", jobs=1)


def test_the_command_makes_the_same_table_again(finished: Run, cli: Cli, tmp_path: Path) -> None:
    words = shlex.split(again(gather(finished)).command)
    assert words[-1] == "OUTPUT"  # the run's own folder is finished
    words[-1] = str(tmp_path / "again")
    done = cli(*words[1:])
    assert done.returncode == 0, done.stderr
    made, first = Run.open(tmp_path / "again").record.digests, finished.record.digests
    assert {name: made[name] for name in ("features.parquet", "plan.parquet", "signal_stats.csv")} == {
        name: first[name] for name in ("features.parquet", "plan.parquet", "signal_stats.csv")
    }


def test_the_command_does_not_name_a_service_without_its_settings(finished: Run) -> None:
    settings = {"instance_type": ["ml.m5.large"], "region": "eu-west-1"}
    elsewhere = replace(gather(finished), backend={"name": "sagemaker", "settings": settings})
    assert again(elsewhere).command.startswith("scaledproc run --backend local ")


def test_a_file_whose_content_the_run_has_is_named_and_can_be_written(
    dataset: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--set signal_names=FILE` takes a file's name, and run.json has its content."""
    names = tmp_path / "mine.toml"
    names.write_text('[waveform]\n"ONE" = ["II", "MLII"]\n', encoding="utf-8")
    options: dict[str, Any] = {"options": {"signal_names": names}, "jobs": 1, "include": ["**/*"]}
    first = scaledproc.run(dataset, tmp_path / "out", extractor="wfdb-summary", **options)
    found = gather(first, extractor=first.extractor)
    made = again(found)

    assert "[waveform]" not in made.command
    (need,) = made.needs
    assert hashlib.sha256(names.read_bytes()).hexdigest() in need
    assert need in page(found)
    monkeypatch.chdir(tmp_path)
    exec(made.content, {})  # what the page tells a person to run
    assert (tmp_path / "SIGNAL_NAMES_FILE").read_bytes() == names.read_bytes()
    words = shlex.split(made.command)
    done = cli(*words[1:-1], "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Run.open(tmp_path / "again").record.digests["features.parquet"] == first.record.digests["features.parquet"]


LINES = """
import scaledproc

@scaledproc.extractor(schema={"words": "string", "n": "int64"}, anchor="*.txt", unit="file")
def lines(task, *, words: str = "", several: tuple[str, ...] = (), maybe: int | None = 3):
    return {"words": words + "|".join(several), "n": maybe}
"""


def test_an_option_with_line_breaks_and_marks_is_typed_as_it_was(tree: TreeWriter, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(LINES)
    spec, given = f"{tmp_path}/own.py:lines", {"words": ODD, "several": ("a\nb", "c d")}
    run = scaledproc.run(tree({"a.txt": b"x"}), tmp_path / "out", extractor=spec, options=given, jobs=1)
    made = again(gather(run))
    assert made.command.isprintable()
    assert made.command.replace("$'", "'") in page(gather(run)).replace("&#39;", "'").replace("$'", "'")
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {made.command}"], check=True, capture_output=True
    ).stdout.decode()
    typed = words.split("\0")[:-1]
    assert f"words={ODD}" in typed
    done = cli(*typed[1:-1], tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert Run.open(tmp_path / "again").record.digests["features.parquet"] == run.record.digests["features.parquet"]
    (need,) = made.needs  # nobody could ask the extractor whether this is a file's content
    assert need.startswith("Where words names a file")
    assert again(gather(run, extractor=run.extractor)).needs == ()


def test_what_no_flag_can_say_is_named(tree: TreeWriter, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(LINES)
    spec = f"{tmp_path}/own.py:lines"
    given = {"maybe": None, "words": "x" * 200_000}
    run = scaledproc.run(tree({"a.txt": b"x"}), tmp_path / "out", extractor=spec, options=given, jobs=1)
    made = again(gather(run))
    assert [need.partition(", which")[0] for need in made.needs] == [
        "The option maybe was none",
        "The option words was a text of 200,000 characters",
    ]
    assert "xxx" not in made.command


def test_the_list_that_a_run_was_told_is_needed(finished: Run) -> None:
    found = gather(finished)
    made = again(replace(found, options={**found.options, "only": "mine.csv:id (sha256:0123)"}))
    assert "--only mine.csv:id " in made.command
    assert any("mine.csv:id (sha256:0123)" in need for need in made.needs)


@scaledproc.extractor(schema=pa.schema([("n", pa.int64())]), anchor="*.txt", unit="file")
def in_memory(task: Any) -> Any:
    """A function that no command line can name: it fails for one task."""
    if task.anchor == "b.txt":
        raise ValueError("no")
    return {"n": 1}


def test_a_function_in_memory_is_told_and_not_named(tree: TreeWriter, tmp_path: Path) -> None:
    run = scaledproc.run(tree({"a.txt": b"x", "b.txt": b"x"}), tmp_path / "out", extractor=in_memory, jobs=1)
    found = gather(run, extractor=run.extractor)
    made = again(found)
    assert made.command == ""
    assert "in_memory" in made.text
    html = page(found)
    assert "(in memory)" not in html
    assert "same bytes" not in html
    assert try_command(found, "b.txt") == f"scaledproc try EXTRACTOR {shlex.quote(f'{tmp_path}/out#b.txt')}"
    assert "EXTRACTOR stands for" in html


def test_only_what_is_built_in_is_cited_as_of_scaledproc(finished: Run, tree: TreeWriter, tmp_path: Path) -> None:
    assert "wfdb-summary (version 2) of scaledproc " in citation(gather(finished))
    run = scaledproc.run(tree({"a.txt": b"x"}), tmp_path / "out", extractor=in_memory, jobs=1)
    assert "extracted with in_memory, run by scaledproc " in citation(gather(run))


@pytest.mark.parametrize("text", [ODD, "plain", "", "\udc80", "a'b", "\x000"[1:], "\x01" + "7"])
def test_a_word_of_a_shell_is_read_as_it_was(text: str) -> None:
    word = shell_word(text)
    assert word.isprintable()
    said = subprocess.run(["bash", "-c", f"printf %s {word}"], check=True, capture_output=True).stdout
    assert said == text.encode(errors="surrogateescape")
    literal = python_text(text)
    assert literal.isprintable()
    assert eval(literal) == text
