"""One host of a job: a real process with its own `/opt/ml` tree."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .data import Data
from .wire import Json

ML_ROOT = "SCALEDPROC_ML_ROOT"  # the variable that tells the worker where its /opt/ml is
ML = "/opt/ml"
LINE_LIMIT = 256 * 1024  # bytes of one log event; the rest is cut off, as CloudWatch Logs does


@dataclass
class Host:
    """A host and its process; `root` is its `/opt/ml`, `lines` what it printed, as (milliseconds, text)."""

    name: str
    root: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    exit_code: int | None = None
    is_idle: bool = False  # ends without doing anything
    lines: list[tuple[int, str]] = field(default_factory=list)
    uploaded: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _read: int = 0  # bytes of the log that are in `lines`

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def temporary(self) -> Path:
        """Its `/tmp`."""
        return self.root.parent / "tmp"

    def local(self, path: str) -> Path:
        """Where a path of the container is on this machine."""
        return self.root / path.removeprefix(ML).lstrip("/")

    def prepare(self, config: Json, resources: Json, folders: Sequence[str]) -> None:
        for folder in ("config", "output", "processing", *(folder.removeprefix(ML).lstrip("/") for folder in folders)):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "config" / "processingjobconfig.json").write_text(json.dumps(config))
        (self.root / "config" / "resourceconfig.json").write_text(json.dumps(resources))
        self.log.touch()

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run the command in a process group of its own; raises OSError when it cannot be run."""
        # With setpriv (Linux), the kernel ends the process when the thread that started it ends, even if it was killed.
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if (setpriv := shutil.which("setpriv")) else []
        if shutil.which(command[0], path=environment["PATH"]) is None:
            raise FileNotFoundError(f"no such command: {command[0]}")
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.root,
                env=environment,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """The exit code once it has ended, as a shell gives it; then none of its processes is left."""
        if self.is_idle:
            self.exit_code = 0
        if self.exit_code is None and self.process is not None:
            # The leader is not reaped before its group is ended: until then nobody else can get its id.
            if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self.kill()
            code = self.process.wait()
            self.exit_code = code if code >= 0 else 128 - code
        return self.exit_code

    def terminate(self) -> None:
        """Ask it to end, as a container is asked: the signal goes to its first process alone."""
        if self.exit_code is None and self.process is not None:
            os.kill(self.process.pid, signal.SIGTERM)  # not reaped yet, so the id is still its own

    def kill(self) -> None:
        """End all its processes."""
        if self.exit_code is None and self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def read_log(self, last: bool = False) -> None:
        """Take up the lines that it printed since; the `last` one may lack its end."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content if last else content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        at = time.time_ns() // 1_000_000
        for line in filter(None, whole.splitlines()):  # a log event has at least one character
            self.lines.append((at, line[:LINE_LIMIT].decode(errors="replace")))

    def message(self) -> bytes:
        path = self.root / "output" / "message"
        return path.read_bytes() if path.is_file() else b""

    def upload(self, data: Data, output: Json, kms_key: str | None) -> list[str]:
        """Copy an output's new and changed files to S3; their keys."""
        folder, keys = self.local(output["LocalPath"]), []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with suppress(FileNotFoundError):
                state = path.stat()
                version = (state.st_mtime_ns, state.st_size)
                if self.uploaded.get(path) != version:
                    key = data.send(path, output["S3Uri"], path.relative_to(folder).as_posix(), kms_key)
                    self.uploaded[path] = version
                    keys += [key] if key else []
        return keys

    def as_resources(self, names: Sequence[str], instance_type: str) -> dict[str, Any]:
        return {"current_host": self.name, "hosts": list(names), "current_instance_type": instance_type}
