"""Which folders are on a disk of this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledproc.backends.batch import disks

MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
10.0.0.1@tcp:/scratch /lustre/my\040scratch lustre rw 0 0
/dev/sda1 /over ext4 rw 0 0
server:/over /over nfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/data/x", "ext4"),
        ("/tmp/x/y", "tmpfs"),
        ("/home/ada/data", "nfs4"),
        ("/homes", "ext4"),
        ("/lustre/my scratch/run", "lustre"),
        ("/over", "nfs"),
    ],
)
def test_the_filesystem_of_a_place(place: str, kind: str) -> None:
    assert disks.kind_at(disks.mounted(MOUNTS), Path(place)) == kind


def test_places_are_named_that_other_machines_may_not_see(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        disks, "mounted", lambda text: {tmp_path: "ext4", tmp_path / "shared": "nfs4", Path("/"): "xfs"}
    )

    found = disks.local_disks({"the dataset": tmp_path / "data", "the output": tmp_path / "shared/out"})

    assert found == [f"the dataset ({tmp_path}/data, ext4)"]
