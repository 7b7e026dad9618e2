"""The command that does a job, as others can read it: it has no secrets."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.redaction import has_login, is_secret_option
from scaledproc.errors import UsageError

if TYPE_CHECKING:
    from scaledproc.run_folder.folder import RunFolder


def job_command(
    run: RunFolder,
    what: str,
    report: str,
    *,
    jobs: int,
    grace: float,
    scratch: Path | None = None,
    finish: bool = False,
) -> str:
    """The command that does a job, for a shell.

    Parameters
    ----------
    run
        The run.
    what, report
        Which job, and the name that its heartbeat has; as a shell reads them.
    jobs
        Its processes.
    grace
        Seconds that it has to finish its chunks when it is told to end.
    scratch
        Where it stages remote data.
    finish
        Whether it ends the run.

    Raises
    ------
    UsageError
        If a storage option may be a secret.
    """
    words = [sys.executable, "-m", "scaledproc", "worker", run.store.uri]
    options = [f"--jobs={jobs}", f"--grace={grace:g}"]
    if scratch is not None:
        options.append(f"--scratch={scratch}")
    options += [f"--storage-option={key}={json.dumps(value)}" for key, value in storage_options(run).items()]
    return f"{shlex.join(words)} {what} --report {report} {shlex.join(options)}{' --finish' if finish else ''}"


def jobs_name(run: RunFolder) -> str:
    """What the names of all jobs of a run begin with, whoever submits them."""
    import hashlib

    return f"scaledproc-{hashlib.sha256(run.record.work_id.encode()).hexdigest()[:10]}"


def storage_options(run: RunFolder) -> dict[str, Any]:
    """Storage options for the workers.

    Raises
    ------
    UsageError
        If an option may be a secret: the commands of jobs can be read by others.
    """
    found: dict[str, Any] = {}
    for side, store in (("input", run.dataset), ("output", run.store)):
        for key, value in store.options.items():
            if _may_be_secret(key, value):
                raise UsageError(
                    f"--storage-option {key}: cannot be given to the jobs, whose commands others can read; set it "
                    "in the environment, which they have too, or in the configuration of your account"
                )
            found[f"{side}.{key}"] = value
    return found


def _may_be_secret(key: str, value: Any) -> bool:
    """Whether a storage option must not be shown, or cannot be written as a text."""
    if isinstance(value, Mapping):
        return any(_may_be_secret(str(inner), each) for inner, each in value.items())
    if isinstance(value, list | tuple):
        return any(_may_be_secret(key, each) for each in value)
    is_plain = isinstance(value, str | int | float | bool) or value is None
    return is_secret_option(key) or not is_plain or (isinstance(value, str) and has_login(value))
