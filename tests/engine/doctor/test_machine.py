"""What a machine has of what runs need; its limits are made up where this one has none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from told import Clock

from scaledproc._util.process.memory import Memory, usable_memory
from scaledproc.engine.doctor import machine
from scaledproc.engine.doctor.findings import Verdict
from scaledproc.execution.workers.pool import cores

GB = 10**9


@pytest.fixture
def has_cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int, int], None]:
    """Have the machine have so many cores, of which affinity and the count allow so many."""

    def set_them(there: int, affinity: int, counted: int) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: there)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
        monkeypatch.setattr(machine, "cores", lambda jobs=None: counted if jobs is None else jobs)

    return set_them


@pytest.mark.parametrize(
    ("there", "affinity", "counted", "jobs", "text"),
    [
        (8, 8, 8, None, "8 cores"),
        (8, 2, 2, None, "2 cores of 8: this process's affinity allows no more"),
        (8, 8, 3, None, "3 cores of 8: a limit of the container"),
        (8, 8, 8, 4, "4 cores"),
        (1, 1, 1, None, "1 core"),
    ],
)
def test_cores_are_told_with_what_limits_them(
    has_cores: Callable[[int, int, int], None], there: int, affinity: int, counted: int, jobs: int | None, text: str
) -> None:
    has_cores(there, affinity, counted)
    found = machine.find_cores(jobs)
    assert found.verdict is Verdict.FINE
    assert found.text.startswith(text)
    assert found.details == {"cores": jobs or counted, "machine": there, "affinity": affinity}


def test_more_processes_than_cores_are_a_worry(has_cores: Callable[[int, int, int], None]) -> None:
    has_cores(4, 4, 4)
    found = machine.find_cores(9)
    assert (found.verdict, found.stops) == (Verdict.WORRY, False)
    assert "9 processes are asked for, and this process may use 4 cores" in found.text


def test_cores_are_those_that_a_run_would_use() -> None:
    assert machine.find_cores().details["cores"] == cores()


@pytest.mark.parametrize(
    ("memory", "jobs", "verdict", "advice"),
    [
        (Memory(16 * GB, 8 * GB, is_limited=False), 8, Verdict.FINE, ""),
        (Memory(16 * GB, 8 * GB, is_limited=True), 64, Verdict.WORRY, "use --jobs 8"),
        (Memory(GB, GB // 2, is_limited=False), 1, Verdict.WORRY, "a machine with more memory"),
        (Memory(GB, 10**8, is_limited=False), 1, Verdict.MISSING, "a worker process needs 256 MB"),
    ],
)
def test_memory_is_told_for_each_core(
    monkeypatch: pytest.MonkeyPatch, memory: Memory, jobs: int, verdict: Verdict, advice: str
) -> None:
    monkeypatch.setattr(machine, "usable_memory", lambda: memory)
    found = machine.find_memory(jobs)
    assert (found.verdict, found.stops) == (verdict, verdict is Verdict.MISSING)
    assert advice in found.advice
    assert bool(found.advice) == bool(advice)
    assert ("container" in found.text) == memory.is_limited


def test_scratch_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    found = machine.find_scratch(tmp_path)
    assert not found.stops
    assert found.details["write"] > 0
    assert found.details["read"] > 0
    assert str(tmp_path) in found.text
    assert list(tmp_path.iterdir()) == []


def test_speed_is_that_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a disk that takes 0.4 seconds for all that is asked of it between two looks at it."""
    monkeypatch.setattr(machine, "PIECE", 1000)
    clock = Clock()

    def later() -> float:
        clock.now += 0.4
        return clock.now

    speed = machine.measure_disk(tmp_path, later)
    # Written while 0.4 and 0.8 s have passed, and all is there after 1.6 s; read whole, as 0.4 and 0.8 s show.
    assert speed.write == pytest.approx(2000 / 1.6)
    assert speed.read == pytest.approx(2000 / 1.2)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("nfs4", "a folder of a local disk"), ("lustre", "a folder of a local disk"), ("tmpfs", "takes memory")],
)
def test_scratch_that_is_no_local_disk_is_a_worry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    monkeypatch.setattr(machine, "filesystem_of", lambda _: kind)
    found = machine.find_scratch(tmp_path)
    assert (found.verdict, found.stops) == (Verdict.WORRY, False)
    assert words in found.advice


def test_scratch_that_is_slow_is_a_worry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "filesystem_of", lambda _: "ext4")
    monkeypatch.setattr(machine, "measure_disk", lambda _: machine.DiskSpeed(10e6, 10e6))
    found = machine.find_scratch(tmp_path)
    assert found.verdict is Verdict.WORRY
    assert "faster disk" in found.advice


def test_scratch_that_is_not_there_or_full_stops_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.find_scratch(tmp_path / "nowhere")
    assert (found.verdict, found.stops) == (Verdict.MISSING, True)
    assert "No such file or directory" in found.text

    def full(_: Path) -> machine.DiskSpeed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(machine, "measure_disk", full)
    found = machine.find_scratch(tmp_path)
    assert (found.verdict, found.stops) == (Verdict.MISSING, True)
    assert "No space left on device" in found.text


def test_the_filesystem_is_that_of_the_innermost_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    import psutil

    inner = tmp_path / "a"
    inner.mkdir()
    mounts = [
        SimpleNamespace(mountpoint=place, fstype=kind)
        for place, kind in (("/", "ext4"), (str(inner), "nfs4"), ("/proc", "p"))
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    assert machine.filesystem_of(inner) == "nfs4"
    assert machine.filesystem_of(tmp_path) == "ext4"


def test_locks_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing

    assert machine.find_shared_memory(2).verdict is Verdict.FINE

    class Refusing:
        def Lock(self) -> None:  # noqa: N802 - as multiprocessing calls it
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(multiprocessing, "get_context", lambda _: Refusing())
    found = machine.find_shared_memory(2)
    assert (found.verdict, found.stops) == (Verdict.MISSING, True)
    assert "--shm-size" in found.advice
    assert not machine.find_shared_memory(1).stops  # one process shares nothing


def test_open_files_that_do_not_suffice_are_a_worry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.find_open_files(2).verdict is Verdict.FINE
    monkeypatch.setattr(machine, "allowed_processes", lambda _: 3)
    found = machine.find_open_files(8)
    assert (found.verdict, found.stops) == (Verdict.WORRY, False)
    assert found.text.startswith("3 of 8 processes")


# Limits of memory


@pytest.mark.parametrize("version", [1, 2])
def test_memory_is_what_the_innermost_and_the_outer_limits_leave(tmp_path: Path, version: int) -> None:
    own = tmp_path / "own"
    own.write_text("0::/jobs/1\n" if version == 2 else "9:cpu:/jobs/1\n3:memory:/jobs/1\n")
    top = tmp_path / "groups" if version == 2 else tmp_path / "groups/memory"
    limit, used = (
        ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    (top / "jobs/1").mkdir(parents=True)
    machine_has = usable_memory(tmp_path, tmp_path / "none")
    assert not machine_has.is_limited
    (top / "jobs/1" / limit).write_text("max" if version == 2 else str(2**63 - 4096))
    (top / "jobs/1" / used).write_text("5000000")
    assert usable_memory(tmp_path / "groups", own).total == machine_has.total
    (top / "jobs" / limit).write_text("300000000")
    (top / "jobs" / used).write_text("100000000")
    assert usable_memory(tmp_path / "groups", own) == Memory(300_000_000, 200_000_000, is_limited=True)
    (top / "jobs/1" / limit).write_text("40000000")
    assert usable_memory(tmp_path / "groups", own) == Memory(40_000_000, 35_000_000, is_limited=True)
