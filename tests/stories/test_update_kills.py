"""Updates that are killed anywhere, in processes of their own: nothing is lost, doubled or stale.

A kill comes at a flush or a rename of the driver, of a worker or of all at once. After each the table in the folder is
the earlier one or the new one; the same command follows, until it comes to its end, whose bytes are a fresh run's.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from killing import KILL_AT_STEP, names_in
from support import clean_environment

import scaledproc
from scaledproc.run_folder.lock.lease_store import read_lease
from scaledproc.storage.store import Store
from scaledproc.testing import output_bytes

KILLS, FOLDER_KILLS, SOAK_KILLS = 20, 8, 100
HANG = 120.0  # seconds
STEPS = 160  # flushes and renames of an update, about

EXTRACTOR = f"""{KILL_AT_STEP}
import scaledproc
"""
EXTRACTOR += """
@scaledproc.extractor(
    schema={"path": "string", "n": "int64", "text": "string"}, tables={"words": {"word": "string"}}, anchor="*.txt"
)
def read(task):
    text = task.path.read_text()
    yield scaledproc.rows("words", [{"word": word} for word in text.split()])
    if "yy" in text:
        task.warn(text)
    if text.startswith("bad"):
        raise ValueError(text)
    yield from ({"path": task.anchor, "n": n, "text": text} for n in range(len(text) % 7))
"""


def change(data: Path, rng: random.Random) -> None:
    """New, changed and removed files, some of them bad."""
    for number in range(rng.randint(1, 4)):
        path = data / f"g{rng.randrange(5)}/u{rng.randrange(3)}/{rng.randrange(3)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{'bad' if rng.random() < 0.15 else 'x'} {rng.random()} {'y' * number}")
    files = sorted(data.rglob("*.txt"))
    if len(files) > 20:
        rng.choice(files).unlink()


def errors(output: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = scaledproc.Run.open(output).errors().drop_columns(["attempts"]).to_pylist()
    return rows


def kill_updates(folder: Path, kills: int, seed: int, form: str = "file") -> None:
    print(f"seed {seed}")  # noqa: T201
    rng, data, out = random.Random(seed), folder / "data", folder / "out"
    (folder / "x.py").write_text(EXTRACTOR)
    for group in range(5):
        for unit in range(3):
            (data / f"g{group}/u{unit}").mkdir(parents=True)
            (data / f"g{group}/u{unit}/0.txt").write_text(f"x {group} {unit}")
    command = [sys.executable, "-m", "scaledproc", "run", str(data), str(out), "--extractor", f"{folder}/x.py:read"]
    command += ["--jobs", "2", "--chunk", "2", "--max-failures", "100%", "--quiet", "--no-report", "--table", form]
    done, was_killed = 0, 0

    def call(*more: str, kill: dict[str, object] | None = None) -> int:
        steps = folder / f"steps{done}"
        environment = clean_environment({"STEPS": str(steps), "TMPDIR": str(folder)})
        if kill:
            environment["KILL"] = json.dumps(kill)
        process = subprocess.Popen(
            [*command, *more], start_new_session=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        told, _ = process.communicate(timeout=HANG)
        assert process.returncode in (0, -signal.SIGKILL), told.decode()
        return process.returncode

    assert call() == 0
    while was_killed < kills:
        before = output_bytes(Store.at(out))
        change(data, rng)
        fresh = folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        scaledproc.run(data, fresh, extractor=f"{folder}/x.py:read", jobs=1, table=form)
        expected = output_bytes(Store.at(fresh))
        while True:
            done += 1
            target = rng.choice(["driver", "group", "worker"])
            code = call("--update", kill={"step": rng.randint(1, STEPS), "target": target})
            for name, content in output_bytes(Store.at(out)).items():
                if name.startswith("features"):
                    assert content in (before.get(name), expected.get(name)), "neither the old nor the new one"
            if code == 0:
                break
            was_killed += 1
            assert scaledproc.Run.open(out).record.state == "done"
        found = output_bytes(Store.at(out))
        # A task whose worker was killed was tried twice, as errors.parquet says; all else is the same to the byte.
        assert {**found, "errors.parquet": ""} == {**expected, "errors.parquet": ""}
        assert errors(out) == errors(fresh)
        left = {*names_in(out)} - {"report.html"}  # which only the command writes
        assert left == {*names_in(fresh)} - {"report.html"}, "something is left"
        assert read_lease(Store.at(out)) is None
        assert scaledproc.verify(out).ok
    print(f"{was_killed} kills, {done} updates")  # noqa: T201


@pytest.mark.slow
def test_kills_of_updates(tmp_path: Path) -> None:
    seed = os.environ.get("SCALEDPROC_TEST_SEED")
    kill_updates(tmp_path, KILLS, int(seed) if seed else random.SystemRandom().randrange(10**6))


@pytest.mark.slow
def test_kills_of_updates_of_folders(tmp_path: Path) -> None:
    seed = os.environ.get("SCALEDPROC_TEST_SEED")
    kill_updates(tmp_path, FOLDER_KILLS, int(seed) if seed else random.SystemRandom().randrange(10**6), "dataset")


@pytest.mark.soak
@pytest.mark.parametrize("form", ["file", "dataset"])
def test_many_kills_of_updates(tmp_path: Path, form: str) -> None:
    kill_updates(tmp_path, SOAK_KILLS, int(os.environ.get("SCALEDPROC_TEST_SEED", "1")), form)
