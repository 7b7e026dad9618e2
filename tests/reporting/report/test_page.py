"""The page as a whole: one file, all texts of the data as text."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import COUNT, Cli, TreeWriter

import scaledproc
from scaledproc._util.text import seconds_text
from scaledproc.extractors.account import Account, Facts, Histogram, Matrix, Trace
from scaledproc.reporting.report import report_html
from scaledproc.reporting.report.about import openings
from scaledproc.reporting.report.gather import gather
from scaledproc.reporting.report.page import page, with_trouble
from scaledproc.reporting.report.pictures import bars, time_ticks, trace
from scaledproc.run_folder.run import Run

NOTHING = "\N{EN DASH}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    from scaledproc.demo import write_demo

    folder = tmp_path_factory.mktemp("page")
    return scaledproc.run(write_demo(folder / "data"), folder / "out", jobs=1)


class _Elements(HTMLParser):
    """All tags, and the headings."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def elements(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Elements()
    parser.feed(html)
    return parser.tags


def test_the_page_is_one_file_that_asks_nobody(finished: Run) -> None:
    html = report_html(finished, extractor=finished.extractor)
    found = elements(html)
    loads = {"src", "srcset", "data", "action", "formaction", "style", "background", "poster", "ping"}
    assert [(tag, about) for tag, about in found if loads & about.keys()] == []
    assert {about["href"] for tag, about in found if tag == "a"} <= {"#report", "#data", "#failures", "#time", "#run"}
    assert not {"link", "iframe", "img", "object", "embed", "base", "form"} & {tag for tag, _ in found}
    (rules,) = [about["content"] for tag, about in found if about.get("http-equiv") == "Content-Security-Policy"]
    assert rules is not None
    assert "default-src 'none'" in rules
    assert "connect-src 'none'" in rules
    assert "unsafe" not in rules
    assert [tag for tag, _ in found if tag == "h1"] == ["h1"]
    ids = [about["id"] for _, about in found if "id" in about]
    assert len(ids) == len(set(ids))


def test_only_a_live_page_asks_its_own_server(finished: Run) -> None:
    found = elements(report_html(finished, live="/token/page"))
    (rules,) = [about["content"] for tag, about in found if about.get("http-equiv") == "Content-Security-Policy"]
    assert rules is not None
    assert "connect-src 'self'" in rules
    assert [about["data-live"] for tag, about in found if tag == "body"] == ["/token/page"]


def test_trouble_of_a_page_that_is_watched_stands_on_it(finished: Run) -> None:
    html = with_trouble(report_html(finished, live="/token/"), "This page is not up to date: <gone>")
    assert "This page is not up to date: &lt;gone&gt;" in html


def test_the_ways_to_open_the_table_work(finished: Run) -> None:
    ways = openings(gather(finished))
    for name in ("Python", "pandas", "polars"):
        scope: dict[str, object] = {}
        exec(ways[name], scope)  # what the page tells a person to type
    assert re.search(r"read_parquet\('.*/features.parquet'\);", ways["DuckDB"])


@pytest.fixture(scope="module")
def in_folder(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same table as a folder, in a folder with an odd name."""
    out = tmp_path_factory.mktemp("folder") / 'it\'s "out"'
    return scaledproc.run(finished.record.dataset, out, jobs=1, table="dataset", shards=2)


@pytest.mark.parametrize("which", ["finished", "in_folder"])
@pytest.mark.parametrize("name", ["Python", "pandas", "polars", "DuckDB"])
def test_what_opens_the_table_gives_all_rows(which: str, name: str, request: pytest.FixtureRequest) -> None:
    import duckdb
    import polars

    run = request.getfixturevalue(which)
    text = openings(gather(run))[name]
    if name == "DuckDB":
        rows = duckdb.connect().execute(text.replace("*", "count(*)", 1)).fetchall()[0][0]
    else:
        *lines, last = text.split("\n")
        scope: dict[str, Any] = {}
        exec("\n".join(lines), scope)
        found = eval(last, scope)
        rows = len(found.collect() if isinstance(found, polars.LazyFrame) else found)
    assert rows == run.record.counts["rows"] > 0


@pytest.mark.parametrize("which", ["finished", "in_folder"])
def test_the_commands_for_athena_make_its_statements(
    which: str, request: pytest.FixtureRequest, cli: Cli, tmp_path: Path
) -> None:
    """Of a run in S3; here those of a copy."""
    run = request.getfixturevalue(which)
    there = "s3://bucket/it's here"
    text = openings(replace(gather(run), output=there))["Athena"]
    copy = shutil.copytree(str(run.store.root), tmp_path / "copy")
    for line in text.split("\n"):
        words = [str(copy) if word == there else word for word in shlex.split(line)]
        assert words[0] == "scaledproc"
        more = ["--location", there] if "--ddl" in words else []
        done = cli(*words[1:], *more)
        assert done.returncode == 0, done.stderr
    assert "CREATE EXTERNAL TABLE" in done.stdout
    assert "Athena" not in openings(gather(run))


def test_tasks_by_their_time_are_told_in_seconds_at_both_ends(finished: Run) -> None:
    (spread,) = re.findall(r'<div class="spread">.*?</p>', report_html(finished), re.DOTALL)
    time = r"[\d.]+ (?:ms|s)"
    (low, high), drawn = re.findall(rf"from ({time}) to ({time})", spread)
    assert drawn == (low, high)
    shown = re.findall(r"<span>(.*?)</span>", spread)
    assert shown in ([low, high], [low])


@pytest.mark.parametrize("days", [0.5, 3, 30, 43, 100, 4000])
def test_times_are_labelled_in_units_that_a_person_reads(days: float) -> None:
    marks = time_ticks(days * 86_400)
    assert 2 <= len(marks) <= 8
    assert all(re.fullmatch(r"[\d,.]+ (s|min|h|d)", text) for _, text in marks)
    assert all(at <= days * 86_400 for at, _ in marks)
    assert not any("e+" in text for _, text in marks)


def test_a_part_of_an_account_that_cannot_be_drawn_is_a_note(finished: Run) -> None:
    """An extractor is anybody's."""
    cell: Any = object()
    parts = (Facts("Odd", ("a",), ((cell,),)), Matrix("Bad", ("a", "b"), ((1,),)), Facts("Good", ("a",), ((1,),)))
    html = page(replace(gather(finished), account=Account(parts=parts)))
    assert html.count("cannot be drawn") == 2
    assert "<h3>Good</h3>" in html


def test_a_sample_between_missing_ones_is_drawn() -> None:
    html = str(trace(Trace("II", "mV", 3.0, (None, 1.0, None, 2.0, 3.0))))
    (drawn,) = re.findall(r'class="trace" d="([^"]*)"', html)
    assert re.findall("[A-Zh]", drawn) == ["M", "h", "M", "h", "L"]


def test_the_page_tells_of_each_part(finished: Run) -> None:
    html = page(gather(finished, extractor=finished.extractor))
    assert "58 tasks done" in html
    for words in ("Is the data plausible?", "What failed", "Where the time went", "What it is", "Make it again"):
        assert words in html


@pytest.mark.parametrize(
    ("edges", "counts", "shown"),
    [
        ((-0.5, 0.5), (9,), ["0"]),
        ((-0.53, 0.47), (9,), ["-0.03000"]),
        ((-0.5, 0.5, 1.5, 2.5), (1, 0, 3), ["0", "2"]),
        ((0.5, 1.25, 2.0), (1, 3), ["0.5000", "2"]),
    ],
)
def test_the_ends_of_a_histogram_are_values(edges: Any, counts: Any, shown: list[str]) -> None:
    html = str(bars(Histogram(edges, counts, 0, 0)))
    (ends,) = re.findall(r'<div class="edges" aria-hidden="true">(.*?)</div>', html)
    assert re.findall(r"<span>(.*?)</span>", ends) == shown


def test_no_more_cores_are_at_work_than_there_are(finished: Run) -> None:
    found = gather(finished)
    line = {"width": 1.0, "busy": [1.7, 0.5], "shards": []}
    html = page(replace(found, options={**found.options, "cores": 1}, timings={**found.timings, "timeline": line}))
    assert "Cores at work over 2.0 s: at most 1" in html
    assert "1.700" not in html


def test_the_work_of_an_update_is_what_it_did(finished: Run) -> None:
    found = gather(finished)
    line = {"width": 1.0, "busy": [60.0, 65.0], "shards": []}
    counts = {**found.counts, "reused": 3}
    update = replace(found, counts=counts, timings={**found.timings, "timeline": line})
    html = page(update)
    assert "<dt>Work of all cores</dt><dd>2 min 05 s</dd>" in html
    assert "Read by a core at work" not in html
    assert "Read by a core at work" in page(found)


def test_waits_in_a_queue_are_drawn_before_the_work(finished: Run) -> None:
    found = gather(finished)
    line = {"width": 50.0, "busy": [25.0, 50.0], "shards": [[0, 20.0, 60.0], [1, 90.0, 100.0]], "waited": [[1, 65.0]]}
    html = page(replace(found, timings={**found.timings, "timeline": line}))

    (wait,) = re.findall(r'<rect class="bar wait"[^>]*>.*?</rect>', html)
    assert 'x="25.000%"' in wait
    assert 'width="65.000%"' in wait
    assert "Shard 1: waited 1 min 05 s for a machine" in wait
    assert "Pale: from when it was seen waiting" in html
    assert (
        "bar wait"
        not in page(replace(found, timings={**found.timings, "timeline": {**line, "waited": []}})).partition(
            "</style>"
        )[2]
    )


def test_what_was_expected_stands_beside_what_it_took(finished: Run) -> None:
    found = gather(finished)
    bill = {"jobs": 3, "usd": 4.62, "instance_seconds": {"ml.m5.large": 7200.0}}
    timings = {**found.timings, "timeline": {"width": 1.0, "busy": [1.0, 2.0], "shards": [], "waited": [[0, 90.0]]}}
    elsewhere = replace(
        found,
        backend={"name": "x", "billed": bill, "expected": {"seconds": 3600.0, "usd": 5.0, "machines_usd": 4.5}},
        timings=timings,
    )
    html = page(elsewhere)
    assert "in 3 jobs, $4.62" in html
    assert "Expected and got" in html
    assert "$5.00" in html
    assert "2 h 00 min" in html
    assert "1 min 30 s on average of the only one that waited, 1 min 30 s at most" in html
    rows = cells(html, "Expected and got")
    assert rows["Cost of the machines"] == ["$4.50", "$4.62"]
    assert rows["Cost with volumes, requests and network"] == ["$5.00", NOTHING]  # which nobody is told
    assert "Expected and got" not in page(found)


@pytest.mark.parametrize(
    ("scratch", "told"),
    [
        (
            {"folder": "/tmp", "total_bytes": 30_000_000_000, "free_bytes": 28_000_000_000},
            "The smallest scratch space: /tmp, 30.0 GB, 28.0 GB of it free when its job began.",
        ),
        ({"folder": "<b>", "total_bytes": 30_000_000_000}, "The smallest scratch space: &lt;b&gt;, 30.0 GB."),
        ({"folder": "/tmp", "total_bytes": "much"}, None),
        (None, None),
    ],
)
def test_the_size_of_the_scratch_space_is_told_of_machines(
    finished: Run, scratch: dict[str, Any] | None, told: str | None
) -> None:
    bill = {"jobs": 3, "usd": 4.62, "instance_seconds": {"ml.m5.large": 7200.0}}
    html = page(replace(gather(finished), backend={"name": "x", "billed": bill, "scratch": scratch}))
    assert "3 jobs, as billed time says." in html
    assert (told in html) if told else ("scratch space" not in html)


def test_what_a_batch_system_was_expected_to_take(finished: Run) -> None:
    found = gather(finished)
    expected = {"seconds": 60.0, "work_seconds": 7200.0}
    shown = replace(found, backend={"name": "slurm", "expected": expected}, timings={"last_start_seconds": 90.0})
    work = seconds_text(sum(shard.seconds or 0.0 for shard in found.shards))
    assert cells(page(shown), "Expected and got") == {
        "Time": ["1 min 00 s", "1 min 30 s"],
        "Work of all cores": ["2 h 00 min", work],
    }
    later = replace(shown, timings={"last_start_seconds": 90.0, "starts": 2}, counts={**found.counts, "reused": 1})
    rows = cells(page(later), "Expected and got")
    assert rows["Time, of the last start alone"] == ["1 min 00 s", "1 min 30 s"]
    assert rows["Work of all cores"] == ["2 h 00 min", NOTHING]


def cells(html: str, title: str) -> dict[str, list[str]]:
    """The rows of a table of the page, by their first cells."""
    part = html.split(f">{title}</h3>")[1].split("</table>")[0].split("<tbody>")[1]
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in part.split("<tr>")[1:]]
    found = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in rows]
    return {row[0]: row[1:] for row in found}


def test_after_an_update_it_tells_what_was_made_and_what_is_reused(tree: TreeWriter, tmp_path: Path) -> None:
    extractor = tmp_path / "count.py"
    extractor.write_text(COUNT)
    options: dict[str, Any] = {"extractor": f"{extractor}:count", "unit": "file", "jobs": 1}
    files = {f"{group}/{at}.txt": b"x" * at for group in "abc" for at in range(3)}
    scaledproc.run(tree(files), tmp_path / "out", **options)
    dataset = tree({"b/9.txt": b"xx", "d/1.txt": b"x"})
    run = scaledproc.run(dataset, tmp_path / "out", update=True, **options)
    assert run.record.timings["timeline"]["of"] == "todo"
    html = page(gather(run))
    assert "Shards made now: 3; of an earlier run&#39;s rows: 0,2; of both: 1." in html
    rows = cells(html, "Shards")
    assert {shard: rows[shard][1:3] for shard in rows} == {
        "0": ["3", "3"],
        "1": ["4", "3"],
        "2": ["3", "3"],
        "3": ["1", "0"],
    }
    assert "What the update did, over time" in html
    assert "Cores at work" in html


def test_an_update_with_nothing_to_do_has_a_report_too(tree: TreeWriter, tmp_path: Path, cli: Cli) -> None:
    """No task was timed then."""
    extractor = tmp_path / "count.py"
    extractor.write_text(COUNT)
    options: dict[str, Any] = {"extractor": f"{extractor}:count", "unit": "file", "jobs": 1}
    dataset = tree({f"{group}/{at}.txt": b"x" for group in "ab" for at in range(3)})
    scaledproc.run(dataset, tmp_path / "out", **options)
    shutil.rmtree(dataset / "b")
    run = scaledproc.run(dataset, tmp_path / "out", update=True, **options)
    assert (run.record.counts["tasks"], run.record.counts["reused"]) == (3, 3)
    assert "3 tasks done" in page(gather(run))
    done = cli("show", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "3 tasks, 3 rows" in done.stdout


def test_row_groups_of_tasks_that_are_all_reused(tree: TreeWriter, tmp_path: Path) -> None:
    extractor = tmp_path / "count.py"
    extractor.write_text(COUNT)
    options: dict[str, Any] = {"extractor": f"{extractor}:count", "unit": "file", "jobs": 1}
    scaledproc.run(tree({f"a/{at}.txt": b"x" for at in range(4)}), tmp_path / "out", **options)
    run = scaledproc.run(tree({"b/new.txt": b"x"}), tmp_path / "out", update=True, **options)
    tasks = run.tasks()
    pq.write_table(tasks, tmp_path / "out/tasks.parquet", row_group_size=2)
    assert pq.ParquetFile(tmp_path / "out/tasks.parquet").num_row_groups == 3
    found = gather(run)
    assert found.tasks is not None
    assert [each.anchor for each in found.tasks.slowest] == ["b/new.txt"]
    assert [each["anchor"] for each in scaledproc.show(tmp_path / "out").slowest] == ["b/new.txt"]


SEVERAL = """
import pyarrow as pa
import scaledproc

@scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", unit="file", tables={"more": pa.schema({"m": pa.int64()})})
def several(task):
    yield {"n": 1}
    yield from (scaledproc.rows("more", {"m": at}) for at in range(5))
"""


def test_rows_of_further_tables_are_no_surprise(tree: TreeWriter, tmp_path: Path, cli: Cli) -> None:
    """A shard's file has the rows of all tables."""
    extractor = tmp_path / "several.py"
    extractor.write_text(SEVERAL)
    done = cli("run", tree({"a.txt": b"x", "b.txt": b"x"}), tmp_path / "out", "--extractor", f"{extractor}:several")
    assert done.returncode == 0, done.stderr
    assert f"a further table: {tmp_path}/out/more.parquet (10 rows)" in done.stdout + done.stderr
    html = page(gather(Run.open(tmp_path / "out")))
    assert "the shards have" not in html
    assert "something is missing" not in html
    assert "more.parquet: 10 rows" in cli("show", tmp_path / "out").stdout
