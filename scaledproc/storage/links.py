"""Which links of a dataset are followed: those that stay below its root, and those into their own store.

git-annex (DataLad) keeps the content of a repository's files in `.git/annex/objects`, DVC in `.dvc/cache`, Hugging Face
that of a cache in `blobs`; the files are links to it, and are taken by the links' names alone. Such a store may lie
above the dataset, and still is the dataset's. No link to a folder is followed, nor one to anything else.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

OBJECTS = ".git/annex/objects"
DVC_CACHE = ".dvc/cache"
BLOBS = "blobs"
SNAPSHOTS = "snapshots"
LARGEST_POINTER = 32 * 2**10  # bytes: git-annex takes nothing larger for one
_POINTERS = {"annex": b"/annex/objects/", "lfs": b"version https://git-lfs.github.com/spec/"}
"""How a file begins that only says which content belongs in its place, by the folder in `.git` of who wrote it."""


class Links:
    """The links of one dataset.

    Parameters
    ----------
    root
        The dataset's folder; it may be a link itself.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self._nearest: dict[tuple[str, str], str | None] = {}

    def follow(self, relative: str) -> tuple[str, str] | None:
        """Where the content of a link lies: a folder, and a path below it that has no links; None for elsewhere.

        Parameters
        ----------
        relative
            The link's path below the root. The folders in it are no links.
        """
        link = f"{self.root}/{relative}"
        target = os.path.realpath(link)
        inside = _below(self.root, target)
        if inside:
            return self.root, inside
        folder = _above(link)
        for find in (self._objects, _blobs, self._dvc_cache):
            store = find(folder)
            inside = _below(store, target) if store else None
            if store and inside:
                return store, inside
        return None

    def is_annexed(self, relative: str) -> bool:
        """Whether a link is git-annex's, be its content here or not."""
        try:
            return f"{OBJECTS}/" in str(Path(self.root, relative).readlink())
        except OSError:
            return False

    def pointers(self, folder: str) -> tuple[bytes, ...]:
        """How files of a folder (below the root) begin that stand for content that is not here."""
        repository = self._repository(f"{self.root}/{folder}" if folder else self.root)
        if repository is None:
            return ()
        return tuple(begin for name, begin in _POINTERS.items() if Path(repository, ".git", name).is_dir())

    def is_store(self, folder: str) -> bool:
        """Whether a folder (below the root) is for content that links name: an annex's, DVC's or Hugging Face's.

        A folder `blobs` is one where a link in the `snapshots` beside it leads to a file in it, be the file here or
        not; all in it is content then, also what no link names: of deleted revisions, of downloads that were cut off.
        """
        return f"/{folder}".endswith((f"/{OBJECTS}", f"/{DVC_CACHE}")) or self._is_of_cache(folder)

    def _is_of_cache(self, folder: str) -> bool:
        # Links that are left out as hidden count too: what they lead to is hidden with them.
        parent, _, name = f"{self.root}/{folder}".rpartition("/")
        if name != BLOBS or not _is_folder(f"{parent}/{SNAPSHOTS}"):
            return False
        for above, folders, files in os.walk(f"{parent}/{SNAPSHOTS}"):
            for each in (*files, *folders):
                link = f"{above}/{each}"
                if Path(link).is_symlink():
                    target = os.path.realpath(link)
                    if _below(f"{parent}/{name}", target) and not _is_folder(target):
                        return True
        return False

    def _repository(self, folder: str, mark: str = ".git") -> str | None:
        """The nearest folder with a `.git`, or another mark of a repository, of a folder and those above it."""
        passed = []
        found = None
        while folder:
            if (mark, folder) in self._nearest:
                found = self._nearest[mark, folder]
                break
            passed.append((mark, folder))
            if os.path.lexists(f"{folder}/{mark}"):
                found = folder
                break
            folder = _above(folder)
        self._nearest.update(dict.fromkeys(passed, found))
        return found

    def _dvc_cache(self, folder: str) -> str | None:
        """The cache of the DVC repository that a folder belongs to, where it lies in the repository."""
        repository = self._repository(folder, ".dvc")
        if repository is None:
            return None
        store = f"{repository}/{DVC_CACHE}"
        return store if os.path.realpath(store) == store else None

    def _objects(self, folder: str) -> str | None:
        """The store of the annex that a folder belongs to; it is the repository's own, or that of one around it."""
        repository = self._repository(folder)
        if repository is None:
            return None
        store = os.path.realpath(f"{repository}/{OBJECTS}")
        if _is_folder(f"{repository}/.git"):
            return store if store == f"{repository}/{OBJECTS}" else None
        # A submodule's `.git` is a link into that of the repository around it.
        around = self._repository(_above(repository))
        while around is not None:
            if _is_folder(f"{around}/.git") and _below(f"{around}/.git/modules", store):
                return store
            around = self._repository(_above(around))
        return None


def _blobs(folder: str) -> str | None:
    """The store of the Hugging Face cache that a folder is a snapshot of, or lies in one."""
    parts = folder.split("/")
    for at in range(len(parts) - 2, 0, -1):
        if parts[at] == SNAPSHOTS:
            blobs = "/".join([*parts[:at], BLOBS])
            if _is_folder(blobs):
                return blobs
    return None


def _above(folder: str) -> str:
    """The folder that one lies in; empty for those at the top."""
    return folder.rpartition("/")[0]


def _below(base: str, path: str) -> str | None:
    """A path relative to a folder above it."""
    prefix = base if base.endswith("/") else f"{base}/"
    return path.removeprefix(prefix) if path.startswith(prefix) else None


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
