"""What is said of a run, and what to worry about."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from scaledproc.extractors.account import DOUBTFUL, SERIOUS, SMALL, Account, Worry
from scaledproc.reporting.report.findings import Column, Findings, Messages, ShardRow, Table, Tasks
from scaledproc.reporting.report.page import page
from scaledproc.reporting.report.sentence import amount_text, sentence, worries
from scaledproc.reporting.report.times import times_part

COUNTS = {"tasks": 43_012, "rows": 3_100_000, "quarantined": 12, "shards": 1, "files": 1, "units": 1, "chunks": 1}


def findings(**changes: Any) -> Findings:
    """Those of a large run whose files agree."""
    tasks = Tasks(43_012, 3_100_000, {"done": 43_000, "quarantined": 12}, 0, (), 0, 1.0, None, None, (), None)
    made = Findings(
        output="/out",
        state="done",
        made="2026-01-01 00:00 UTC",
        version="1",
        plan_id="0" * 32,
        dataset="/data",
        extractor={"label": "x", "spec": "x", "options": {}, "fingerprint": {}},
        options={"cores": 4},
        versions={},
        counts=COUNTS,
        bytes={"input": 10, "features": 10},
        timings={"last_start_seconds": 3120.0, "starts": 1},
        backend={"name": "local"},
        shards=(ShardRow(0, 43_012, 3_100_000, 12, 10, 1.0),),
        tables=(Table("features.parquet", 3_100_000, 1, ()),),
        tasks=tasks,
        failures=Messages(total=12),
    )
    return replace(made, **changes)


def test_the_sentence_is_one_that_a_person_would_say() -> None:
    billed = {"name": "sagemaker", "billed": {"jobs": 10, "usd": 4.62, "instance_seconds": {}}}
    assert sentence(findings(backend=billed)) == (
        "43,000 tasks done, 12 quarantined, 3.1 million rows, 52 min in 10 jobs, $4.62; "
        "the counts and the lengths of the files agree."
    )
    assert "52 min on 4 cores; the counts" in sentence(findings())


def test_a_batch_system_tells_its_jobs() -> None:
    """run.json has how many jobs the shards were dealt to, and the cores of each."""
    cluster = {
        "name": "slurm",
        "settings": {"cores": 4},
        "expected": {"seconds": 60.0, "work_seconds": 1.0, "jobs": 10},
    }
    assert "52 min in 10 jobs of 4 cores; the counts" in sentence(findings(backend=cluster))


def test_the_cores_of_one_job_are_not_those_of_a_run_with_many() -> None:
    """run.json has the cores of a job of a cluster, and not how many jobs were at work at once."""
    cluster = findings(backend={"name": "slurm", "settings": {"cores": 4}})
    assert "52 min; the counts" in sentence(cluster)
    assert "Not at work" not in str(times_part(cluster))
    assert "Not at work, of 4 cores" in str(times_part(findings()))


def test_of_an_unfinished_run_it_says_how_far_it_is() -> None:
    shards = (ShardRow(0, 100, 7, 1, 10, 1.0), ShardRow(1, 5, 1, 0, 1, None, "running"))
    found = findings(state="running", shards=shards, tables=(), tasks=None, failures=Messages())
    assert sentence(found) == "104 of 43,012 tasks done, 1 quarantined, 8 rows; still running."
    assert worries(replace(found, state="stopped"))[0].weight == SERIOUS


def test_what_weighs_most_comes_first() -> None:
    told = Account(worries=(Worry(SMALL, "small"), Worry(SERIOUS, "serious"), Worry(DOUBTFUL, "doubtful")))
    found = worries(findings(account=told))
    assert [each.text for each in found if each.text in ("small", "serious", "doubtful")] == [
        "serious",
        "doubtful",
        "small",
    ]
    assert [each.weight for each in found] == sorted((each.weight for each in found), reverse=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": {**COUNTS, "rows": 7}}, "The table has 3,100,000 rows, run.json tells of 7."),
        ({"counts": {**COUNTS, "tasks": 7}}, "tasks.parquet has 43,012 tasks, run.json 7."),
        ({"failures": Messages(total=11)}, "errors.parquet 11."),
        ({"problems": ("gone",)}, "gone"),
        ({"shards": ()}, "The tasks gave 3,100,000 rows, the shards have 0."),
    ],
)
def test_files_that_do_not_agree_are_serious(changes: dict[str, Any], words: str) -> None:
    found = findings(**changes)
    assert any(words in each.text for each in worries(found) if each.weight == SERIOUS)
    assert "something is missing" in sentence(found)


def test_amounts_are_said_as_one_says_them() -> None:
    assert [amount_text(each) for each in (0, 4300, 999_999, 3_100_000, 2_000_000, 1_500_000_000)] == [
        *("0", "4,300", "999,999", "3.1 million", "2 million", "1.5 billion"),
    ]


def test_columns_without_a_value_are_told_those_of_nan_alone_too() -> None:
    columns = (
        Column("null", "double", nulls=9),
        Column("nan", "double", nulls=1, nans=8, is_empty=True),
        Column("far", "double", nulls=0, infinite=2),
        Column("good", "double", nulls=1, nans=1),
    )
    for read, words in ((9, "no value at all, only NaN"), (5, "no value in the rows that were read")):
        texts = [each.text for each in worries(findings(tables=(Table("t", 9, read, columns),)))]
        assert "1 column of t has no value at all: null." in texts
        assert f"1 column of t has {words}: nan." in texts
        assert "1 column of t has infinite values: far." in texts


@pytest.mark.parametrize(
    ("count", "words"), [(1, "The only task failed, no rows, 3.0 s"), (7, "All 7 tasks failed, no rows, 3.0 s")]
)
def test_a_run_whose_tasks_all_failed_looks_like_one(count: int, words: str) -> None:
    found = findings(
        counts={**COUNTS, "tasks": count, "rows": 0, "quarantined": count},
        tables=(Table("features.parquet", 0, 0, ()),),
        tasks=Tasks(count, 0, {"quarantined": count}, 0, (), 0, 1.0, None, None, (), None),
        failures=Messages(total=count),
        shards=(ShardRow(0, count, 0, count, 10, 1.0),),
        timings={"last_start_seconds": 3.0},
    )
    assert sentence(found).startswith(words)
    html = page(found)
    assert '<span class="state failed">failed</span>' in html
    assert "state done" not in html.partition("</style>")[2]
    assert '<span class="state done">finished</span>' in page(findings())


def test_done_means_the_same_before_the_end_and_after_it() -> None:
    shards = (ShardRow(0, 43_012, 3_100_000, 12, 10, 1.0),)
    before = findings(state="running", shards=shards, tables=(), tasks=None)
    assert "43,000 of 43,012 tasks done, 12 quarantined" in sentence(before)
    assert "43,000 tasks done, 12 quarantined" in sentence(findings())
    for found in (before, findings()):
        assert "<dt>Tasks done</dt><dd>43,000 / 43,012</dd>" in page(found)


def test_one_is_not_several() -> None:
    tasks = Tasks(1, 1, {"done": 1}, 1, ("a",), 1, 1.0, None, None, (), None)
    found = findings(counts={**COUNTS, "tasks": 1, "rows": 2, "quarantined": 1}, tasks=tasks, shards=())
    for each in worries(found):
        assert not re.search(r"\b1 (tasks|rows|shards|columns|warnings)\b", each.text), each.text
