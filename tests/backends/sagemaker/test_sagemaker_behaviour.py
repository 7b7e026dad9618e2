"""Runs on the backend `sagemaker` from end to end: emulated jobs that are real processes, real S3, real commands."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from processing_emulator import ProcessingEmulator
from support import SAGEMAKER, Bucket, Cli

import scaledproc
from scaledproc.api import status, stop
from scaledproc.backends.sagemaker import volumes
from scaledproc.backends.sagemaker.jobs import pipeline
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Detached, Event, Note, ShardDone
from scaledproc.run_folder.run import Run
from scaledproc.testing import PROBE, output_bytes

TREE = {
    "g1/u1/t1.txt": "a\nb\n",
    "g1/u1/t2.txt": "fine\npoison\n",
    "g1/u2/t1.txt": "c\n",
    "g2/u1/t1.txt": "d\ne\nf\n",
    "g2/u1/signal.bin": "x" * 50,
}


@dataclass
class Account:
    """An emulated account with a dataset in it, and how it is run."""

    emulator: ProcessingEmulator
    bucket: Bucket
    folder: Path
    settings: dict[str, Any] = field(default_factory=lambda: {**SAGEMAKER, "combine_local": True})
    events: list[Event] = field(default_factory=list)

    def put(self, files: dict[str, str]) -> str:
        """A dataset on this machine and its copy in S3; the URL of the latter."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        for name, content in files.items():
            path = self.folder / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.dataset = self.bucket.url(f"data-{uuid4().hex}")
        scaledproc.fetch(self.folder / "data", self.dataset)
        self.output = self.bucket.url(f"out-{uuid4().hex}")
        return self.dataset

    def why_failed(self) -> list[str]:
        """The ends of the logs of what failed."""
        return [f"{job.name}: {job.log[-1500:]}" for job in self.emulator.jobs if job.status == "Failed"]

    def change(self, name: str, content: str) -> None:
        """Another content for a file of the dataset, here and in S3."""
        (self.folder / "data" / name).write_text(content)
        self.bucket.fs.pipe_file(f"{self.dataset.removeprefix('s3://')}/{name}", content.encode())

    def run(self, *, overwrite: bool = False, backend: str = "sagemaker", options: Any = None, **settings: Any) -> Run:
        self.events = []
        given = {**self.settings, **settings} if backend == "sagemaker" else None
        return scaledproc.run(
            self.dataset,
            self.output,
            backend=backend,
            jobs=1,
            settings=given,
            overwrite=overwrite,
            on_event=self.events.append,
            **{"extractor": PROBE, **(options or {})},
        )

    def command(self, *words: str, **settings: Any) -> list[str]:
        made = [*(sys.executable, "-m", "scaledproc", "run", self.dataset, self.output, "--backend", "sagemaker")]
        made += ["--extractor", PROBE, "--jobs", "1", "--max-failures", "100%", *words]
        for name, value in {**self.settings, **settings}.items():
            flag = f"--{name.replace('_', '-')}"
            made += [flag] if value is True else [flag, str(value)] if value is not False else []
        return made

    def assert_as_local(self, found: Run, **options: Any) -> None:
        """The results are those of the local backend, byte by byte."""
        folder = self.folder / f"reference-{uuid4().hex}"
        expected = scaledproc.run(self.folder / "data", folder, **{"extractor": PROBE, "jobs": 1, **options})
        assert output_bytes(found.store) == output_bytes(expected.store)

    @property
    def created(self) -> int:
        return self.emulator.count("CreateProcessingJob")

    def notes(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Note))


@pytest.fixture
def account(emulator: ProcessingEmulator, s3: Bucket, tmp_path: Path) -> Account:
    made = Account(emulator, s3, tmp_path)
    made.put(TREE)
    return made


def wait_until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def at_work(account: Account) -> int:
    return sum(job.status == "InProgress" and bool(job.pids) for job in account.emulator.jobs)


# Updates


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"input_mode": "file", "network_isolation": True, "combine_local": False}])
def test_an_update_starts_jobs_only_where_there_is_something_to_do(account: Account, settings: dict[str, Any]) -> None:
    account.put({**TREE, "g1/u1/t2.txt": "fine\n", "g3/t.txt": "x\n", "g4/t.txt": "y\n"})
    account.run(**settings)
    before = account.created
    account.change("g3/t.txt", "longer than before\n")
    found = account.run(options={"update": True}, **settings)
    assert account.created - before <= 2, "one for the shard, and perhaps one to combine"
    account.assert_as_local(found)
    assert found.record.counts["reused"] == found.record.counts["tasks"] - 1
    account.change("g4/t.txt", "another\n")
    before = account.created
    account.assert_as_local(account.run(backend="local", options={"update": True}))
    assert account.created == before, "begun there, updated here"


@pytest.mark.slow
def test_an_update_cannot_be_detached(account: Account) -> None:
    account.put({"g1/t.txt": "x\n"})
    before = output_bytes(account.run(backend="local").store)
    account.change("g1/t.txt", "longer than before\n")
    with pytest.raises(
        UsageError, match=r"^an update is put together by the process that begins it: leave --detach out$"
    ):
        account.run(options={"update": True}, combine_local=False, detach=True)
    assert (account.created, len(account.emulator.executions)) == (0, 0)
    assert output_bytes(Run.open(account.output).store) == before


# Several tables

TABLES = """
import scaledproc

@scaledproc.extractor(schema={"lines": "int64"}, anchor="*.txt", tables={"lines": {"text": "string"}})
def split(task):
    lines = task.path.read_text().splitlines()
    if "poison" in lines:
        raise ValueError("poison")
    task.warn(f"{len(lines)} lines")
    yield scaledproc.rows("lines", ({"text": line} for line in lines))
    yield {"lines": len(lines)}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"input_mode": "sharded-by-key", "combine_local": False, "instances": 2, "max_parallel_jobs": 1}]
)
def test_several_tables_and_warnings(account: Account, settings: dict[str, Any]) -> None:
    (account.folder / "own.py").write_text(TABLES)
    options = {"extractor": f"{account.folder}/own.py:split", "unit": "file", "exclude": ["*.bin"]}
    found = account.run(options=options, **settings)
    account.assert_as_local(found, **options)
    lines = found.to_arrow(table="lines")
    assert lines["text"].to_pylist() == ["a", "b", "c", "d", "e", "f"]
    assert lines["anchor"].to_pylist() == [*["g1/u1/t1.txt"] * 2, "g1/u2/t1.txt", *["g2/u1/t1.txt"] * 3]
    assert found.warnings()["message"].to_pylist() == ["2 lines", "1 lines", "3 lines"]


# Tables as folders


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"input_mode": "file", "network_isolation": True, "combine_local": False}])
def test_the_last_job_reads_no_rows_where_tables_are_folders(account: Account, settings: dict[str, Any]) -> None:
    account.put({**TREE, "g3/t.txt": "x\n"})
    found = account.run(options={"table": "dataset"}, **settings)
    account.assert_as_local(found, table="dataset")
    names = {each["InputName"] for each in account.emulator.jobs[-1].request.get("ProcessingInputs", [])}
    assert "shards" not in names
    assert ("done" in names) == bool(settings)
    assert found.record.sizes.keys() >= {*found.record.files_of_table(), "shards/00000.parquet"}
    assert found.store.sizes(found.record.sizes) == found.record.sizes
    assert scaledproc.verify(account.output, storage_options=account.bucket.storage_options).ok


@pytest.mark.slow
def test_files_of_tables_that_are_gone_are_made_by_the_last_job(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"input_mode": "file", "network_isolation": True, "combine_local": False}
    with monkeypatch.context() as patched:
        patched.setattr("scaledproc.backends.sagemaker.backend.SageMakerBackend._combine", lambda *_: iter(()))
        with pytest.raises(ScaledprocError):
            account.run(options={"table": "dataset"}, **settings)
    account.bucket.fs.rm_file(f"{account.output.removeprefix('s3://')}/features/part-00001.parquet")
    account.assert_as_local(account.run(options={"table": "dataset"}, **settings), table="dataset")


# Jobs and hosts


@pytest.mark.slow
def test_job_per_shard_at_most_so_many_at_once(account: Account) -> None:
    account.put({**TREE, "g3/t.txt": "x\n"})
    found = account.run(max_parallel_jobs=2, tags=("team=ecg",))
    jobs = account.emulator.jobs
    assert sorted(job.name.split("-")[-2:] for job in jobs) == [["s00000", "1"], ["s00001", "1"], ["s00002", "1"]]
    first_end = min(job.ended for job in jobs[:2] if job.ended)
    assert jobs[1].created < first_end < jobs[2].created  # side by side, and the third when there is room
    assert all(job.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 1 for job in jobs)
    assert all(len(job.name) <= 63 for job in jobs)
    account.assert_as_local(found)
    billed = found.record.backend["billed"]
    seconds = sum((job.ended - job.started).total_seconds() for job in jobs if job.ended and job.started)
    assert billed["jobs"] == 3
    assert billed["instance_seconds"]["ml.m5.large"] == pytest.approx(seconds, abs=0.2)
    assert billed["usd"] == pytest.approx(seconds / 3600 * 0.115, abs=1e-3)


@pytest.mark.slow
def test_hosts_share_one_job(account: Account) -> None:
    account.run(instances=2)
    (job,) = account.emulator.jobs
    assert job.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 2
    shards = [
        [json.loads(line)["shard"] for _, line in host.lines if '"ShardDone"' in line or "shard_done" in line]
        for host in job.hosts
    ]
    assert sorted(shards) == [[0], [1]], job.log


# Input modes


@pytest.mark.slow
def test_file_mode_by_manifest(account: Account) -> None:
    account.put({**TREE, "g1/u3/t.txt": "left\n", "g2/u2/t.txt": "out\n"})
    options = {"include": ["*/u1/*", "g1/u2/*", "g2/u2/*"], "limit": 3, "shards": "2"}
    found = account.run(input_mode="file", network_isolation=True, options=options)
    account.assert_as_local(found, **options)
    for job in account.emulator.jobs:
        inputs = {one["InputName"]: one["S3Input"] for one in job.request["ProcessingInputs"]}
        assert inputs["dataset"]["S3DataType"] == "ManifestFile"
        assert inputs["dataset"]["S3DataDistributionType"] == "FullyReplicated"
        assert job.request["NetworkConfig"]["EnableNetworkIsolation"]
        assert not any("u3" in str(path) for path in job.hosts[0].root.rglob("*.txt"))


@pytest.mark.slow
@pytest.mark.parametrize("manifests", ["key", "flat"])
@pytest.mark.parametrize("mode", ["file", "sharded-by-key"])
def test_a_manifest_may_land_elsewhere(account: Account, manifests: Literal["key", "flat"], mode: str) -> None:
    account.emulator.behaviour.manifests = manifests
    account.put({"g1/a.txt": "a\n", "g1/b.txt": "b\n", "g2/c.txt": "c\n", "d.txt": "d\n"})
    options = {"unit": "file", "shards": "2"}
    found = account.run(input_mode=mode, options=options)
    account.assert_as_local(found, **options)


@pytest.mark.slow
def test_a_manifest_in_one_folder_with_files_of_one_name(account: Account) -> None:
    """One of them is lost before the worker starts: the job fails, and is not tried again."""
    account.emulator.behaviour.manifests = "flat"
    with pytest.raises(ScaledprocError, match="have one place"):
        account.run(input_mode="file", options={"exclude": ["*.bin"], "shards": "1"})
    assert account.created == 1


@pytest.mark.slow
@pytest.mark.parametrize("combine_local", [True, False])
def test_files_parted_by_key(account: Account, combine_local: bool) -> None:
    options = {"unit": "file", "shards": "2", "exclude": ["*.bin"]}
    found = account.run(input_mode="sharded-by-key", instances=3, combine_local=combine_local, options=options)
    account.assert_as_local(found, **options)
    job = account.emulator.jobs[0]
    assert len(job.hosts) == 3
    assert account.created == (1 if combine_local else 2)


@pytest.mark.slow
def test_host_that_did_nothing_is_found(account: Account) -> None:
    """A job of three machines ends well though one of them did nothing: it is done again."""
    account.emulator.faults.idle_host(host=2, job="keys")
    options = {"unit": "file", "shards": "2", "exclude": ["*.bin"]}
    found = account.run(input_mode="sharded-by-key", instances=2, options=options)
    account.assert_as_local(found, **options)
    assert account.created == 2


@pytest.mark.slow
def test_units_of_several_files_are_not_parted(account: Account) -> None:
    with pytest.raises(UsageError, match="--unit file if they do not"):
        account.run(input_mode="sharded-by-key")
    assert not account.created


# Failures


@pytest.mark.slow
def test_killed_host_goes_on_where_it_was(account: Account) -> None:
    account.put({f"g/u/t{number}.txt": "x\nsleep 0.15\n" for number in range(10)})

    def half_way(_: Any) -> bool:
        return len(account.bucket.names(f"{account.output.removeprefix('s3://scaledproc/')}/work/00000")) >= 4

    account.emulator.faults.kill_host(when=half_way)
    found = account.run(options={"chunk": "1"})
    first, second = account.emulator.jobs
    assert (first.status, second.status) == ("Failed", "Completed")
    # Lines of JSON among others, some of which may be cut off where the host was ended.
    done = [json.loads(line) for _, line in second.hosts[0].lines if line.startswith("{") and line.endswith("}")]
    resumed = sum(bool(event.get("resumed")) for event in done if event.get("event", "").lower().startswith("chunk"))
    assert resumed >= 4, second.log
    account.assert_as_local(found, chunk="1")
    assert found.record.backend["billed"]["jobs"] == 2
    assert found.record.backend["expected"]["seconds"] > 0


@pytest.mark.slow
def test_one_shard_that_always_fails(account: Account) -> None:
    account.emulator.faults.kill_host(job="s00000", times=None)
    with pytest.raises(ScaledprocError) as caught:
        account.run(retries=1)
    text = str(caught.value)
    assert "1 shard is not made" in text
    assert "shard 0: AlgorithmError" in text
    assert "https://us-east-1.console.aws.amazon.com/cloudwatch" in text
    assert {shard.shard for shard in status(account.output).done} == {1}
    assert status(account.output).states[0].state == "failed"
    account.emulator.faults.clear()
    before = account.created
    found = account.run()
    assert account.created == before + 1
    account.assert_as_local(found)


@pytest.mark.slow
def test_throttled_now_and_then(account: Account) -> None:
    account.emulator.faults.throttle("CreateProcessingJob", times=2)
    account.emulator.faults.throttle(share=0.2)
    found = account.run()
    account.assert_as_local(found)
    assert account.created - len(account.emulator.jobs) >= 2


@pytest.mark.slow
def test_no_capacity_for_the_first_type(account: Account) -> None:
    account.emulator.faults.no_capacity("ml.m5.large")
    found = account.run(instance_type="ml.m5.large,ml.m5.xlarge", options={"shards": "1"})
    (job,) = account.emulator.jobs
    cluster = job.request["ProcessingResources"]["ClusterConfig"]
    assert cluster["InstancePreferences"] == [{"InstanceType": "ml.m5.large"}, {"InstanceType": "ml.m5.xlarge"}]
    assert list(found.record.backend["billed"]["instance_seconds"]) == ["ml.m5.xlarge"]


@pytest.mark.slow
@pytest.mark.parametrize("detach", [False, True])
def test_a_service_that_takes_no_choice_of_machines(account: Account, detach: bool) -> None:
    account.emulator.behaviour.refuses_preferences = True
    if detach:
        types = ["ml.m5.large", "ml.m5.xlarge"]
        account.run(instance_type=types, options={"shards": "1"}, detach=True, combine_local=False)
        (execution,) = account.emulator.executions
        account.emulator.wait_for_execution(execution.arn)
        types = ["ml.m5.large", "ml.m5.large"]
    else:
        account.emulator.faults.no_capacity("ml.m5.large")
        found = account.run(instance_type="ml.m5.large,ml.m5.xlarge", options={"shards": "1"})
        assert [name for name, s in found.record.backend["billed"]["instance_seconds"].items() if s] == ["ml.m5.xlarge"]
        types = ["ml.m5.large", "ml.m5.xlarge"]
    jobs = account.emulator.jobs
    assert [job.request["ProcessingResources"]["ClusterConfig"]["InstanceType"] for job in jobs] == types


@pytest.mark.parametrize(
    ("given", "quota"),
    [
        ({"combine_local": False, "combine_instance_type": "ml.c5.4xlarge"}, "ml.c5.4xlarge for processing job usage"),
        ({"volume_size": 2_000}, "Size of EBS volume"),
        ({"max_runtime": "6d"}, "Longest run time"),
    ],
)
def test_what_a_quota_excludes_is_not_begun(account: Account, given: dict[str, Any], quota: str) -> None:
    """The last job's machine is looked at too: else that shows when all shards are paid for."""
    with pytest.raises(UsageError, match=quota):
        account.run(**given)
    assert not account.created


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"instance_type": "ml.g5.xlarge", "volume_size": 300},
            "a job needs a disk of 300 GB, and ml.g5.xlarge has 250",
        ),
        ({"instance_type": "ml.m5.large,ml.g5.xlarge", "volume_size": 300}, "and ml.g5.xlarge has 250 GB of its own"),
        (
            {"combine_local": False, "combine_instance_type": "ml.r5d.large", "combine_volume_size": 76},
            "the last job needs a disk of 76 GB, and ml.r5d.large has 75 GB of its own",
        ),
        (
            {"combine_local": False, "combine_volume_size": 2_000},
            "the last job needs 2,000 GB, and the quota 'Size of E",
        ),
        (
            {"combine_local": False, "combine_volume_size": 2_000, "detach": True},
            "the last job needs 2,000 GB, and the quota 'Size of EBS",
        ),
    ],
)
def test_a_disk_that_is_not_to_be_had_is_not_begun(account: Account, given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        account.run(**given)
    assert not account.created
    assert not account.bucket.names(account.output.removeprefix("s3://scaledproc/"))


@pytest.mark.parametrize("detach", [False, True])
def test_a_large_shard_among_small_ones_does_not_fail_after_the_others(
    account: Account, monkeypatch: pytest.MonkeyPatch, detach: bool
) -> None:
    """In a pipeline of few steps it is several shards together that are too large."""
    monkeypatch.setattr(pipeline, "MOST_STEPS", 1 if detach else 49)
    monkeypatch.setattr(volumes, "GB", 1_000)
    large = "x\n" * (20_000 if detach else 40_000)
    account.put({"g1/a.txt": large, "g2/b.txt": large if detach else "y\n", "g3/c.txt": "z\n"})
    given: dict[str, Any] = {"input_mode": "file", "detach": detach, "combine_local": False, "combine_volume_size": 1}
    with pytest.raises(UsageError, match=r"a job needs a disk of 112 GB, and ml.r5d.large has 75"):
        account.run(instance_type="ml.r5d.large", **given)
    assert not account.created
    assert not account.emulator.executions


@pytest.mark.slow
@pytest.mark.parametrize("max_cost", [None, 5.0])
def test_what_the_limit_of_cost_was_compared_with_is_told(account: Account, max_cost: float | None) -> None:
    account.run(max_cost=max_cost)
    told = (
        "--max-cost was compared with what rests on this: today's prices could not be asked of AWS" in account.notes()
    )
    assert told == (max_cost is not None)


@pytest.mark.slow
def test_expired_token_while_watching(account: Account) -> None:
    account.emulator.faults.expire_token("DescribeProcessingJob", times=1)
    account.emulator.faults.expire_token("CreateProcessingJob", times=1)
    account.assert_as_local(account.run())


@pytest.mark.slow
def test_time_is_over_and_the_rest_is_done_again(account: Account) -> None:
    account.put({f"g/u/t{number}.txt": "x\nsleep 0.8\n" for number in range(8)})
    found = account.run(max_runtime="6s", retries=5, options={"chunk": "1"})
    assert account.emulator.jobs[0].status == "Stopped"
    assert account.emulator.jobs[-1].status == "Completed"
    account.assert_as_local(found, chunk="1")


@pytest.mark.slow
def test_worker_that_has_another_extractor_is_not_tried_again(account: Account) -> None:
    path = account.folder / "mine.py"
    path.write_text(
        "import scaledproc\nOTHER = 'SCALEDPROC_ML_ROOT' in __import__('os').environ\n"
        "def make():\n    other = OTHER\n"
        "    @scaledproc.extractor(schema={'n': 'int64'}, anchor='*.txt')\n"
        "    def mine(task):\n        return {'n': int(other)}\n"
        "    return mine\nmine = make()\n"
    )
    with pytest.raises(ScaledprocError, match="is not what it was when"):
        scaledproc.run(
            account.dataset,
            account.output,
            extractor=f"{path}:mine",
            backend="sagemaker",
            jobs=1,
            shards="1",
            settings=account.settings,
        )
    assert account.created == 1


# From elsewhere


@pytest.mark.slow
def test_status_stop_attach_and_finish(account: Account, cli: Cli) -> None:
    """A driver is killed; others see, stop, and go on with its jobs."""
    account.put({f"{group}/u/t{number}.txt": "x\nsleep 4\n" for group in ("g1", "g2") for number in range(5)})
    environment = dict(os.environ)
    driver = subprocess.Popen(account.command("--chunk", "1", "--quiet"), env=environment)
    wait_until(lambda: at_work(account) == 2)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    shown = cli("status", account.output, "--json", env=account.emulator.environment())
    assert shown.returncode == 0, shown.stderr
    assert {state["state"] for state in json.loads(shown.stdout)["states"]} <= {"starting", "staging", "running"}
    for backend, overwrite in (("local", False), ("local", True), ("sagemaker", True)):
        with pytest.raises(UsageError, match="scaledproc stop"):
            account.run(backend=backend, overwrite=overwrite, options={"chunk": "1"})
    assert account.created == 2
    told = cli("stop", account.output, env=account.emulator.environment())
    assert told.stdout == "2 jobs told to stop\n", told.stderr
    wait_until(lambda: not at_work(account) and all(job.done.is_set() for job in account.emulator.jobs))
    assert {state.state for state in status(account.output).states} == {"stopped"}
    assert stop(account.output) == 0

    driver = subprocess.Popen(account.command("--chunk", "1", "--quiet"), env=environment)
    wait_until(lambda: account.created == 4)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    found = account.run(options={"chunk": "1"})
    assert account.created == 4  # attached, no twins
    assert found.record.backend["billed"]["jobs"] == 4
    account.assert_as_local(found, jobs=5, chunk="1")
    assert status(account.output).state == "done"
    with pytest.raises(UsageError, match="nothing to stop"):
        stop(account.output)


@pytest.mark.slow
def test_stop_reaches_what_waits_too(account: Account) -> None:
    account.put({f"g{number}/t.txt": "x\nsleep 3\n" for number in range(3)})
    driver = subprocess.Popen(
        account.command("--quiet", max_parallel_jobs=1), env=dict(os.environ), stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: at_work(account) == 1)
    assert stop(account.output) == 1
    _, told = driver.communicate(timeout=60)
    assert driver.returncode == 1
    assert "stopped" in told
    assert account.created == 1


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["y", "n", None])
def test_ctrl_c(account: Account, answer: str | None) -> None:
    account.put({"g/t.txt": "x\nsleep 4\n"})
    mine, theirs = pty.openpty()
    driver = subprocess.Popen(
        account.command(),
        env={**os.environ, "TERM": "dumb"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=theirs if answer else subprocess.DEVNULL,
        text=True,
    )
    os.close(theirs)
    wait_until(lambda: at_work(account) == 1)
    time.sleep(0.3)
    driver.send_signal(signal.SIGINT)
    if answer:
        os.write(mine, f"{answer}\n".encode())
    _, told = driver.communicate(timeout=60)
    os.close(mine)
    assert driver.returncode == 130, told
    words = "told to stop" if answer == "y" else "left to go on"
    assert words in " ".join(told.split()), told
    assert account.emulator.count("StopProcessingJob") == (1 if answer == "y" else 0)


# Detached


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["stage", "file", "sharded-by-key"])
def test_detached(account: Account, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MOST_STEPS", 2)
    account.emulator.behaviour.refuses_nested_outputs = True
    account.put({**TREE, "g3/t.txt": "x\n"})
    options: dict[str, Any] = {"unit": "file", "exclude": ["*.bin"]} if mode == "sharded-by-key" else {}
    settings: dict[str, Any] = {"combine_local": False, "detach": True, "input_mode": mode, "max_parallel_jobs": 2}
    if mode == "file":
        settings["keep_pipeline"] = True
    begun = account.run(options=options, **settings)
    assert begun.record.state == "running"
    (execution,) = account.emulator.executions
    assert execution.parallel == 2
    assert [step.name for step in execution.steps] == (
        ["keys", "combine"] if mode == "sharded-by-key" else ["g00000", "g00001", "combine"]
    )
    assert status(account.output).state == "running"
    with pytest.raises(UsageError, match="scaledproc stop"):
        account.run(backend="local", options=options)
    account.run(options=options, **settings)  # the same command: no twin
    assert len(account.emulator.executions) == 1
    if mode == "stage":  # nobody watches
        account.emulator.wait_for_execution(execution.arn, 60)
        assert execution.status == "Succeeded", account.why_failed()
        assert Run.open(account.output).record.state == "done"
    found = account.run(options=options, **{**settings, "detach": False})
    assert execution.status == "Succeeded", account.why_failed()
    assert account.created == 0  # but for the pipeline's own
    account.assert_as_local(found, **options)
    found = account.run(options=options, **{**settings, "detach": False})  # who looks at the finished run settles it
    assert bool(account.emulator.executions) == settings.get("keep_pipeline", False)  # what has ended is removed
    assert found.record.backend["billed"]["jobs"] == len(account.emulator.jobs)
    assert not [
        name for name in account.bucket.names(account.output.removeprefix("s3://scaledproc/")) if "lock" in name
    ]


def billed_as(account: Account, found: Run) -> None:
    """All jobs of the account are in the bill, by their seconds."""
    billed = found.record.backend["billed"]
    assert billed["jobs"] == len(account.emulator.jobs)
    times = [(job.started, job.ended, len(job.hosts)) for job in account.emulator.jobs]
    seconds = sum(hosts * (ended - started).total_seconds() for started, ended, hosts in times if started and ended)
    assert sum(billed["instance_seconds"].values()) == pytest.approx(seconds, abs=0.3)
    assert not account.emulator.executions, "what has ended is removed"


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["here", "detached"])
def test_a_detached_run_that_failed_is_billed_whole_however_it_is_finished(account: Account, ends: str) -> None:
    account.put({"g1/t.txt": "x\n", "g2/t.txt": "y\n"})
    settings: dict[str, Any] = {"combine_local": False, "detach": True, "max_parallel_jobs": 1, "retries": 0}
    account.emulator.faults.job_error(reason="AlgorithmError: See job logs for more information", times=1)
    account.run(**settings)
    (failed,) = account.emulator.executions
    account.emulator.wait_for_execution(failed.arn)
    assert failed.status == "Failed"
    arns = [failed.arn]
    if ends == "detached":
        account.run(**settings)
        last = next(each for each in account.emulator.executions if each.arn != failed.arn)
        account.emulator.wait_for_execution(last.arn, 60)
        assert last.status == "Succeeded", account.why_failed()
        arns.append(last.arn)
    found = account.run(**{**settings, "detach": False})
    billed_as(account, found)
    assert sorted(found.record.backend["billed"]["executions"]) == sorted(arns)
    again = account.run(**{**settings, "detach": False})
    assert again.record.backend["billed"] == found.record.backend["billed"], "once is enough"


@pytest.mark.slow
def test_all_jobs_of_a_step_that_was_tried_again_are_billed(account: Account) -> None:
    account.put({"g1/t.txt": "x\n", "g2/t.txt": "y\n"})
    settings: dict[str, Any] = {"combine_local": False, "detach": True, "retries": 2, "retry_wait": 1.0}
    account.emulator.faults.job_error(reason="InternalServerError: We encountered an internal error.", times=1)
    account.run(**settings)
    (execution,) = account.emulator.executions
    account.emulator.wait_for_execution(execution.arn, 60)
    assert len(account.emulator.jobs) == 4
    billed_as(account, account.run(**{**settings, "detach": False}))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["file", "sharded-by-key"])
def test_detached_without_a_network(account: Account, mode: str) -> None:
    """The last job cannot end the run, and may not have the run's folder as its output, in which its inputs lie."""
    account.emulator.behaviour.refuses_nested_outputs = True
    account.put({"g1/t.txt": "x\n", "g2/t.txt": "y\n"})
    options: dict[str, Any] = {"unit": "file"}
    settings: dict[str, Any] = {"combine_local": False, "detach": True, "input_mode": mode, "network_isolation": True}
    account.run(options=options, **settings)
    told = [detached_text(account)]
    (execution,) = account.emulator.executions
    account.emulator.wait_for_execution(execution.arn, 60)
    assert execution.status == "Succeeded", account.why_failed()
    assert Run.open(account.output).record.state == "running"
    account.run(options=options, **settings)
    told.append(detached_text(account))
    assert all("same command without --detach puts the table in place and ends the run" in text for text in told)
    assert len(account.emulator.executions) == 1
    found = account.run(options=options, **{**settings, "detach": False})
    assert found.record.state == "done"
    assert account.created == 0
    account.assert_as_local(found, **options)
    billed_as(account, found)


def detached_text(account: Account) -> str:
    (event,) = [event for event in account.events if isinstance(event, Detached)]
    return event.text


@pytest.mark.slow
def test_detached_and_stopped(account: Account) -> None:
    account.put({"g1/t.txt": "x\nsleep 5\n", "g2/t.txt": "y\n"})
    settings: dict[str, Any] = {"combine_local": False, "detach": True}
    account.run(**settings)
    wait_until(lambda: at_work(account))
    assert stop(account.output) == 1
    (execution,) = account.emulator.executions
    account.emulator.wait_for_execution(execution.arn)
    assert status(account.output).state == "stopped"
    found = account.run(backend="local")  # begun there, finished here
    account.assert_as_local(found)


@pytest.mark.slow
def test_begun_here_finished_there(account: Account, cli: Cli) -> None:
    poisoned = {"g1/t.txt": "x\n", "g2/t.txt": "y\nsleep 30\n"}
    account.put(poisoned)
    command = ["run", account.dataset, account.output, "--extractor", PROBE, "--jobs", "2", "--quiet"]
    driver = subprocess.Popen([sys.executable, "-m", "scaledproc", *command], env=dict(os.environ))
    report = f"{account.output}/work/done/00000.json"  # which comes last of what a shard commits

    def is_committed() -> bool:
        account.bucket.fs.invalidate_cache()
        return bool(account.bucket.fs.exists(report))

    wait_until(is_committed)
    driver.kill()
    driver.wait()
    account.emulator.faults.job_error(reason="InternalServerError: We encountered an internal error.", times=None)
    with pytest.raises(ScaledprocError, match="1 shard is not made"):
        account.run(retries=0)
    assert [event.shard for event in account.events if isinstance(event, ShardDone)] == [0]
    assert account.created == 1


# Users' mistakes


def mistakes() -> Sequence[tuple[str, list[str], dict[str, str], str]]:
    gone = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    return [
        ("no-role", ["-role"], {}, "no IAM role"),
        ("type", ["--instance-type", "ml.x9.huge"], {}, "ml.x9.huge"),
        ("local-input", ["IN=/tmp"], {}, "scaledproc fetch"),
        ("local-output", ["OUT=/tmp/scaledproc-none"], {}, "s3://BUCKET/PREFIX"),
        ("empty-prefix", ["IN=s3://scaledproc/nothing-here"], {}, ""),
        ("no-bucket", ["OUT=s3://scaledproc-none/out"], {}, "bucket"),
        ("no-credentials", [], gone, "credentials"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "environment", "expected"), [m[1:] for m in mistakes()], ids=[m[0] for m in mistakes()]
)
def test_mistakes(account: Account, cli: Cli, words: list[str], environment: dict[str, str], expected: str) -> None:
    settings = {name: value for name, value in account.settings.items() if f"-{name}" not in words}
    account.settings = settings
    for word in words:
        where, _, url = word.partition("=")
        account.dataset = url if where == "IN" else account.dataset
        account.output = url if where == "OUT" else account.output
    flags = [word for word in words if "=" not in word and word != "-role"]
    made = {name: value for name, value in account.emulator.environment().items() if environment.get(name) != ""}
    made["HOME"] = str(account.folder)
    done = cli(*account.command(*flags)[3:], env=made)
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    assert expected in " ".join(done.stderr.split()), done.stderr
    assert not account.created
