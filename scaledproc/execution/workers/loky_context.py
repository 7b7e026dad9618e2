"""loky's way to start processes, but for the module that they begin with, which is `entry`."""

from __future__ import annotations

from typing import Any

from joblib.externals.loky.backend.context import LokyContext
from joblib.externals.loky.backend.popen_loky_posix import Popen
from joblib.externals.loky.backend.process import LokyProcess

from scaledproc.execution.workers import entry


class _Popen(Popen):  # type: ignore[misc]  # joblib has no types
    pass


_Popen.__module__ = entry.__name__  # which is what loky starts


class WorkerProcess(LokyProcess):  # type: ignore[misc]  # joblib has no types
    """A process that begins with `entry`."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - loky's name
        return _Popen(process_obj)


class WorkerContext(LokyContext):  # type: ignore[misc]  # joblib has no types
    """What loky's executor gets its processes from."""

    Process = WorkerProcess
