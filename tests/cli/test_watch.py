"""`scaledproc watch`: runs in a folder and in S3, at work and finished."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import pytest
from support import COMMAND, Bucket, Cli, clean_environment

import scaledproc
from scaledproc.events import ChunkDone, Event
from scaledproc.testing import PROBE, write_probe_dataset


@contextmanager
def watching(*words: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address that the command prints, and its process, which is ended with Ctrl-C."""
    with subprocess.Popen(
        [*COMMAND, "watch", *words],
        env=clean_environment(env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise AssertionError(process.communicate(timeout=60)[1])
            yield line.strip(), process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def get(url: str) -> str:
    with urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def begun(folder: Path, output: str, **more: object) -> None:
    """A run that is interrupted after some chunks."""

    def listen(event: Event) -> None:
        if isinstance(event, ChunkDone):
            raise KeyboardInterrupt

    write_probe_dataset(folder)
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(folder, output, extractor=PROBE, shards=3, chunk=2, jobs=1, on_event=listen, **more)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_run_that_goes_on_and_ends(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    begun(tmp_path / "data", output)
    with watching(output) as (url, process):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{30,}/", url)
        assert "stopped" in get(url)
        assert re.search(r"of 38 tasks done.*not finished", get(url))
        scaledproc.run(tmp_path / "data", output, extractor=PROBE, shards=3, chunk=2, jobs=1)
        end = time.monotonic() + 60
        while 'class="state done"' not in get(url):
            assert time.monotonic() < end
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.splitlines()[0] == "Ctrl-C ends this; the run goes on"
    assert "the run is over" in said
    assert "Traceback" not in said


SLOW = """
import time
import scaledproc

@scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", unit="file")
def slow(task):
    time.sleep(0.8 if task.anchor != "00.txt" else 0)
    if task.path.read_text() == "bad":
        raise ValueError("of no use")
    return {"n": 1}
"""


def wait_until(url: str, *words: str) -> str:
    """The page once it has these words."""
    end = time.monotonic() + 60
    while not all(word in get(url) for word in words):
        assert time.monotonic() < end, get(url).partition("<body")[2][:2000]
        time.sleep(0.2)
    return get(url)


@pytest.mark.slow
def test_an_update_of_a_finished_run_is_followed_with_its_pace_and_failures(tmp_path: Path) -> None:
    """One shard: what failed is told while it goes on; at the end the new table is shown."""
    data, output, own = tmp_path / "data", tmp_path / "out", tmp_path / "slow.py"
    own.write_text(SLOW)
    data.mkdir()
    (data / "00.txt").write_text("x")
    words = ["run", str(data), str(output), "--extractor", f"{own}:slow", "--chunk", "2", "--jobs", "1", "--quiet"]
    assert subprocess.run([*COMMAND, *words], env=clean_environment({}), check=False, timeout=120).returncode == 0
    for at in range(1, 40):
        (data / f"{at:02}.txt").write_text("bad" if at == 2 else "x")
    with subprocess.Popen([*COMMAND, *words, "--update"], env=clean_environment({})) as update:
        end = time.monotonic() + 60
        while not list(output.glob("update/work/todo/work/**/*.parquet")):
            assert time.monotonic() < end
            time.sleep(0.05)
        told = subprocess.run(
            [*COMMAND, "status", str(output / "update/work/todo"), "--json"],
            env=clean_environment({}),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert '"state": "running"' in told.stdout.decode()  # its lease is that of the folder above
        with watching(str(output)) as (url, process):
            page = wait_until(url, "Update: ", "<dt>Time left</dt>", "of no use")
            assert f"update of <bdi>{output}" in page or f"update of {output}" in page
            assert "<dt>Rate</dt>" in page
            assert 'class="state running"' in page
            assert update.wait(120) == 3  # a task is in quarantine
            wait_until(url, "39 tasks done (1 reused), 1 quarantined, 39 rows", 'class="state done"')
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert said.splitlines()[0] == "Ctrl-C ends this; the run goes on"
    assert said.splitlines()[1] == "the run is over"


def test_an_update_that_was_left_is_a_note_of_the_run_that_is_there(tmp_path: Path) -> None:
    """Nobody is at work on it: what is there is the table of before."""
    write_probe_dataset(tmp_path / "data")
    options = {"extractor": PROBE, "shards": 3, "chunk": 2, "jobs": 1}
    scaledproc.run(tmp_path / "data", tmp_path / "out", **options)  # type: ignore[arg-type]

    def listen(event: Event) -> None:
        if isinstance(event, ChunkDone):
            raise KeyboardInterrupt

    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(tmp_path / "data", tmp_path / "out", update=True, on_event=listen, **options)  # type: ignore[arg-type]
    assert (tmp_path / "out/update").exists()
    with watching(str(tmp_path / "out")) as (url, _):
        page = get(url)
    assert 'class="state done"' in page
    assert "an update of it was begun" in page


def test_of_a_run_that_is_over_it_is_not_said_that_it_goes_on(tmp_path: Path) -> None:
    write_probe_dataset(tmp_path / "data")
    scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=PROBE, jobs=1)
    with watching(str(tmp_path / "out")) as (_, process):
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert said.splitlines()[0] == "the run is over"
    assert "goes on" not in said


def test_a_browser_is_given_a_file_of_the_owners_and_no_address(tmp_path: Path) -> None:
    """A command line, which everybody on the machine can read, has no token; the file is gone at the end."""
    begun(tmp_path / "data", str(tmp_path / "out"))
    noted = tmp_path / "noted"
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\nfile="${{1#file://}}"\n{{ echo "$1"; stat -c %a "$file"; cat "$file"; }} '
        f"> {noted}.part\nmv {noted}.part {noted}\n"
    )
    browser.chmod(0o755)
    with watching(str(tmp_path / "out"), "--open", env={"BROWSER": f"{browser} %s"}) as (url, _):
        end = time.monotonic() + 30
        while not noted.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        given, mode, page = noted.read_text().splitlines()
        assert given.startswith("file:///")
        assert mode == "600"
        assert f'content="0;url={url}"' in page
        assert Path(given.removeprefix("file://")).exists()
    assert not Path(given.removeprefix("file://")).exists()


def test_what_is_no_run_is_refused(cli: Cli, tmp_path: Path) -> None:
    result = cli("watch", "nowhere")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.slow
def test_a_run_in_s3_costs_less_than_a_hundredth_of_a_core(s3: Bucket, tmp_path: Path) -> None:
    """From a process that has only the address of its folder; what it takes is counted by the system."""
    output = s3.url(f"watch-{uuid4().hex}")
    begun(
        tmp_path / "data", output, storage_options={f"output.{key}": each for key, each in s3.storage_options.items()}
    )
    options = s3.storage_options
    env = {
        "AWS_ACCESS_KEY_ID": str(options["key"]),
        "AWS_SECRET_ACCESS_KEY": str(options["secret"]),
        "AWS_ENDPOINT_URL": s3.server.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with watching(output, env=env) as (url, process):
        assert output in get(url)  # its name in the page
        time.sleep(4)  # what it imports at first
        took, began = [cpu_of(process.pid)], time.monotonic()
        while time.monotonic() - began < 25:
            get(url)  # as the page does
            time.sleep(2)
            took.append(cpu_of(process.pid))
        seconds = time.monotonic() - began
    looks = [after - before for before, after in pairwise(took)]
    # Who looks then waits for as long as makes it less than a hundredth; the first look of these 25 s is not over.
    assert (sum(looks) - max(looks)) / seconds < 0.01, looks
    assert max(looks) < 1, looks


@pytest.mark.slow
def test_the_page_follows_the_run_in_a_browser(tmp_path: Path) -> None:
    """Chromium: what is shown changes by itself, without an error, and nothing else is asked for."""
    path = shutil.which("chromium")
    if path is None:
        text = "there is no chromium: apt-get install chromium"
        (pytest.fail if os.environ.get("SCALEDPROC_REQUIRE_ALL") == "1" else pytest.skip)(text)
    from playwright.sync_api import sync_playwright

    output = str(tmp_path / "out")
    begun(tmp_path / "data", output)
    with watching(output) as (url, _), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        errors, asked = list[str](), list[str]()
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        assert "not finished" in page.inner_text("main")
        # In a process of its own: Playwright's loop is at work in this one.
        words = [output, "--extractor", PROBE, "--shards", "3", "--chunk", "2", "--jobs", "1", "--quiet"]
        done = subprocess.run([*COMMAND, str(tmp_path / "data"), *words], capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        page.wait_for_selector(".state.done", timeout=60_000)
        browser.close()
    assert errors == []
    assert set(asked) == {url}
    assert len(asked) > 1


def cpu_of(pid: int) -> float:
    """Seconds of a core that a process took."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
