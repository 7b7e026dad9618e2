"""A report's findings are what the run's own files say."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support import COUNT, Bucket, Cli, TreeWriter

import scaledproc
from scaledproc import Task
from scaledproc.api import status
from scaledproc.engine.past.status import find_status
from scaledproc.events import ChunkDone, CombineDone, Event
from scaledproc.extractors.account import SMALL, Account, Facts, Matrix, Reading, Spans, Worry
from scaledproc.extractors.base import FunctionExtractor
from scaledproc.reporting.report import tables
from scaledproc.reporting.report.findings import Findings, Messages
from scaledproc.reporting.report.gather import gather, of_part
from scaledproc.reporting.report.page import page
from scaledproc.reporting.report.sentence import is_whole, worries
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.run import Run


@pytest.fixture
def counted(tree: TreeWriter, tmp_path: Path) -> Run:
    """A finished run of 40 tasks, of which 4 failed."""
    files = {f"{at % 4}/{at:02d}.txt": b"poison" if at % 10 == 3 else b"x" * at for at in range(40)}
    extractor = tmp_path / "count.py"
    extractor.write_text(COUNT)
    return scaledproc.run(tree(files), tmp_path / "out", extractor=f"{extractor}:count", unit="file", jobs=1)


def test_the_numbers_are_those_of_the_files(counted: Run) -> None:
    found = gather(counted)
    tasks, errors, features = counted.tasks(), counted.errors(), counted.to_arrow()
    assert found.tasks is not None
    assert found.tasks.count == tasks.num_rows == 40
    assert found.tasks.rows == pc.sum(tasks["rows"]).as_py() == features.num_rows
    assert found.tasks.status == {"done": 36, "quarantined": 4}
    assert found.tasks.seconds == pytest.approx(pc.sum(tasks["seconds"]).as_py())
    assert found.tasks.peak_memory == pc.max(tasks["peak_memory"]).as_py()
    assert found.tasks.spread is not None
    assert sum(found.tasks.spread.counts) == 40
    order = sorted(zip(tasks["seconds"].to_pylist(), tasks["anchor"].to_pylist(), strict=True), key=lambda one: -one[0])
    assert [each.anchor for each in found.tasks.slowest] == [anchor for _, anchor in order[:20]]
    assert found.failures.total == errors.num_rows == 4
    assert found.failures.kinds == {("exception", "ValueError"): 4}
    assert [(each.count, each.kind) for each in found.failures.groups] == [(4, "exception")]
    assert [shard.tasks for shard in found.shards] == [10, 10, 10, 10]
    (table,) = found.tables
    assert table.rows == table.read == 36
    assert [each.name for each in table.columns] == ["group", "unit", "anchor", "path", "size", "beside"]
    size = table.columns[4]
    assert (size.nulls, size.low, size.high) == (0, str(pc.min(features["size"]).as_py()), "39")
    assert size.distinct == len(features["size"].unique()) == 36
    assert size.histogram is not None
    assert sum(size.histogram.counts) + size.histogram.below + size.histogram.above == 36
    assert found.state == "done"
    assert is_whole(found)


def test_a_file_that_is_damaged_is_told_of_and_the_rest_is_shown(counted: Run) -> None:
    place = Path(counted.store.root) / "tasks.parquet"
    place.write_bytes(place.read_bytes()[:-20])
    found = gather(counted)
    assert found.tasks is None
    assert found.tables
    assert any("tasks.parquet is damaged" in text for text in found.problems)
    assert any("tasks.parquet: not as long as run.json says" in text for text in found.problems)
    assert not is_whole(found)


def test_another_number_of_rows_than_run_json_tells_is_seen(counted: Run) -> None:
    place = Path(counted.store.root) / "features.parquet"
    pq.write_table(pq.read_table(place).slice(1), place)
    found = gather(counted)
    assert found.tables[0].rows == 35
    assert not is_whole(found)


def unfinished(counted: Run) -> Findings:
    run = counted
    folder = Path(run.store.root)
    text = (folder / "run.json").read_text().replace('"state": "done"', '"state": "running"')
    (folder / "run.json").write_text(text)
    opened = Run.open(folder)

    return gather(
        opened, status=find_status(RunFolder(opened.store, opened.dataset, opened.source, opened.record), None)
    )


def test_of_a_run_that_is_not_finished_it_tells_what_is_committed(counted: Run) -> None:
    found = unfinished(counted)
    assert found.state == "running"
    assert found.done_tasks == 0  # the reports of its shards are gone
    assert [shard.state for shard in found.shards] == ["waiting"] * 4
    assert not found.tables


def test_what_failed_in_a_run_that_was_ended_is_told_with_its_messages(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"data/{number}").mkdir(parents=True)
        (tmp_path / f"data/{number}/x.txt").write_text("")

    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
    def fails(task: Task) -> dict[str, int]:
        if task.unit in "024":
            raise ValueError("no even ones, please")
        return {"n": 1}

    def end(event: Event) -> None:
        if isinstance(event, ChunkDone) and event.chunk == 3:
            raise RuntimeError("enough")

    options: dict[str, Any] = {"extractor": fails, "jobs": 1, "shards": 1, "chunk": 1}
    with pytest.raises(RuntimeError, match="enough"):
        scaledproc.run(tmp_path / "data", tmp_path / "out", on_event=end, **options)
    run = Run.open(tmp_path / "out")
    found = gather(run, status=status(tmp_path / "out"))
    assert found.state == "stopped"
    assert found.quarantined == found.failures.total > 0
    assert [each.message for each in found.failures.groups] == ["no even ones, please"]
    html = page(found)
    assert "will lack their rows" in html
    assert "Work of all cores" not in html, "no shard is done, so nobody knows"
    elsewhere = page(replace(found, failures=Messages()))
    assert f"{found.quarantined} failed in shards that are not done" in elsewhere


class Fails(FunctionExtractor):
    """Fails at telling of its table, or tells nothing that a report can show."""

    given: Any = None

    def account(self, read: Reading) -> Account | None:
        if self.given is not None:
            return self.given  # type: ignore[no-any-return]
        for _ in read(("size",)):
            raise ZeroDivisionError("of the extractor's own")
        return None


def failing(run: Run, given: Any = None) -> Fails:
    made: Any = run.extractor
    made.__class__ = Fails
    made.given = given
    assert isinstance(made, Fails)
    return made


@pytest.mark.parametrize(("given", "words"), [(None, "ZeroDivisionError: of the"), ("a text", "it gave str and no")])
def test_an_extractor_that_cannot_tell_of_its_table_is_a_note(counted: Run, given: Any, words: str) -> None:
    """The table is no worse for it, so nothing is missing."""
    extractor = failing(counted, given)
    found = gather(counted, extractor=extractor)
    assert found.account is None
    assert words in found.why_no_account
    assert found.problems == ()
    assert is_whole(found)
    assert [each.weight for each in worries(found) if words in each.text] == [SMALL]
    assert words in page(found).replace("&#39;", "'")


def test_a_table_that_an_extractor_cannot_read_is_a_problem(counted: Run) -> None:
    """Whatever the extractor makes of it."""
    place = Path(counted.store.root) / "features.parquet"
    content = bytearray(place.read_bytes())
    content[4:200] = bytes(196)
    place.write_bytes(content)
    found = gather(counted, extractor=failing(counted))
    assert found.why_no_account == ""
    assert any("features.parquet" in text for text in found.problems)


def test_an_account_of_a_part_says_so_beside_each_section() -> None:
    parts = (Facts("a", ("b",), ((1,),), "Text."), Matrix("m", ("x",), ((1,),)), Spans("s", "s", ()))
    account = Account((Worry(SMALL, "3 of 4 rows."),), parts)
    assert of_part(account, 1.0) is account
    told = of_part(account, 0.125)
    words = "of 12.5 % of the rows, in whole row groups"
    assert [each.text for each in told.parts] == [f"Text. {words.capitalize()}.", f"{words.capitalize()}."]
    assert told.worries[0].text == f"3 of 4 rows ({words})."
    assert words in told.about


def test_a_large_table_is_told_of_in_part(counted: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the extractor: what it is given are some row groups."""

    class Telling(FunctionExtractor):
        def account(self, read: Reading) -> Account:
            rows = sum(table.num_rows for table in read(["size"]))
            return Account(parts=(Facts("Rows", ("rows",), ((rows,),)), Spans("Gaps", "s", (("x", ((0.0, 1.0),)),))))

    place = Path(counted.store.root) / "features.parquet"
    pq.write_table(pq.read_table(place), place, row_group_size=9)
    monkeypatch.setattr(tables, "ROWS", 18)
    extractor = counted.extractor
    assert isinstance(extractor, FunctionExtractor)
    extractor.__class__ = Telling
    account = gather(counted, extractor=extractor).account
    assert account is not None
    assert account.parts == (Facts("Rows", ("rows",), ((18,),), "Of 50 % of the rows, in whole row groups."),)


def test_columns_are_described_by_the_extractors_docstring(tree: TreeWriter, tmp_path: Path) -> None:
    told = """
    '''What.

    Columns
    -------
    size : int
        Bytes.
    '''"""
    (tmp_path / "count.py").write_text(COUNT.replace("def count(task):", f"def count(task):{told}"))
    run = scaledproc.run(tree({"a.txt": b"1"}), tmp_path / "out", extractor=f"{tmp_path / 'count.py'}:count", jobs=1)
    (table,) = gather(run, extractor=RunFolder(run.store, run.dataset, run.source, run.record).extractor).tables
    about = {column.name: column.description for column in table.columns}
    assert about["size"] == "Bytes."
    assert about["anchor"].startswith("The file that started the task")  # as the table's own file says


@pytest.mark.report
def test_a_run_writes_its_report_and_no_report_leaves_it_out(tree: TreeWriter, tmp_path: Path) -> None:
    data, out = tree({"a.txt": b"1"}), tmp_path / "out"
    (tmp_path / "count.py").write_text(COUNT)
    run = scaledproc.run(data, out, extractor=f"{tmp_path / 'count.py'}:count", jobs=1)
    assert "1 task done" in (out / "report.html").read_text()
    assert scaledproc.verify(out).notes == ()
    again = scaledproc.run(data, out, extractor=f"{tmp_path / 'count.py'}:count", jobs=1, overwrite=True, report=False)
    assert not (out / "report.html").exists()
    assert again.record.options["report"] is False
    assert run.record.options["report"] is True


@pytest.mark.report
@pytest.mark.parametrize("is_done", [True, False])
def test_combining_writes_a_report_anew_that_was_asked_for_before(
    tree: TreeWriter, tmp_path: Path, is_done: bool
) -> None:
    data, out, own = tree({"a.txt": b"1"}), tmp_path / "out", tmp_path / "count.py"
    own.write_text(COUNT)

    def hear(event: object) -> None:
        if not is_done and isinstance(event, CombineDone):
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        scaledproc.run(data, out, extractor=f"{own}:count", jobs=1, report=False, on_event=hear)
    assert (Run.open(out).record.state == "done") is is_done
    scaledproc.report(out)
    for table in (None, "dataset"):
        (out / "report.html").write_text("of a table that is no more")
        scaledproc.combine(out, table=table)
        assert "1 task done" in (out / "report.html").read_text()


@pytest.mark.report
@pytest.mark.parametrize("report", [True, False])
def test_a_run_that_was_ended_before_its_report_gets_it_by_the_same_command(
    tree: TreeWriter, tmp_path: Path, report: bool
) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    spec, data, out = f"{tmp_path / 'count.py'}:count", tree({"a/0.txt": b"x"}), tmp_path / "out"
    scaledproc.run(data, out, extractor=spec, jobs=1, report=report)
    (out / "report.html").unlink(missing_ok=True)
    record = (out / "run.json").read_bytes()
    scaledproc.run(data, out, extractor=spec, jobs=1, report=report)
    assert (out / "report.html").exists() == report
    assert (out / "run.json").read_bytes() == record


@pytest.mark.report
@pytest.mark.parametrize("what", ["update", "combine"])
def test_a_report_of_the_table_before_does_not_stay(
    tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A command that is ended when the table is new and its report is not made yet."""
    (tmp_path / "count.py").write_text(COUNT)
    options: dict[str, Any] = {"extractor": f"{tmp_path / 'count.py'}:count", "unit": "file", "jobs": 1}
    out = tmp_path / "out"
    scaledproc.run(tree({"a/0.txt": b"x"}), out, **options)
    data = tree({"a/0.txt": b"x", "a/1.txt": b"y"})

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        for module in ("scaledproc.engine.update", "scaledproc.api.runs"):
            patched.setattr(f"{module}.add_last", ended)
        command = partial(scaledproc.run, data, out, update=True, **options)
        with pytest.raises(KeyboardInterrupt):
            (command if what == "update" else partial(scaledproc.combine, out))()
    assert not (out / "report.html").exists()
    scaledproc.run(data, out, update=True, **options)
    assert "2 tasks done" in (out / "report.html").read_text()


@pytest.mark.report
def test_combining_writes_no_report_that_nobody_asked_for(tree: TreeWriter, tmp_path: Path) -> None:
    data, out, own = tree({"a.txt": b"1"}), tmp_path / "out", tmp_path / "count.py"
    own.write_text(COUNT)
    scaledproc.run(data, out, extractor=f"{own}:count", jobs=1, report=False)
    scaledproc.combine(out)
    assert not (out / "report.html").exists()


def test_the_command_writes_it_at_any_time(cli: Cli, counted: Run, tmp_path: Path) -> None:
    made = cli("report", counted.store.root, "--output", tmp_path / "page.html")
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"the report: {tmp_path / 'page.html'}\n"
    assert "36 tasks done, 4 quarantined, 36 rows" in (tmp_path / "page.html").read_text()
    wrong = cli("report", tmp_path / "nothing")
    assert wrong.returncode == 1
    assert "holds no run" in wrong.stderr


@pytest.mark.slow
def test_of_a_run_in_s3_it_is_written_there_and_opened_from_a_copy(
    cli: Cli, s3: Bucket, tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    extractor, name = f"{tmp_path / 'count.py'}:count", f"report-{uuid4().hex}"
    scaledproc.run(
        tree({"a.txt": b"1"}),
        s3.url(name),
        extractor=extractor,
        jobs=1,
        report=False,
        storage_options={f"output.{key}": value for key, value in s3.storage_options.items()},
    )
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o700)
    flags = [word for key, value in s3.storage_options.items() for word in ("--storage-option", _pair(key, value))]
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told = cli("report", s3.url(name), "--open", *flags)
    assert told.returncode == 0, told.stderr
    assert told.stdout == f"the report: {s3.url(name)}/report.html\n"
    page = s3.fs.cat_file(f"{s3.name}/{name}/report.html")
    assert b"1 task done" in page
    assert Path(opened.read_text().removeprefix("file://")).read_bytes() == page
    config = tmp_path / "config"
    keys = {"aws_access_key_id": s3.storage_options["key"], "aws_secret_access_key": s3.storage_options["secret"]}
    keys |= {"endpoint_url": s3.server.endpoint, "region": "us-east-1"}
    config.write_text("[profile mine]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    opened.unlink()
    env = {"AWS_CONFIG_FILE": str(config), "AWS_EC2_METADATA_DISABLED": "true"}
    told = cli("report", s3.url(name), "--open", "--profile", "mine", env=env)
    assert told.returncode == 0, told.stderr
    assert b"1 task done" in Path(opened.read_text().removeprefix("file://")).read_bytes()
    elsewhere = cli("report", s3.url(name), "--output", tmp_path / "page.html", *flags)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "1 task done" in (tmp_path / "page.html").read_text()


def _pair(key: str, value: object) -> str:
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"
