"""How commands and scripts end: a dataset is forbidden, the machine allows little, a table was read at last."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from misbehaving_store import misbehaving
from support import COMMAND, COUNT, Bucket, Cli, clean_environment

import scaledproc

# A dataset that is forbidden


@pytest.mark.parametrize("words", [("plan",), ("--backend", "local")])
def test_a_bucket_whose_listing_is_forbidden(s3: Bucket, cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    s3.fs.pipe_file(f"{s3.name}/endings/closed/a.txt", b"1")
    with misbehaving(s3.server) as store:
        store.decide = lambda request: "forbidden" if request.is_listing else None
        to = (str(tmp_path / "out"),) if words != ("plan",) else ()
        url = s3.url("endings/closed")
        done = cli(*words, url, *to, "--extractor", "files", env=store.front.environment())
        asked = sum(request.is_listing for request, _ in store.log)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"scaledproc: {url} may not be read: ")
    assert asked == 1  # it is not tried again: it would be forbidden again
    assert not (tmp_path / "out").exists()


class _Forbids(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(403)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def forbidden() -> Iterator[str]:
    """A web server that forbids all."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forbids) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/data"
        server.shutdown()


@pytest.mark.parametrize("words", [("plan",), ("--backend", "local")])
def test_a_web_server_that_forbids(forbidden: str, cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    to = (str(tmp_path / "out"),) if words != ("plan",) else ()
    done = cli(*words, forbidden, *to, "--extractor", "files")
    assert done.returncode in (1, 2)
    (said,) = done.stderr.splitlines()
    assert said.startswith("scaledproc: ")
    assert forbidden in said
    assert not (tmp_path / "out").exists()


# A machine that allows little

_MAY_READ = "+dac_override,+dac_read_search"
_OTHER_USER = ("--reuid=54321", "--clear-groups", *(f"--{of}=-all,{_MAY_READ}" for of in ("inh-caps", "bounding-set")))


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another user may write in, with some files and an extractor."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for number in range(6):
            (folder / f"data/{number}.txt").write_text(str(number))
        (folder / "e.py").write_text(COUNT)
        for each in (folder, folder / "data"):
            each.chmod(0o777)
        yield folder


def limited(folder: Path, limit: str, *before: str) -> subprocess.CompletedProcess[str]:
    command = " ".join([*COMMAND, "data", "out", "--extractor", "e.py:count", "--jobs", "2", "--quiet"])
    return subprocess.run(
        [*before, "bash", "-c", f"ulimit {limit}; {command}"],
        cwd=folder,
        env=clean_environment({"HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def check_ended(folder: Path, done: subprocess.CompletedProcess[str], limit: str) -> None:
    """It is done, or says in a sentence which limit stood in the way, and goes on without that."""
    said = [line for line in done.stderr.splitlines() if line.startswith("scaledproc: ")]
    if done.returncode == 0:
        assert not said, done.stderr
    else:
        assert done.returncode == 1, done.stderr
        assert len(said) == 1, done.stderr
        assert limit in said[0]
        assert limited(folder, "-c 0").returncode == 0
    assert scaledproc.Run.open(folder / "out").to_arrow()["path"].to_pylist() == [f"{n}.txt" for n in range(6)]


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 6, 9, 12, 200])
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="a limit of processes is for all of a user, and root has none: root can be a user that has no other ones",
)
def test_few_processes_and_threads(place: Path, most: int) -> None:
    done = limited(place, f"-u {most}", "setpriv", *_OTHER_USER, f"--ambient-caps=-all,{_MAY_READ}")
    assert (done.returncode == 0) == (most == 200), done.stderr
    check_ended(place, done, "ulimit -u")


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [200, 400, 550, 750, 4000])
def test_little_memory_of_addresses(place: Path, megabytes: int) -> None:
    done = limited(place, f"-v {megabytes}000")
    assert done.returncode == 0 or megabytes < 4000
    assert done.returncode != 0 or megabytes > 200
    check_ended(place, done, "ulimit -v")


# After a table was read

SCRIPT = """
import sys
import fsspec, scaledproc

@scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt", unit="file")
def value(task):
    return {"v": int(task.path.read_text())}

for number in range(3):
    with fsspec.open(f"{sys.argv[1]}/{number}.txt", "w") as file:
        file.write(str(number))
run = scaledproc.run(sys.argv[1], sys.argv[2], extractor=value, jobs=1, overwrite=True)
run.to_arrow()
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["s3", "memory", "local"])
def test_a_script_whose_last_line_reads_the_table(s3: Bucket, tmp_path: Path, where: str) -> None:
    """Arrow's threads may have the file still when the interpreter ends: by luck, so it is done some times."""
    (tmp_path / "in").mkdir()
    places = {
        "s3": (s3.url("endings/in"), s3.url("endings/out")),
        "memory": ("memory://in", "memory://out"),
        "local": (str(tmp_path / "in"), str(tmp_path / "out")),
    }
    for _ in range(8):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *places[where]],
            env=clean_environment(s3.server.environment()),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert not [words for words in ("terminate", "Fatal", "Traceback") if words in done.stderr], done.stderr
