"""The local backend keeps what every backend promises, with several numbers of cores."""

from __future__ import annotations

import pytest

from scaledproc.testing import BackendConformance


@pytest.mark.slow
class TestOneProcess(BackendConformance):
    jobs = 1


class TestTwoProcesses(BackendConformance):
    jobs = 2


@pytest.mark.slow
class TestMoreProcessesThanCores(BackendConformance):
    jobs = 5
