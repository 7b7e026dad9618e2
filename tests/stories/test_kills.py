"""Killed anywhere, nothing lost, nothing twice: the driver, a worker process or all at once, also inside a commit.

Each kill ends a run of the command; the same command follows at once, and may be killed again, until one comes to its
end. Its output must have an uninterrupted run's bytes, what was committed at a kill must not be computed again, and
nothing may be left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from killing import KILL_AT_STEP, names_in
from support import Bucket, clean_environment, tree_bytes

import scaledproc
from scaledproc.run_folder.lock.lease_store import read_lease
from scaledproc.storage.store import Store
from scaledproc.testing import output_bytes

KILLS = 20
SOAK_KILLS = 200
S3_KILLS = 4
HANG = 60.0  # seconds for the processes of a killed driver to be gone

EXTRACTOR = f"""{KILL_AT_STEP}
import hashlib, random
import scaledproc
"""
EXTRACTOR += """
if "JUMP" in os.environ:  # a clock that is set again and again, by up to three years
    now, jumps = time.time, random.Random(os.environ["JUMP"])
    time.time = lambda: now() + jumps.uniform(-1e8, 1e8)

@scaledproc.extractor(schema={"path": "string", "n": "int64", "digest": "string"}, anchor="*.txt")
def hashes(task):
    with open(os.environ["LOG"], "ab", buffering=0) as file:
        file.write(task.anchor.encode() + b"\\n")
    time.sleep(0.01)
    if task.anchor.endswith(("3.txt", "7.txt")):
        task.warn(f"odd: {task.anchor}")
    if "bad" in task.anchor:
        raise ValueError("bad")
    for n in range(50):
        yield {"path": task.anchor, "n": n, "digest": hashlib.sha256(f"{task.anchor} {n}".encode()).hexdigest()}
"""


def write_data(folder: Path) -> Path:
    for number in range(48):
        path = folder / f"g{number % 3}/{'bad' if number == 7 else 'u'}{number:02}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * number)
    return folder


@dataclass
class Tally:
    kills: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    lost: int = 0
    doubled: int = 0
    recomputed: int = 0
    hang: float = 0.0
    """Of the processes of a driver that was killed; seconds."""

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kills.items()))
        return (
            f"kills survived: {self.kills.total()} ({kinds}) in {self.finished} runs; rows lost: {self.lost}, rows "
            f"doubled: {self.doubled}, chunks recomputed: {self.recomputed}, longest hang: {self.hang:.1f} s"
        )


class Killed:
    """One output, and the commands that are killed on their way to it."""

    def __init__(self, folder: Path, data: Path, extractor: str, tally: Tally) -> None:
        self.folder = folder
        self.data = data
        self.extractor = extractor
        self.tally = tally
        self.output = folder / "out"
        self.log = folder / "log"
        self.scratch = folder / "scratch"
        self.scratch.mkdir(parents=True)
        self.marks: list[tuple[int, set[tuple[int, int]]]] = []

    def attempt(self, rng: random.Random, typical: float, *, is_last: bool) -> bool:
        """The command, killed on the way unless it is the last one; whether it came to its end."""
        kind = "" if is_last else rng.choice(["driver", "worker", "group"])
        is_in_commit = rng.random() < 0.5
        steps = self.folder / "steps"
        for path in (steps, Path(f"{steps}.over")):
            path.unlink(missing_ok=True)
        environment = {"LOG": str(self.log), "STEPS": str(steps), "TMPDIR": str(self.scratch)}
        if kind and is_in_commit:
            environment["KILL"] = json.dumps({"step": int(rng.triangular(1, 150, 1)), "target": kind})
        if rng.random() < 0.3:
            environment["JUMP"] = str(rng.random())
        jobs = "2" if kind == "worker" else str(rng.choice([1, 2, 2, 2]))
        process = self._start(environment, jobs)
        is_killed = False
        if kind and not is_in_commit:
            while kind == "worker" and process.poll() is None and not _workers(process.pid):
                time.sleep(0.02)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, 0.3 if kind == "worker" else 0.8) * typical)
            is_killed = process.poll() is None and self._kill(process, kind, rng)
        _, errors = process.communicate(timeout=HANG * 2)
        self._wait_for_all()
        is_killed = is_killed or Path(f"{steps}.over").exists()
        if is_killed:
            self.tally.kills[f"of {kind}{' in a commit' if is_in_commit else ''}"] += 1
        assert process.returncode in ((0, -signal.SIGKILL) if is_killed else (0,)), errors
        self._mark()
        return process.returncode == 0

    def outlive(self, step: int, seconds: float, *, same_scratch: bool) -> None:
        """The driver is killed in a commit of a worker, which goes on with it later; the next driver starts at once."""
        order = json.dumps({"step": step, "target": "driver", "outlive": seconds})
        steps = self.folder / "steps"
        environment = {"LOG": str(self.log), "STEPS": str(steps), "TMPDIR": str(self.scratch), "KILL": order}
        first = self._start(environment, "2")
        assert first.wait(HANG) == -signal.SIGKILL
        assert first.stderr is not None
        first.stderr.close()  # of which nobody will tell the end: its workers have it too
        self._mark()
        assert Path(f"{steps}.over").exists(), "it was killed by its worker"
        assert self._processes()  # which are there
        if not same_scratch:  # what the first one left is for the next start there
            self.scratch = self.folder / "other"
            self.scratch.mkdir()
        second = self._start({"LOG": str(self.log), "TMPDIR": str(self.scratch)}, "2")
        _, errors = second.communicate(timeout=HANG * 2)
        assert second.returncode == 0, errors
        self._wait_for_all()
        self.tally.kills["of driver, outlived"] += 1

    def _start(self, environment: dict[str, str], jobs: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "scaledproc", "run", str(self.data), str(self.output)),
                *("--extractor", self.extractor, "--chunk", "2", "--jobs", jobs, "--max-failures", "1", "--quiet"),
                *("--scratch", environment["TMPDIR"]),
            ],
            start_new_session=True,
            env=clean_environment(environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _kill(self, process: subprocess.Popen[str], kind: str, rng: random.Random) -> bool:
        if kind == "group":
            for each in self._processes():  # at once, but for a moment
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        elif kind == "driver":
            process.kill()
        else:
            workers = _workers(process.pid)
            for worker in rng.sample(workers, min(1, len(workers))):
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
                    return True
            return False
        return True

    def _processes(self) -> list[psutil.Process]:
        """All of this case that are there, whichever session they are in."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("LOG") == str(self.log) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _wait_for_all(self) -> None:
        began = time.monotonic()
        while self._processes():
            assert time.monotonic() - began < HANG, "processes outlive their driver"
            time.sleep(0.02)
        self.tally.hang = max(self.tally.hang, time.monotonic() - began)

    def _mark(self) -> None:
        """Note which chunks are committed now, and how much was computed so far."""
        done: set[tuple[int, int]] = set()
        shards = {int(path.stem) for path in self.output.glob("shards/[0-9]*.parquet")}
        done |= {(shard, chunk) for shard, chunk in self._chunks() if shard in shards}
        for path in self.output.glob("work/[0-9]*/[0-9]*.parquet"):
            if path.name.count(".") == 1:
                done.add((int(path.parent.name), int(path.stem)))
        self.marks.append((len(self._computed()), done))

    def _computed(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def _chunks(self) -> dict[tuple[int, int], list[str]]:
        """The tasks of each chunk, once there is a plan."""
        found: dict[tuple[int, int], list[str]] = {}
        with contextlib.suppress(OSError, ValueError):
            for row in pq.read_table(self.output / "plan.parquet").to_pylist():
                found.setdefault((row["shard"], row["chunk"]), []).append(row["anchor"])
        return found

    def check(self, expected: scaledproc.Run) -> None:
        """The output is that of an uninterrupted run, and nothing else is left."""
        self.tally.finished += 1
        computed, chunks = self._computed(), self._chunks()
        for count, done in self.marks:
            later = set(computed[count:])
            self.tally.recomputed += sum(bool(later.intersection(chunks[chunk])) for chunk in done)
        found = scaledproc.Run.open(self.output)
        keys = [
            Counter(zip(run.to_arrow()["path"].to_pylist(), run.to_arrow()["n"].to_pylist(), strict=True))
            for run in (found, expected)
        ]
        self.tally.lost += (keys[1] - keys[0]).total()
        self.tally.doubled += (keys[0] - keys[1]).total()
        assert output_bytes(found.store) == output_bytes(expected.store)
        assert found.warnings().num_rows == 10, "what tasks warned of before a kill is there"
        assert names_in(self.output) == names_in(Path(expected.store.uri)), "something is left in the output"
        left = [path.name for path in self.scratch.iterdir()]
        assert not left, "something is left in scratch"


def _workers(driver: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(driver).children()
        return [child for child in children if "popen_loky" in " ".join(child.cmdline())]
    return []


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, scaledproc.Run, float]:
    """A dataset, an extractor, an uninterrupted run of it, and how long the command takes."""
    folder = tmp_path_factory.mktemp("kills")
    (folder / "hashes.py").write_text(EXTRACTOR)
    data, extractor = write_data(folder / "data"), f"{folder}/hashes.py:hashes"
    environment = clean_environment({"LOG": str(folder / "log")})
    command = [sys.executable, "-m", "scaledproc", str(data), str(folder / "whole"), "--extractor", extractor]
    began = time.monotonic()
    subprocess.run(
        [*command, "--chunk", "2", "--jobs", "2", "--max-failures", "1"],
        env=environment,
        check=True,
        capture_output=True,
    )
    return data, extractor, scaledproc.Run.open(folder / "whole"), time.monotonic() - began


def kill(given: tuple[Path, str, scaledproc.Run, float], folder: Path, kills: int, seed: int) -> Tally:
    """So many kills, over as many outputs as it takes."""
    data, extractor, expected, typical = given
    tally, rng, outputs = Tally(), random.Random(seed), 0
    print(f"seed {seed}")  # noqa: T201
    while tally.kills.total() < kills:
        outputs += 1
        case = Killed(folder / str(outputs), data, extractor, tally)
        attempts = 0
        while not case.attempt(rng, typical, is_last=tally.kills.total() >= kills):
            attempts += 1
        case.check(expected)
    print(tally)  # noqa: T201
    assert (tally.lost, tally.doubled, tally.recomputed) == (0, 0, 0), tally
    return tally


@pytest.mark.slow
def test_kills(given: tuple[Path, str, scaledproc.Run, float], tmp_path: Path) -> None:
    seed = os.environ.get("SCALEDPROC_TEST_SEED")
    kill(given, tmp_path, KILLS, int(seed) if seed else random.SystemRandom().randrange(10**6))


@pytest.mark.soak
def test_many_kills(
    given: tuple[Path, str, scaledproc.Run, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = kill(given, tmp_path, SOAK_KILLS, int(os.environ.get("SCALEDPROC_TEST_SEED", "1")))
    with capsys.disabled():
        print(f"\n{tally}")  # noqa: T201


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "seconds", "same_scratch"), [(1, 0.0, True), (2, 1.0, False), (2, 1.5, True), (3, 1.0, True)]
)
def test_workers_that_outlive_their_driver(
    given: tuple[Path, str, scaledproc.Run, float], tmp_path: Path, step: int, seconds: float, same_scratch: bool
) -> None:
    data, extractor, expected, _ = given
    tally = Tally()
    case = Killed(tmp_path / "case", data, extractor, tally)
    case.outlive(step, seconds, same_scratch=same_scratch)
    case.check(expected)
    assert (tally.lost, tally.doubled, tally.recomputed) == (0, 0, 0), tally


# An output in S3


@pytest.mark.slow
def test_kills_with_an_output_in_s3(given: tuple[Path, str, scaledproc.Run, float], tmp_path: Path, s3: Bucket) -> None:
    """The driver or all at once, after which the same command follows at once and takes the lease over."""
    data, extractor, expected, typical = given
    seed = int(os.environ.get("SCALEDPROC_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}")  # noqa: T201
    rng, log, kills, outputs = random.Random(seed), tmp_path / "log", 0, 0
    environment = clean_environment({**s3.server.environment(), "LOG": str(log), "TMPDIR": str(tmp_path)})
    while kills < S3_KILLS:
        outputs += 1
        name = f"killed-{tmp_path.name}-{outputs}"
        store = Store.at(s3.url(name), s3.storage_options)
        command = [sys.executable, "-m", "scaledproc", "run", str(data), store.uri, "--extractor", extractor]
        committed: dict[str, int] = {}
        code, process = None, None
        while code != 0:
            process = subprocess.Popen(
                [*command, "--chunk", "2", "--jobs", "2", "--max-failures", "1", "--json"],
                start_new_session=True,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            while kills < S3_KILLS and process.poll() is None and read_lease(store) is None:
                time.sleep(0.02)
            is_driver = rng.random() < 0.5
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.5, 2.5) * typical if kills < S3_KILLS else HANG)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL) if is_driver else os.killpg(process.pid, signal.SIGKILL)
            told, _ = process.communicate(timeout=HANG)
            code = process.returncode
            assert code in (0, -signal.SIGKILL), told
            assert "watching it" not in told, "the lease of one that is gone is taken at once"
            computed = log.read_text().splitlines() if log.exists() else []
            for chunk, count in committed.items():
                assert not set(tasks_of(store, chunk)) & set(computed[count:]), f"{chunk} was computed again"
            if code:
                kills += 1
                if read_lease(store) is None:  # it had come to its end, but for that of its process
                    assert scaledproc.Run.open(store).record.state == "done"
                for chunk in s3.objects(name):
                    if chunk.startswith(("work/0", "shards/")) and "errors" not in chunk:
                        committed.setdefault(chunk, len(computed))
            elif kills < S3_KILLS:  # it came to its end sooner than was thought: the machine does less else now
                typical *= 0.7
        log.unlink()
        assert output_bytes(store) == output_bytes(expected.store)
        whole = Path(expected.store.uri)
        assert set(s3.objects(name)) - {"report.html"} == set(tree_bytes(whole))


def tasks_of(store: Store, name: str) -> list[str]:
    """The tasks of a committed chunk or shard."""
    shard, chunk = [*map(int, re.findall(r"\d+", name)), None][:2]
    with store.open("plan.parquet") as file:
        rows = pq.read_table(file).to_pylist()
    return [row["anchor"] for row in rows if row["shard"] == shard and chunk in (None, row["chunk"])]


# Disks


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of so many bytes, which only root can make."""
    if os.geteuid():
        pytest.skip("needs root, to mount a small disk")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["4k", "16k", "48k", "80k", "120k", "160k"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_disk_that_fills_up(
    given: tuple[Path, str, scaledproc.Run, float],
    tmp_path: Path,
    size: str,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Full at the beginning, amid a chunk, a shard, the table: told in words, and continued once there is room."""
    data, extractor, expected, _ = given
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    options: dict[str, Any] = {"extractor": extractor, "chunk": 2, "jobs": jobs}
    with small_disk(tmp_path / "disk", size) as disk:
        with pytest.raises(scaledproc.ScaledprocError, match=r"No space left on device"):
            scaledproc.run(data, disk / "out", **options)
        assert not list(disk.rglob(".*.part")), "nothing half-written is left"
        assert not (disk / "out/lease.json").exists()
        remount(disk, "size=64m")
        run = scaledproc.run(data, disk / "out", **options)
        assert output_bytes(run.store) == output_bytes(expected.store)
        assert not (disk / "out/work").exists()


@pytest.mark.slow
def test_a_disk_that_becomes_read_only(
    given: tuple[Path, str, scaledproc.Run, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, extractor, expected, _ = given
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    options: dict[str, Any] = {"extractor": extractor, "chunk": 2, "jobs": 2}
    with small_disk(tmp_path / "disk", "64m") as disk:
        remount(disk, "ro")
        with pytest.raises(scaledproc.ScaledprocError, match=r"Read-only file system"):
            scaledproc.run(data, disk / "out", **options)
        remount(disk, "rw")
        run = scaledproc.run(data, disk / "out", **options)
        assert output_bytes(run.store) == output_bytes(expected.store)
        remount(disk, "ro")
        again = scaledproc.run(data, disk / "out", **options)
        assert again.record.state == "done", "a finished run may be looked at on a disk that cannot be written"
