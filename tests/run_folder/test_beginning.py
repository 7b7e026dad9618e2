"""What is done with what is in the folder of a run, and what a run that begins leaves of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import forget_memory

from scaledproc import Task, UsageError, extractor
from scaledproc.errors import OtherPlanError
from scaledproc.planning.inventory import Inventory
from scaledproc.planning.partition import ShardCut
from scaledproc.planning.plan import Plan, make_plan
from scaledproc.run_folder import beginning
from scaledproc.run_folder.beginning import begin, decide
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import INVENTORY, OWN_FILES, PLAN, RECORD, names_around
from scaledproc.run_folder.record import RunRecord, read_record
from scaledproc.storage.store import Store

ONE, OTHER = f"1234567890ab{'0' * 52}", f"ba0987654321{'0' * 52}"


@extractor(schema={"n": "int64"}, anchor="*.txt")
def numbers(task: Task) -> dict[str, int]:
    return {"n": 1}


def record_of(state: Any = "running", plan_id: str = ONE, shards: int = 2, **more: Any) -> RunRecord:
    extractor = {"spec": "x:y", "options": {}, "fingerprint": {}, **more.pop("extractor", {})}
    options = {"shards": "1", "chunk": "1", "unit": "folder", **more.pop("options", {})}
    counts = {"shards": shards, "tasks": 0, "rows": 0, "quarantined": 0}
    return RunRecord(state, plan_id, "memory://data", extractor, options, {}, counts, **more)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("names", [[], [".hidden"], ["lease.json"], [".nfs1", "lease.json"]])
def test_a_folder_without_files_is_begun_in(names: Sequence[str], *, overwrite: bool) -> None:
    assert decide(None, ONE, names, overwrite=overwrite) == "begin"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["thesis.tex"], r"^it holds other files \('thesis.tex'\); name"),
        (["work", ".x", "lease.json"], r"\('work'\); name"),  # no run claimed the folder
        (["features.parquet"], r"\('features.parquet'\); name"),
        (["a", "b", "c"], r"\('a', 'b', 'c'\); name a new or empty folder$"),
        (["a", "b", "c", "d"], r"\('a', 'b', 'c', …\); name"),
    ],
)
def test_a_folder_of_other_files_is_refused_whatever_is_asked(
    names: Sequence[str], told: str, *, overwrite: bool
) -> None:
    with pytest.raises(UsageError, match=told):
        decide(None, ONE, names, overwrite=overwrite)


def test_a_damaged_record_is_begun_anew() -> None:
    assert decide(None, ONE, [RECORD, "thesis.tex"], overwrite=True) == "begin"
    assert decide(None, ONE, [RECORD], overwrite=False) == "begin"


@pytest.mark.parametrize(("state", "decision"), [("running", "continue"), ("done", "finished"), ("beginning", "begin")])
def test_a_run_of_the_plan_goes_on_where_it_is(state: Any, decision: str) -> None:
    assert decide(record_of(state), ONE, [RECORD, "plan.parquet"], overwrite=False) == decision
    assert decide(record_of(state), ONE, [RECORD], overwrite=True) == "begin"
    assert decide(record_of(state), ONE, ["thesis.tex"], overwrite=False) == decision  # a listing lags behind


@pytest.mark.parametrize("state", ["running", "done"])
def test_a_run_of_another_plan_is_refused_unless_it_may_go(state: Any) -> None:
    with pytest.raises(OtherPlanError, match=r"holds the run of another plan \(ba0987654321; this is 1234567890ab\)"):
        decide(record_of(state, OTHER), ONE, [RECORD], overwrite=False)
    assert decide(record_of(state, OTHER), ONE, [RECORD], overwrite=True) == "begin"
    # Of one that had no plan yet, there is nothing to lose.
    assert decide(record_of("beginning", OTHER), ONE, [RECORD], overwrite=False) == "begin"


# How one begins


@pytest.fixture
def elsewhere() -> Iterator[Store]:
    forget_memory()
    yield Store.at("memory://begin/out")
    forget_memory()


def plan_of(units: int = 2) -> Plan:
    paths = [f"{unit}/{name}.txt" for unit in range(units) for name in "ab"]
    table = pa.table(
        {
            "path": pa.array(paths, pa.large_string()),
            "size": pa.array([1] * len(paths), pa.int64()),
            "version": pa.array([""] * len(paths), pa.string()),
        }
    )
    return make_plan(Inventory(table), numbers, shards=ShardCut.parse("folder"))


def run_in(store: Store, plan: Plan) -> RunFolder:
    found = record_of(plan_id=plan.plan_id, shards=plan.n_shards)
    return RunFolder(store, Store.at("memory://data"), numbers, found)


def files_of(store: Store, folder: str = "") -> set[str]:
    return {name for name in store.names(folder) if not name.startswith(".")}


def write(store: Store, *names: str) -> None:
    for name in names:
        store.write(name, b"earlier")


WRITTEN = ("features.parquet", "errors.parquet", "means.csv", "words.parquet", "shards/00000.parquet", "logs/00004.log")
OF_USER = ("notes.txt", "shards/notes.txt", "mine.csv")


def test_a_run_begins_in_an_empty_folder(tmp_path: Path) -> None:
    store, plan = Store.at(tmp_path / "out"), plan_of()
    begun = begin(run_in(store, plan), plan)
    assert files_of(store) == {RECORD, PLAN, INVENTORY}
    assert begun.plan is plan
    assert store.read(RECORD).decode() == begun.record.to_json()
    assert (begun.record.state, begun.record.replaces) == ("running", {})
    assert begun.record.digests.keys() == {PLAN, INVENTORY}
    again = begin(run_in(store, plan), plan)
    assert again.record.beginning not in ("", begun.record.beginning)


def earlier_run(store: Store, **more: Any) -> None:
    write(store, *WRITTEN, *OF_USER, "work/00000/x.parquet", "work/done/00000", "work/mine.txt")
    words = {"summaries": ["means"], "extractor": {"tables": ["words"]}, "shards": 5, **more}
    store.write(RECORD, record_of("done", OTHER, **words).to_json().encode())


def test_an_earlier_run_on_disk_goes_and_nothing_else(tmp_path: Path) -> None:
    store, plan = Store.at(tmp_path / "out"), plan_of()
    earlier_run(store, options={"table": "dataset"})
    write(store, "features/part-00000.parquet", "words/part-00001.parquet", "words/notes.txt", *OWN_FILES - {RECORD})
    begun = begin(run_in(store, plan), plan)
    assert files_of(store) == {RECORD, PLAN, INVENTORY, "notes.txt", "mine.csv", "shards", "words", "work"}
    assert (files_of(store, "shards"), files_of(store, "words")) == ({"notes.txt"}, {"notes.txt"})
    assert files_of(store, "work") == {"mine.txt"}
    assert begun.record.replaces == {}


def test_folders_that_no_earlier_run_made_are_kept(tmp_path: Path) -> None:
    store, plan = Store.at(tmp_path / "out"), plan_of()
    earlier_run(store)
    write(store, "features/part-00000.parquet")
    begin(run_in(store, plan), plan)
    assert files_of(store, "features") == {"part-00000.parquet"}


def test_what_is_left_of_a_damaged_run_goes(tmp_path: Path) -> None:
    store, plan = Store.at(tmp_path / "out"), plan_of()
    earlier_run(store)
    write(store, RECORD, "features/part-00000.parquet")
    begun = begin(run_in(store, plan), plan)
    assert files_of(store) == {RECORD, PLAN, INVENTORY, "means.csv", "words.parquet", *OF_USER[::2], "shards", "work"}
    assert begun.record.replaces == {}


def test_an_earlier_run_elsewhere_stays_until_its_files_are_replaced(elsewhere: Store) -> None:
    plan = plan_of()
    earlier_run(elsewhere, replaces={"summaries": ["old"], "shards": 7, "tables": ["older"]})
    begun = begin(run_in(elsewhere, plan), plan)
    assert {"features.parquet", "means.csv", "words.parquet"} < files_of(elsewhere)
    assert files_of(elsewhere, "shards") == {"00000.parquet", "notes.txt"}
    assert files_of(elsewhere, "work") == {"mine.txt"}  # its chunks would count as this run's
    assert begun.record.replaces == {"summaries": ["means", "old"], "shards": 7, "tables": ["older", "words"]}
    assert elsewhere.read(RECORD).decode() == begun.record.to_json()


def test_until_the_plan_is_there_the_run_is_beginning(elsewhere: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of()
    earlier_run(elsewhere)
    monkeypatch.setattr(beginning, "write_plan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        begin(run_in(elsewhere, plan), plan)
    found = read_record(elsewhere)
    assert found is not None
    assert (found.state, found.replaces["shards"]) == ("beginning", 5)
    assert decide(found, OTHER, elsewhere.names(), overwrite=False) == "begin"


def test_what_an_earlier_run_leaves_is_told_as_far_as_there_is_any(elsewhere: Store) -> None:
    plan = plan_of()
    elsewhere.write(RECORD, record_of("done", shards=5).to_json().encode())
    assert begin(run_in(elsewhere, plan), plan).record.replaces == {"summaries": [], "shards": 5}
    for found in ({"options": {"table": "dataset"}}, {"replaces": {"summaries": [], "shards": 1, "folders": True}}):
        elsewhere.write(RECORD, record_of("done", shards=5, **found).to_json().encode())
        kept = begin(run_in(elsewhere, plan), plan).record.replaces
        assert kept == {"summaries": [], "shards": 5, "folders": True}
    elsewhere.write(RECORD, b"damaged")
    damaged = begin(run_in(elsewhere, plan), plan).record.replaces
    assert damaged == {"summaries": [], "shards": plan.n_shards, "folders": True}


@pytest.mark.parametrize("has_record", [False, True])
def test_runs_without_shards(elsewhere: Store, has_record: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(0)
    if has_record:
        elsewhere.write(RECORD, record_of("done", shards=0).to_json().encode())
    removed: list[str] = []
    monkeypatch.setattr(type(elsewhere), "lists_all", False)
    monkeypatch.setattr(type(elsewhere), "remove_files", lambda _, names: removed.extend(names))
    begin(run_in(elsewhere, plan), plan)
    assert (plan.n_shards, removed) == (0, [])


@pytest.mark.parametrize("shards", [1, 4])
def test_where_a_listing_lags_behind_files_of_both_runs_shards_are_removed_by_name(
    elsewhere: Store, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of()
    elsewhere.write(RECORD, record_of("done", shards=shards).to_json().encode())
    removed: list[str] = []
    monkeypatch.setattr(type(elsewhere), "lists_all", False)
    monkeypatch.setattr(type(elsewhere), "remove_files", lambda _, names: removed.extend(names))
    begin(run_in(elsewhere, plan), plan)
    assert plan.n_shards == 2
    assert removed == [name for shard in range(max(shards, 2)) for name in names_around(shard)]
