"""The page as a whole: one file, all texts of the data as text."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import Cli

import scaledproc
from scaledproc.reporting.report import report_html
from scaledproc.reporting.report.about import again, openings
from scaledproc.reporting.report.gather import gather
from scaledproc.reporting.report.page import page, with_trouble
from scaledproc.run_folder.run import Run


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


def test_the_command_makes_the_same_table_again(finished: Run, cli: Cli, tmp_path: Path) -> None:
    command = again(gather(finished))
    words = shlex.split(command)
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
    assert again(elsewhere).startswith("scaledproc run --backend local ")


def test_trouble_of_a_page_that_is_watched_stands_on_it(finished: Run) -> None:
    html = with_trouble(report_html(finished, live="/token/"), "This page is not up to date: <gone>")
    assert "This page is not up to date: &lt;gone&gt;" in html


def test_the_ways_to_open_the_table_work(finished: Run) -> None:
    ways = openings(gather(finished))
    for name in ("Python", "pandas", "polars"):
        scope: dict[str, object] = {}
        exec(ways[name], scope)  # what the page tells a person to type
    assert re.search(r"read_parquet\('.*/features.parquet'\);", ways["DuckDB"])


def test_the_page_tells_of_each_part(finished: Run) -> None:
    html = page(gather(finished, extractor=finished.extractor))
    assert "58 tasks done" in html
    for words in ("Is the data plausible?", "What failed", "Where the time went", "What it is", "Make it again"):
        assert words in html


def test_what_was_expected_stands_beside_what_it_took(finished: Run) -> None:
    found = gather(finished)
    bill = {"jobs": 3, "usd": 4.62, "instance_seconds": {"ml.m5.large": 7200.0}}
    timings = {**found.timings, "timeline": {"width": 1.0, "busy": [1.0, 2.0], "shards": [], "waited": [[0, 90.0]]}}
    elsewhere = replace(
        found, backend={"name": "x", "billed": bill, "expected": {"seconds": 3600.0, "usd": 5.0}}, timings=timings
    )
    html = page(elsewhere)
    assert "in 3 jobs, $4.62" in html
    assert "Expected and got" in html
    assert "$5.00" in html
    assert "2 h 00 min" in html
    assert "1 min 30 s on average" in html
    assert "Expected and got" not in page(found)
