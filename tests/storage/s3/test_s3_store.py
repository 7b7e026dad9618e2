"""The same run with `s3://` in and out, on a real server."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from misbehaving_store import misbehaving
from support import COUNT, Bucket, Cli, tree_bytes

import scaledproc
from scaledproc.errors import ScaledprocError
from scaledproc.events import ChunkDone, Event, RunStarted
from scaledproc.extractors import Task, extractor
from scaledproc.run_folder.run import Run

BROKEN = "30/3000003/broken.hea"  # names a signal file that is not there


@extractor(schema={"path": "string", "content": "string"}, anchor="*.txt")
def content(task: Task) -> dict[str, str]:
    return {"path": task.anchor, "content": task.path.read_text()}


@dataclass(frozen=True)
class Case:
    """A dataset in a local folder and on S3, and what a local run of it writes."""

    local: Path
    remote: str
    expected: dict[str, bytes]


@pytest.fixture(scope="module")
def case(s3: Bucket, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    for name in ("30/3000003", "31/3100112"):
        shutil.copytree(demo / name, folder / "data" / name)
    (folder / "data" / BROKEN).write_text("broken 1 125 10\nabsent.dat 16 200 16 0 0 0 0 II\n")
    upload(s3, folder / "data", "dataset")
    scaledproc.run(folder / "data", folder / "out", jobs=1, chunk=4)
    expected = comparable(tree_bytes(folder / "out"))
    assert set(expected) > {"features.parquet", "errors.parquet", "signal_stats.csv", "shards/00001.parquet"}
    return Case(folder / "data", s3.url("dataset"), expected)


def upload(s3: Bucket, folder: Path, prefix: str) -> str:
    fs = s3.fs
    for name, data in tree_bytes(folder).items():
        fs.pipe_file(f"{s3.name}/{prefix}/{name}", data)
    return s3.url(prefix)


def texts(s3: Bucket, prefix: str, *, count: int = 6) -> str:
    """Upload a dataset of two folders with small texts."""
    fs = s3.fs
    for number in range(count):
        fs.pipe_file(f"{s3.name}/{prefix}/{'ab'[number % 2]}/{number}.txt", b"text %d" % number)
    return s3.url(prefix)


OWN = {"inventory.parquet", "run.json", "errors.log", "tasks.parquet", "report.html"}
"""What a run has of its own: etags, times, paths of a machine."""


def comparable(files: dict[str, bytes]) -> dict[str, bytes]:
    """What is the same wherever the dataset lies."""
    return {name: data for name, data in files.items() if name not in OWN}


def check_output(files: dict[str, bytes], case: Case) -> None:
    assert comparable(files) == case.expected
    assert OWN - {"report.html"} <= set(files) - set(case.expected) <= OWN
    assert json.loads(files["run.json"])["state"] == "done"


def on_start(action: Callable[[], None]) -> Callable[[Event], None]:
    """A listener that does something when the plan is made and no file is fetched yet."""

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted):
            action()

    return listen


class TestSameBytes:
    @pytest.mark.slow
    def test_s3_to_s3_by_environment(self, cli: Cli, s3: Bucket, case: Case, tmp_path: Path) -> None:
        output = s3.url("env/out")
        command = (case.remote, output, "--jobs", "2", "--chunk", "4", "--max-failures", "1", "--scratch", tmp_path)
        result = cli(*command, env=s3.server.environment())
        assert result.returncode == 0, result.stderr
        assert f"the table: {output}/features.parquet" in result.stdout
        check_output(s3.objects("env/out"), case)
        assert list(tmp_path.iterdir()) == []  # what was staged is gone
        again = cli(*command, env=s3.server.environment())
        assert "finished already" in again.stdout

    def test_s3_to_local_by_storage_options(self, cli: Cli, s3: Bucket, case: Case, tmp_path: Path) -> None:
        options = [f"--storage-option=input.{key}={value}" for key, value in s3.storage_options.items()]
        result = cli(case.remote, "out", "--jobs", "1", "--chunk", "4", *options)
        assert result.returncode == 3, result.stderr
        assert s3.server.secret not in result.stdout + result.stderr
        check_output(tree_bytes(tmp_path / "out"), case)

    def test_local_to_s3_in_python(self, s3: Bucket, case: Case) -> None:
        found = scaledproc.run(case.local, s3.url("local/out"), jobs=1, chunk=4, storage_options=s3.storage_options)
        check_output(s3.objects("local/out"), case)
        assert found.to_arrow().num_rows == found.record.counts["rows"] > 0
        assert found.errors()["anchor"].to_pylist() == [BROKEN]
        assert found.summary("signal_stats").num_rows > 0
        opened = Run.open(s3.url("local/out"), s3.storage_options)
        assert opened.to_arrow().equals(found.to_arrow())

    @pytest.mark.slow
    def test_combine_and_workers(self, cli: Cli, s3: Bucket, case: Case) -> None:
        output = s3.url("worker/out")

        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            scaledproc.run(
                case.remote,
                output,
                jobs=1,
                chunk=4,
                storage_options=s3.storage_options,
                on_event=on_start(stop),
            )
        environment = s3.server.environment()
        result = cli("worker", output, "--shard", "0", "--shard", "1", "--combine", "--jobs", "1", env=environment)
        assert result.returncode == 0, result.stderr
        assert comparable(s3.objects("worker/out")).items() >= case.expected.items()
        assert cli("combine", output, env=environment).returncode == 0
        check_output(s3.objects("worker/out"), case)


def test_no_secret_is_written(s3: Bucket, case: Case) -> None:
    options = {f"{side}.{key}": value for side in ("input", "output") for key, value in s3.storage_options.items()}
    scaledproc.run(case.remote, s3.url("secret/out"), jobs=1, storage_options=options)
    objects = s3.objects("secret/out")
    assert b"Traceback" in objects["errors.log"]
    for name, data in objects.items():
        assert s3.server.secret.encode() not in data, name
        assert s3.server.endpoint.encode() not in data, name


@pytest.mark.slow
def test_continues_after_an_interruption(s3: Bucket, case: Case) -> None:
    events: list[Event] = []

    def stop(event: Event) -> None:
        if isinstance(event, ChunkDone):
            raise KeyboardInterrupt

    options: dict[str, Any] = {"jobs": 1, "chunk": 4, "storage_options": s3.storage_options}
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(case.remote, s3.url("resume/out"), on_event=stop, **options)
    unfinished = s3.objects("resume/out")
    assert "features.parquet" not in unfinished
    assert [name for name in unfinished if name.startswith("work/")] != []
    scaledproc.run(case.remote, s3.url("resume/out"), on_event=events.append, **options)
    chunks = [event for event in events if isinstance(event, ChunkDone)]
    assert 1 <= sum(event.resumed for event in chunks) < len(chunks)
    check_output(s3.objects("resume/out"), case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "a/2.txt is gone since it was listed"),
        (b"longer than it was", "a/2.txt changed since it was listed"),
        (b"TEXT 2", "a/2.txt changed since it was listed"),
    ],
    ids=["vanishes", "changes size", "changes content"],
)
def test_object_that_changes_after_the_plan(s3: Bucket, tmp_path: Path, change: bytes | None, message: str) -> None:
    prefix = f"changes/{tmp_path.name}"
    dataset, fs, path = texts(s3, prefix), s3.fs, f"{s3.name}/{prefix}/a/2.txt"

    def act() -> None:
        if change is None:
            fs.rm_file(path)
        else:
            fs.pipe_file(path, change)

    run = scaledproc.run(
        dataset,
        tmp_path / "out",
        extractor=content,
        jobs=1,
        storage_options=s3.storage_options,
        on_event=on_start(act),
    )
    errors = run.errors().to_pylist()
    assert {row["unit"] for row in errors} == {"a"}  # its unit is not whole
    assert "a/2.txt" in [row["anchor"] for row in errors]
    assert {row["error"] for row in errors} == {"StagingError"}
    for row in errors:
        assert message in row["message"]
        assert "scaledproc-" not in row["message"]  # the scratch folder of this machine
    assert run.to_arrow()["path"].to_pylist() == ["b/1.txt", "b/3.txt", "b/5.txt"]


def test_odd_names(s3: Bucket, tmp_path: Path) -> None:
    names = ["a[1]/x.txt", "b*/x?.txt", "c d/é'\"+%41#.txt", "~/~.txt", "e/two\nlines.txt"]
    fs = s3.fs
    for name in names:
        fs.pipe_file(f"{s3.name}/odd [1]/{name}", name.encode())
    fs.pipe_file(f"{s3.name}/odd [1]/folder/", b"")  # a folder's marker, as S3's console makes it
    run = scaledproc.run(
        s3.url("odd [1]"), tmp_path / "out", extractor=content, jobs=1, storage_options=s3.storage_options
    )
    rows = run.to_arrow(columns=["anchor", "path", "content"]).to_pylist()
    assert rows == [{"anchor": name, "path": name, "content": name} for name in sorted(names)]


@pytest.mark.slow
def test_overwrite_touches_no_neighbour(s3: Bucket) -> None:
    dataset = texts(s3, "neighbours/data")
    options: dict[str, Any] = {"extractor": content, "jobs": 1, "storage_options": s3.storage_options}
    scaledproc.run(dataset, s3.url("neighbours/out1"), **options)
    before = s3.objects("neighbours/out1")
    for _ in range(2):
        scaledproc.run(dataset, s3.url("neighbours/out[1]"), overwrite=True, **options)
    assert s3.objects("neighbours/out1") == before
    assert comparable(s3.objects("neighbours/out[1]")) == comparable(before)


@pytest.mark.slow
def test_output_inside_the_dataset_is_not_read_again(s3: Bucket) -> None:
    dataset = texts(s3, "inside")
    options: dict[str, Any] = {"extractor": content, "anchor": "*", "jobs": 1, "storage_options": s3.storage_options}
    assert scaledproc.run(dataset, f"{dataset}/out", **options).to_arrow().num_rows == 6
    events: list[Event] = []
    scaledproc.run(dataset, f"{dataset}/out", on_event=events.append, **options)
    assert [type(event).__name__ for event in events] == ["RunFinished"]


# What goes wrong


def test_nothing_there(s3: Bucket, tmp_path: Path) -> None:
    for dataset in ("s3://no-such-bucket/x", s3.url("no-such-prefix")):
        with pytest.raises(ScaledprocError, match=r"no-such-\w+(/x)? does not exist"):
            scaledproc.run(dataset, tmp_path / "out", extractor=content, storage_options=s3.storage_options)
    assert not (tmp_path / "out").exists()


def test_output_bucket_that_does_not_exist_is_not_made(s3: Bucket) -> None:
    dataset = texts(s3, "bucketless")
    with pytest.raises(ScaledprocError, match="mistyped"):
        scaledproc.run(dataset, "s3://mistyped/out", extractor=content, jobs=1, storage_options=s3.storage_options)
    assert not s3.fs.exists("mistyped")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a dataset of one file and an extractor for it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/1.txt").write_text("1")
    (tmp_path / "count.py").write_text(COUNT)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "mistyped-secret"}, ("may not be",)),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ("redentials", "AWS_PROFILE")),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, ("127.0.0.1:9",)),
    ],
    ids=["wrong secret", "no credentials", "no server"],
)
@pytest.mark.parametrize("side", ["input", "output"])
def test_no_access(
    cli: Cli, s3: Bucket, project: Path, side: str, changes: dict[str, str], words: tuple[str, ...]
) -> None:
    environment = {**s3.server.environment(), "HOME": str(project), **changes}
    places = (texts(s3, "access/input"), "out") if side == "input" else ("data", s3.url("access/output"))
    result = cli(*places, "--extractor", "count.py:count", "--jobs", "1", env=environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"scaledproc: s3://{s3.name}/access/{side} ")
    assert all(word in result.stderr for word in words)
    assert "mistyped-secret" not in result.stderr
    assert not (project / "out").exists()
    assert s3.objects("access/output") == {}


@pytest.mark.slow
def test_small_chunks_of_small_units(s3: Bucket, tmp_path: Path) -> None:
    """Each chunk one small file: more of them are fetched ahead than there are cores."""
    dataset = texts(s3, "many-small", count=40)
    events: list[Event] = []
    run = scaledproc.run(
        dataset,
        tmp_path / "out",
        extractor=content,
        unit="file",
        jobs=1,
        chunk=1,
        scratch=tmp_path,
        storage_options=s3.storage_options,
        on_event=events.append,
    )
    assert run.to_arrow()["content"].to_pylist() == [
        f"text {path.partition('/')[2].removesuffix('.txt')}" for path in run.to_arrow()["path"].to_pylist()
    ]
    assert len([event for event in events if isinstance(event, ChunkDone)]) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@extractor(schema={"path": "string"}, anchor="*.txt")
def all_but_one(task: Task) -> dict[str, str]:
    if task.anchor == "b/3.txt":
        raise ValueError
    return {"path": task.anchor}


KINDS = {
    r"requests-out/work/\d+/\d+\.parquet": "chunk",
    r"requests-out/work/\d+/\d+\.errors\.parquet": "chunk's errors",
    r"requests-out/work/done/\d+\.json": "report",
    r"requests-out/work/done/\d+\.errors\.parquet": "shard's errors",
    r"requests-out/shards/\d+\.parquet": "shard",
    r"requests-in/.*": "object",
}


@pytest.mark.slow
def test_what_a_chunk_and_a_shard_cost_in_requests(s3: Bucket) -> None:
    """Each takes 30 ms or more on a store that is not here, and money: one more for each chunk is to be seen."""
    dataset = texts(s3, "requests-in", count=12)
    with misbehaving(s3.server) as store:
        options = store.front.storage_options
        run = scaledproc.run(
            dataset, s3.url("requests-out"), extractor=all_but_one, jobs=2, chunk=2, storage_options=options
        )
        assert (run.plan.n_shards, run.plan.n_chunks, run.quarantined) == (2, 6, 1)
        asked = Counter(
            f"{request.method} {what}"
            for request, _ in store.log
            for pattern, what in KINDS.items()
            if re.fullmatch(f"{s3.name}/{pattern}", request.key)
        )
    assert asked == {
        "GET object": 12,
        "PUT chunk": 6,
        "GET chunk": 6,  # when the shard is made of them
        "PUT chunk's errors": 1,
        "HEAD chunk's errors": 1,
        "GET chunk's errors": 1,
        "HEAD shard": 4,  # whether an earlier start made it, though it is not listed; and what the new one replaces
        "PUT shard's errors": 2,
        "PUT report": 2,
        "PUT shard": 2,
        "GET shard": 2,  # by the combine step
        "GET report": 4,  # by the combine step, and for run.json
        "GET shard's errors": 2,  # of the one that has some: for errors.parquet and for errors.log
    }
