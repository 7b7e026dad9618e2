"""A dataset's local files, looked at and opened by handles of their folders, following no new link.

A path is looked up anew each time, and whoever may write in the dataset may exchange a folder with a link in between.
So a folder is reached one folder after the other, none of them a link, and its files by the handle of it.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import NamedTuple

from scaledproc.links import Links

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW
_PASS = getattr(os, "O_PATH", os.O_RDONLY)  # where a handle need not be allowed to list the folder
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
"""For a file's content: neither a link, nor the end of a pipe on which one would wait."""
_IS_NO_FOLDER = {errno.ENOTDIR, errno.ELOOP, errno.EMLINK}
_KEPT = 8  # folders of each thread whose handles are kept: tasks beside each other share them
_KNOWN = 64  # paths that are remembered for `open_located` where nobody clears them


class FileChangedError(Exception):
    """A file is not what it was when its task began."""


class UnsettledError(FileChangedError):
    """A file or a folder was moved or given other rights, and may be what it was: its task is to be done again."""


Stamp = tuple[int, int, int, int]
"""What changes when a file or a folder does: inode, size, times of the last change of its content and of all else."""


class Found(NamedTuple):
    """A file that is there."""

    base: str
    """A folder, below which the content lies without links."""
    relative: str
    stamp: Stamp
    link: Stamp | None = None
    """Of the link that leads to it, where one does."""


def find(root: str, relative: str, *, afresh: bool = True) -> Found:
    """Look at a file of a dataset.

    Parameters
    ----------
    root
        The dataset's folder.
    relative
        The file's path below it.
    afresh
        Whether its folders are looked at too, even if this thread did so before.

    Raises
    ------
    FileNotFoundError
        It is not there, or what has its place is no regular file of the dataset. The latter has no `errno`.
    OSError
        It cannot be looked at.
    """
    if afresh:
        forget()
    status = _status(root, relative)
    if stat.S_ISREG(status.st_mode):
        return Found(root, relative, _stamp(status))
    followed = Links(root).follow(relative) if stat.S_ISLNK(status.st_mode) else None
    if followed is not None:
        target = _status(*followed)
        if stat.S_ISREG(target.st_mode):
            return Found(*followed, _stamp(target), _stamp(status))
    raise FileNotFoundError(f"{relative!r} is no file of the dataset any more")


def open_file(root: str, relative: str) -> int:
    """A handle for reading a file of a dataset; raises what `find` does."""
    return _open(find(root, relative))


def open_located(path: str) -> int:
    """A handle for reading what was located: by its folder's handle, whatever its path leads to by now.

    Parameters
    ----------
    path
        As `Task.locate` gave it in this thread; any other is opened as it is.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    found = _own.located.get(path)
    return os.open(path, READ & ~os.O_NOFOLLOW) if found is None else _open(found)


def open_folder(root: str, folder: str) -> int:
    """A handle for listing a folder of a dataset, which was reached through no link.

    Raises
    ------
    OSError
        It is not there, is no folder any more, or cannot be opened.
    """
    return _walk(root, folder, os.O_RDONLY, [])


def remember(path: str, found: Found) -> None:
    """Have `open_located` know what was located."""
    if len(_own.located) >= _KNOWN:
        _own.located.clear()
    _own.located[path] = found


def forget() -> None:
    """Close the handles that this thread has kept: a dataset whose folders are open cannot be unmounted."""
    _own.folders.clear()


class Watch:
    """The files that a task was given: what they were like before it, and whether they are the same after it.

    Parameters
    ----------
    root
        The dataset's folder.
    """

    __slots__ = ("found", "root")

    def __init__(self, root: str) -> None:
        self.root = root
        self.found: dict[str, Found] = {}
        _own.located = {}

    def begin(self, anchor: str) -> None:
        """Forget an attempt at the task before, and look at its anchor; raises what `find` does."""
        self.found.clear()
        self.find(anchor)

    def find(self, relative: str) -> Found:
        """A file, as it was when this task saw it first; raises what `find` does."""
        found = self.found.get(relative)
        if found is None:
            found = self.found[relative] = find(self.root, relative, afresh=False)
        return found

    def check(self) -> None:
        """See whether all of them are what they were.

        Raises
        ------
        FileChangedError
            One is not.
        OSError
            One is gone, or cannot be looked at.
        """
        unsettled = None
        folders = set()
        for relative, (base, inside, before, link) in self.found.items():
            folder = base, inside.rpartition("/")[0]
            if folder not in folders:
                folders.add(folder)
                unsettled = unsettled or _moved(*folder)
            status = _status(base, inside)
            after = _stamp(status)
            if after[:3] != before[:3]:
                sizes = f"it had {before[1]:,} bytes, and has {after[1]:,}"
                how = sizes if after[1] != before[1] else "it was written or replaced"
                raise FileChangedError(f"{relative!r} changed while its task was at work: {how}")
            if after != before or (link is not None and _stamp(_status(self.root, relative)) != link):
                unsettled = relative
        if unsettled is not None:
            raise UnsettledError(f"{unsettled!r} was moved, or given other rights, while its task was at work")


class _Folder:
    """A folder's handle, and what it and those above it up to the base were like, by their paths."""

    __slots__ = ("handle", "stamps")

    def __init__(self, base: str, folder: str) -> None:
        self.stamps: list[tuple[str, Stamp]] = []
        self.handle = -1
        self.handle = _walk(base, folder, _PASS, self.stamps)

    def __del__(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)


class _Own(threading.local):
    """What each thread has open."""

    def __init__(self) -> None:
        self.folders: dict[tuple[str, str], _Folder] = {}
        self.located: dict[str, Found] = {}

    def folder(self, base: str, folder: str) -> _Folder:
        """A folder, from which its files can be looked up."""
        found = self.folders.get((base, folder))
        if found is None:
            if len(self.folders) >= _KEPT:
                del self.folders[next(iter(self.folders))]
            found = self.folders[base, folder] = _Folder(base, folder)
        return found


_own = _Own()


def _status(base: str, relative: str) -> os.stat_result:
    """Of what stands there, a link too."""
    folder, _, name = relative.rpartition("/")
    was_open = (base, folder) in _own.folders
    try:
        return os.stat(name, dir_fd=_own.folder(base, folder).handle, follow_symlinks=False)
    except OSError as error:
        _own.folders.pop((base, folder), None)
        if was_open:  # the handle may be of a file system that was mounted anew
            return _status(base, relative)
        raise _named(error, base, relative) from None


def _open(found: Found) -> int:
    base, relative, stamp, _ = found
    folder, _, name = relative.rpartition("/")
    try:
        handle = os.open(name, READ, dir_fd=_own.folder(base, folder).handle)
    except OSError as error:
        raise _named(error, base, relative) from None
    if os.fstat(handle).st_ino != stamp[0]:
        os.close(handle)
        raise FileNotFoundError(f"{relative!r} is no file of the dataset any more")
    return handle


def _moved(base: str, folder: str) -> str | None:
    """A folder that was moved since it was looked at, and is back; None where there is none.

    Raises
    ------
    FileChangedError
        Another one has the place of the folder, or of one above it.
    OSError
        One is gone.
    """
    found = _own.folders.get((base, folder))
    moved = None
    if found is None:
        return None
    for at, (path, before) in enumerate(found.stamps):
        after = _stamp(os.lstat(path))
        if after == before:
            continue
        name = path[len(base) + 1 :]
        if after[0] != before[0]:
            del _own.folders[base, folder]
            raise FileChangedError(f"{name!r} was replaced while a task was at work in it")
        if after[2] == before[2]:  # else files came or went in it, which is nobody's harm
            moved = name
        found.stamps[at] = path, after
    return moved


def _walk(base: str, folder: str, how: int, stamps: list[tuple[str, Stamp]]) -> int:
    """A handle of a folder below a base; the stamps of those on the way are added."""
    handle = os.open(base or "/", (how if not folder else _PASS) | os.O_DIRECTORY)
    path = base
    parts = folder.split("/") if folder else []
    for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
        path = f"{path}/{part}"
        try:
            inner = os.open(part, (_PASS if left else how) | _FOLDER, dir_fd=handle)
        except OSError as error:
            if error.errno in _IS_NO_FOLDER:
                raise FileNotFoundError(f"{path[len(base) + 1 :]!r} is no folder of the dataset any more") from None
            raise _named(error, base, path[len(base) + 1 :]) from None
        finally:
            os.close(handle)
        handle = inner
        stamps.append((path, _stamp(os.fstat(handle))))
    return handle


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _named(error: OSError, base: str, relative: str) -> OSError:
    """The same error, of a path that a person knows."""
    if error.errno is None:
        return error
    return OSError(error.errno, os.strerror(error.errno), f"{base}/{relative}")
