"""What is there already, and is not looked at twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from fetching_support import NAME, fetch, of
from physionet_server import Fault, PhysioNet
from support import tree_bytes

from scaledproc.fetching import transfer

ONE = f"{NAME}/30/3000003/3000003_0001.dat"


# Again


def test_again_fetches_nothing(net: PhysioNet, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch(net, dest)
    net.requests.clear()
    hashed: list[Path] = []
    monkeypatch.setattr(transfer, "digest_of", lambda path: hashed.append(path))
    again = fetch(net, dest)
    assert (again.files, again.already, again.already_size) == (0, first.files, first.size)
    assert hashed == []  # nor does it read what it once found right
    lists = {f"{NAME}/{name}" for name in ("RECORDS", "", "30/", "31/", "32/")}
    assert set(net.asked()) == lists  # nor does it read the checksums, which can be many, again
    net.files[f"{NAME}/SHA256SUMS.txt"] += b"\n"
    fetch(net, dest)
    assert net.asked()[f"{NAME}/SHA256SUMS.txt"] == 2  # read, as it changed, and fetched


def test_what_is_there_is_checked_once(net: PhysioNet, dest: Path, demo: Path) -> None:
    """Files that somebody else put there: right ones stay, wrong ones are fetched."""
    expected = of(demo, "30/3000003/")
    for path, content in expected.items():
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        (dest / path).write_bytes(content)
    right = dest / "30/3000003/3000003.hea"
    stamp = right.stat().st_mtime_ns
    (dest / "30/3000003/3000003_0001.dat").write_bytes(b"x" * len(expected["30/3000003/3000003_0001.dat"]))
    (dest / "30/3000003/3000003_0002.dat").write_bytes(b"short")
    done = fetch(net, dest, groups="30", records=1)
    assert tree_bytes(dest) == expected
    assert (done.files, done.already) == (2, len(expected) - 2)
    assert right.stat().st_mtime_ns == stamp
    (dest / "30/3000003/3000003_0001.dat").write_bytes(b"y" * len(expected["30/3000003/3000003_0001.dat"]))
    assert fetch(net, dest, groups="30", records=1).files == 1  # changed since it was found right
    assert tree_bytes(dest) == expected


def test_wrong_file_does_not_stay(net: PhysioNet, dest: Path) -> None:
    there = dest / "30/3000003/3000003_0001.dat"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"x" * len(net.files[ONE]))
    net.always[ONE] = Fault(garbled=True)
    assert len(fetch(net, dest, groups="30", records=1).failed) == 1
    assert not there.exists()
