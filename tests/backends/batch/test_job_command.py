"""The command that does a job."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scaledproc.backends.batch.job_command import storage_options
from scaledproc.errors import UsageError


def test_secrets_are_not_in_scripts_that_others_can_read() -> None:
    def run(**options: Any) -> Any:
        return SimpleNamespace(dataset=SimpleNamespace(options={}), store=SimpleNamespace(options=options))

    assert storage_options(run(client_kwargs={"region": "x"}, endpoint_url="http://s3")) == {
        "output.client_kwargs": {"region": "x"},
        "output.endpoint_url": "http://s3",
    }
    for name, value in (
        ("secret", "x"),
        ("token", "x"),
        ("endpoint_url", "http://ada:pw@s3"),
        ("client_kwargs", {"token": "x"}),
    ):
        with pytest.raises(UsageError, match=f"--storage-option {name}: cannot be given to the jobs"):
            storage_options(run(**{name: value}))
