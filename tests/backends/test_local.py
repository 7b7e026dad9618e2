"""The local backend keeps what every backend promises, with several numbers of cores."""

from __future__ import annotations

from scaledproc.testing import BackendConformance


class TestOneProcess(BackendConformance):
    jobs = 1


class TestTwoProcesses(BackendConformance):
    jobs = 2


class TestMoreProcessesThanCores(BackendConformance):
    jobs = 5
