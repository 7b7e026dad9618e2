"""Files of the dataset that an extractor declares for all its tasks: at hand on every backend, and part of the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processing_emulator import ProcessingEmulator
from support import SAGEMAKER, Bucket, TreeWriter

import scaledproc
from scaledproc import api
from scaledproc.errors import OtherPlanError
from scaledproc.storage.store import Store
from scaledproc.testing import output_bytes

READER = """
import os
import scaledproc

SCHEMA = {"path": "string", "label": "string"}

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt", reads=["meta/labels.csv"], env=["MODEL"])
def read(task):
    labels = dict(line.split(",") for line in task.shared("meta/labels.csv").read_text().split())
    return {"path": task.anchor, "label": labels[task.path.stem] + os.environ.get("MODEL", "")}
"""
FILES = {
    "meta/labels.csv": b"a,one\nb,two\nc,three\nd,four\n",
    "meta/labels.csv.old": b"",
    "30/a.txt": b"1",
    "30/b.txt": b"22",
    "31/c.txt": b"333",
    "31/d.txt": b"4444",
}
LABELS = ["one", "two", "three", "four"]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "reader.py").write_text(READER)
    return f"{tmp_path}/reader.py:read"


def labels(run: scaledproc.Run) -> list[str]:
    found: list[str] = run.to_arrow()["label"].to_pylist()
    return found


def test_on_local_disks(tree: TreeWriter, spec: str, tmp_path: Path) -> None:
    data = tree(FILES)
    run = scaledproc.run(data, tmp_path / "out", extractor=spec, jobs=1)
    assert labels(run) == LABELS
    assert run.record.counts["files"] == 4, "a declared file is of no unit"
    assert api.verify(tmp_path / "out").ok
    (data / "meta/labels.csv").touch()
    scaledproc.run(data, tmp_path / "out", extractor=spec, jobs=1)
    (data / "meta/labels.csv").write_bytes(b"a,eno\nb,two\nc,three\nd,four\n")
    with pytest.raises(OtherPlanError, match=r"meta/labels.csv changed\n.*\n  --update does 4 of 4 tasks") as caught:
        scaledproc.run(data, tmp_path / "out", extractor=spec, jobs=1)
    assert [(each["kind"], each["name"]) for each in caught.value.differences] == [
        ("reads", "meta/labels.csv"),
        ("update", ""),
    ]


def test_filters_do_not_leave_it_out_and_it_starts_no_task(tree: TreeWriter, spec: str, tmp_path: Path) -> None:
    data = tree(FILES)
    assert labels(scaledproc.run(data, tmp_path / "out", extractor=spec, include=["30/*"], jobs=1)) == LABELS[:2]
    made = scaledproc.plan(data, extractor=spec, anchor=["*.txt", "*.csv"], unit="file")
    assert made.n_tasks == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.csv", "has no such file"),
        ("meta", "has no such file"),
        ("../reader.py", "relative to the dataset's root"),
        ("/etc/passwd", "relative to the dataset's root"),
        ("meta//labels.csv", "relative to the dataset's root"),
        ("", "relative to the dataset's root"),
        ("link.csv", "has no such file"),
    ],
)
def test_what_is_not_there_is_refused(tree: TreeWriter, tmp_path: Path, name: str, words: str) -> None:
    data = tree(FILES)
    (tmp_path / "secret").write_text("x")
    (data / "link.csv").symlink_to(tmp_path / "secret")
    wants = scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt", reads=name)(lambda task: {"v": 1})
    with pytest.raises(scaledproc.UsageError, match=rf"declares that it reads .*{words}"):
        scaledproc.plan(data, extractor=wants)
    with pytest.raises(scaledproc.UsageError, match="declares that it reads"):
        scaledproc.run(data, tmp_path / "out", extractor=wants, jobs=1)
    assert not (tmp_path / "out").exists()


def test_what_is_not_declared_is_not_found(tree: TreeWriter, tmp_path: Path) -> None:
    @scaledproc.extractor(schema={"v": "int64"}, anchor="30/a.txt", reads=["meta/labels.csv"])
    def other(task: Any) -> dict[str, int]:
        return {"v": len(task.shared("31/c.txt").read_text())}

    run = scaledproc.run(tree(FILES), tmp_path / "out", extractor=other, jobs=1)
    assert "'31/c.txt' is not declared" in run.errors()["message"][0].as_py()


def test_by_a_class(tree: TreeWriter, tmp_path: Path) -> None:
    import pyarrow as pa

    class Labels(scaledproc.Extractor):
        name = "labels"
        anchors = ("*.txt",)
        reads = ("meta/labels.csv",)

        @property
        def schema(self) -> pa.Schema:
            return pa.schema([("label", pa.int64())])

        def extract(self, task: Any) -> dict[str, int]:
            return {"label": task.shared("meta/labels.csv").stat().st_size}

    run = scaledproc.run(tree(FILES), tmp_path / "out", extractor=Labels(), jobs=1)
    assert set(run.to_arrow()["label"].to_pylist()) == {len(FILES["meta/labels.csv"])}


def test_changed_between_the_plan_and_the_work(tree: TreeWriter, spec: str, tmp_path: Path) -> None:
    data = tree(FILES)

    def change(event: object) -> None:
        if isinstance(event, scaledproc.events.RunStarted):
            (data / "meta/labels.csv").write_bytes(b"a,x\n")

    with pytest.raises(scaledproc.ScaledprocError, match=r"meta/labels.csv, which the extractor reads, changed"):
        scaledproc.run(data, tmp_path / "out", extractor=spec, jobs=1, on_event=change)


def upload(s3: Bucket, prefix: str) -> str:
    for name, content in FILES.items():
        s3.fs.pipe_file(f"{s3.name}/{prefix}/{name}", content)
    return s3.url(prefix)


def test_staged_from_memory(memory: str, spec: str) -> None:
    for name, content in FILES.items():
        Store.at(f"{memory}/data").write(name, content)
    assert labels(scaledproc.run(f"{memory}/data", f"{memory}/out", extractor=spec, jobs=1)) == LABELS


@pytest.mark.slow
def test_staged_from_s3(s3: Bucket, tree: TreeWriter, spec: str, tmp_path: Path) -> None:
    where = upload(s3, "shared/staged")
    run = scaledproc.run(where, tmp_path / "s3", extractor=spec, jobs=2, storage_options=s3.storage_options)
    here = scaledproc.run(tree(FILES), tmp_path / "here", extractor=spec, jobs=1)
    assert labels(run) == LABELS
    assert run.record.plan_id == here.record.plan_id, "wherever the dataset lies"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"input_mode": "stage"},
        {"input_mode": "file"},
        {"input_mode": "sharded-by-key", "unit": "file", "instances": 2},
    ],
    ids=["staged", "file", "by key"],
)
def test_on_sagemaker(
    emulator: ProcessingEmulator,
    s3: Bucket,
    tree: TreeWriter,
    spec: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    name = "-".join(map(str, changes.values()))
    where = upload(s3, f"shared/{name}/data")
    monkeypatch.setenv("MODEL", "!")
    options = {key: changes.pop(key) for key in ("shards", "unit") if key in changes}
    settings = {**SAGEMAKER, **changes}

    def run(**more: Any) -> scaledproc.Run:
        out = s3.url(f"shared/{name}/out")
        return scaledproc.run(
            where, out, extractor=spec, backend="sagemaker", jobs=1, settings={**settings, **more}, **options
        )

    with pytest.raises(scaledproc.UsageError, match=r"environment variable MODEL.*--env MODEL=VALUE"):
        run()
    done = run(env=("MODEL=!",))
    assert labels(done) == [f"{label}!" for label in LABELS]
    here = scaledproc.run(tree(FILES), tmp_path / "here", extractor=spec, jobs=1, **options)
    assert output_bytes(done.store) == output_bytes(here.store)


EDITS = """
import os
import scaledproc

@scaledproc.extractor(schema={"path": "string", "label": "string"}, anchor="*.txt", reads=["meta/labels.csv"])
def read(task):
    path = task.shared("meta/labels.csv")
    if task.path.stem == "b":
        edit(path)
    labels = dict(line.split(",") for line in path.read_text().split())
    return {"path": task.anchor, "label": labels[task.path.stem]}

def edit(path):
    WAY
"""
REWRITE = 'path.write_bytes(path.read_bytes().replace(b"o", b"0"))'
REPLACE = 'path.with_suffix(".n").write_text("a,x"); path.with_suffix(".n").replace(path)'


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("way", [REWRITE, REPLACE, "path.unlink()"], ids=["rewritten", "replaced", "gone"])
def test_edited_while_the_run_is_at_work(tree: TreeWriter, tmp_path: Path, way: str, jobs: int) -> None:
    data = tree(FILES)
    (tmp_path / "edits.py").write_text(EDITS.replace("WAY", way))
    spec = f"{tmp_path}/edits.py:read"
    with pytest.raises(scaledproc.ScaledprocError, match=r"meta/labels.csv, which the extractor reads, (was|cannot)"):
        scaledproc.run(data, tmp_path / "out", extractor=spec, jobs=jobs, chunk=1)
    assert not (tmp_path / "out/features.parquet").exists()
    with pytest.raises(scaledproc.UsageError, match=r"meta/labels.csv"):
        scaledproc.run(data, tmp_path / "out", extractor=spec, jobs=jobs, chunk=1)


def test_other_rights_of_it_do_no_harm(tree: TreeWriter, tmp_path: Path) -> None:
    (tmp_path / "edits.py").write_text(EDITS.replace("WAY", "path.chmod(0o600)"))
    run = scaledproc.run(tree(FILES), tmp_path / "out", extractor=f"{tmp_path}/edits.py:read", jobs=1)
    assert labels(run) == LABELS
