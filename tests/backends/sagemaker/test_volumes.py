"""How large the disks of machines are."""

from __future__ import annotations

import pytest

from scaledproc.backends.sagemaker.volumes import volume_gb
from scaledproc.errors import UsageError

GB = 10**9


def test_a_disk_holds_what_has_to_be_there() -> None:
    assert volume_gb("stage", GB) == 30
    assert volume_gb("file", 300 * GB) * GB > 300 * GB
    assert volume_gb("stage", 300 * GB) * GB / 2 > 300 * GB
    with pytest.raises(UsageError, match="more --shards"):
        volume_gb("file", 17_000 * GB)
