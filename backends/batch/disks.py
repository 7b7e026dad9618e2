"""Which folders are on a disk of this machine alone, as far as its table of mounts tells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_OWN = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "ramfs", "devtmpfs", "overlay", "f2fs", "vfat", "zfs"}
)
"""Kinds of filesystems that one machine has for itself, unless it serves them to others."""


def local_disks(places: Mapping[str, Path]) -> list[str]:
    """The places that are on this machine's own disks, as texts for a person.

    Parameters
    ----------
    places
        Folders, by what they are called.
    """
    try:
        mounts = mounted(Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:  # no Linux
        return []
    kinds = {what: (place, kind_at(mounts, place.resolve())) for what, place in places.items()}
    return [f"{what} ({place}, {kind})" for what, (place, kind) in kinds.items() if kind in _OWN]


def mounted(text: str) -> dict[Path, str]:
    """The kind of filesystem at each mount point, from the content of /proc/mounts; of several at one, the last."""
    fields = [line.split(" ") for line in text.splitlines()]
    return {Path(_plain(words[1])): words[2] for words in fields if len(words) > 2}


def kind_at(mounts: Mapping[Path, str], place: Path) -> str:
    """The kind of filesystem that a path is on."""
    return next((mounts[each] for each in (place, *place.parents) if each in mounts), "")


def _plain(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
