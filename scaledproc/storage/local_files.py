"""A dataset's local files, looked at and opened by handles of their folders, following no new link.

A path is looked up anew each time, and whoever may write in the dataset may exchange a folder with a link in between.
So a folder is reached one folder after the other, none of them a link, and its files by the handle of it.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Mapping
from typing import NamedTuple

from scaledproc.storage.links import Links

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW
_PASS = getattr(os, "O_PATH", os.O_RDONLY)  # where a handle need not be allowed to list the folder
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
"""For a file's content: neither a link, nor the end of a pipe on which one would wait."""
_IS_NO_FOLDER = {errno.ENOTDIR, errno.ELOOP, errno.EMLINK}
_KEPT = 4  # folders of each thread whose handles are kept: tasks beside each other share them
_LEVELS = 8  # folders above such a one whose handles are kept
_KNOWN = 16  # paths that are remembered for `open_located` where nobody clears them


class FileChangedError(Exception):
    """A file is not what it was when its task began."""


class UnsettledError(FileChangedError):
    """A file or a folder was moved, and may be what it was: its task is to be done again."""


Stamp = tuple[int, int, int, int]
"""What changes when a file or a folder does: inode, size, times of the last change of its content and of all else."""


class Found(NamedTuple):
    """A file that is there."""

    folder: _Folder
    """The one that its content lies in, which for a link is another than the link's."""
    name: str
    stamp: Stamp


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
        If the file is not there, or what has its place is no regular file of the dataset. The latter error has no
        `errno`.
    OSError
        If the file cannot be looked at.
    """
    if afresh:
        _own.folders.clear()
    folder, name, status = _look(root, relative)
    if stat.S_ISREG(status.st_mode):
        return Found(folder, name, stamp_of(status))
    followed = Links(root).follow(relative) if stat.S_ISLNK(status.st_mode) else None
    if followed is not None:
        folder, name, status = _look(*followed)
        if stat.S_ISREG(status.st_mode):
            return Found(folder, name, stamp_of(status))
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
        If the file cannot be opened.
    """
    found = _own.located.get(path)
    return os.open(path, READ & ~os.O_NOFOLLOW) if found is None else _open(found)


def open_folder(root: str, folder: str) -> int:
    """A handle for listing a folder of a dataset, which was reached through no link.

    Raises
    ------
    OSError
        If the folder is not there, is no folder any more, or cannot be opened.
    """
    *above, (_, handle) = _walk(root, folder, os.O_RDONLY)
    for _, each in above:
        os.close(each)
    return handle


def remember(path: str, found: Found) -> None:
    """Have `open_located` know what was located."""
    if len(_own.located) >= _KNOWN and not _own.is_watched:
        _own.located.clear()
    _own.located[path] = found


def forget() -> None:
    """Close the handles that this thread has kept: a dataset whose folders are open cannot be unmounted."""
    _own.folders.clear()
    _own.located, _own.is_watched = {}, False


class Watch:
    """The files that a task was given: what they were like before it, and whether they are the same after it.

    Parameters
    ----------
    root
        The dataset's folder.
    sizes
        The bytes that files had when they were listed, where these are the files themselves.
    """

    __slots__ = ("found", "root", "shared", "sizes")

    def __init__(self, root: str, sizes: Mapping[str, int] | None = None) -> None:
        self.root = root
        self.sizes = sizes or {}
        self.shared: set[str] = set()
        """Which of the files for all tasks this one, too, was given."""
        self.found: dict[str, Found] = {}
        _own.located, _own.is_watched = {}, True

    def begin(self, anchor: str) -> None:
        """Forget an attempt at the task before, and look at its anchor; raises what its `find` does."""
        self.found.clear()
        self.find(anchor)

    def find(self, relative: str) -> Found:
        """A file, as it was when this task saw it first.

        Raises
        ------
        FileChangedError
            If the file has another size than when it was listed.
        OSError
            If the file is not there or cannot be looked at, as for this module's function `find`.
        """
        found = self.found.get(relative)
        if found is None:
            found = find(self.root, relative, afresh=False)
            size = found.stamp[1]
            listed = self.sizes.get(relative, size)
            if size != listed:
                raise FileChangedError(
                    f"{relative!r} changed since it was listed: it had {listed:,} bytes, and has {size:,}"
                )
            self.found[relative] = found
        return found

    def check(self) -> None:
        """See whether all of them are what they were.

        Raises
        ------
        FileChangedError
            If a file was written or replaced since this task saw it first, or its folder was moved (`UnsettledError`).
        OSError
            If a file is gone, or cannot be looked at.
        """
        folders: dict[_Folder, str | None] = {}  # with a file whose status changed
        for relative, (folder, _, before) in self.found.items():
            # By its path, as an extractor that was given the path went: what lies there must be what was found.
            after = stamp_of(os.stat(f"{self.root}/{relative}"))  # noqa: PTH116 - a Path takes longer than the call
            if after == before:
                if folder not in folders:
                    folders[folder] = None
            elif after[:3] == before[:3]:
                folders[folder] = relative
            else:
                sizes = f"it had {before[1]:,} bytes, and has {after[1]:,}"
                how = sizes if after[1] != before[1] else "it was written or replaced"
                raise FileChangedError(f"{relative!r} changed while its task was at work: {how}")
        for folder, file in folders.items():
            moved = folder.moved(file)
            if moved is not None:
                raise UnsettledError(f"{moved!r} was moved while its task was at work")


class _Folder:
    """A folder of which files are looked up, and those above it up to a base."""

    __slots__ = ("_handles", "_names", "_stamps", "handle")

    def __init__(self, base: str, folder: str) -> None:
        self._names: tuple[str, ...] = ()
        self._handles: tuple[int, ...] = ()
        self._names, self._handles = zip(*_walk(base, folder, _PASS), strict=True)
        self._stamps = [stamp_of(os.fstat(handle)) for handle in self._handles]
        self.handle = self._handles[-1]

    def __del__(self) -> None:
        for handle in self._handles:
            os.close(handle)

    def moved(self, file: str | None) -> str | None:
        """What was moved since this was asked last: it may be back, and have had a link in its place meanwhile.

        Whoever moves a file or a folder changes its status and writes in the folder that it lies in; who gives it other
        rights or another name elsewhere writes in none.

        Parameters
        ----------
        file
            A file of the folder whose status changed, if one did.
        """
        before = self._stamps
        for at in range(1, len(before)):
            if stamp_of(os.fstat(self._handles[at])) != before[at]:
                break
        else:
            if file is None:  # as nearly always
                return None
        self._stamps = after = [stamp_of(os.fstat(handle)) for handle in self._handles]
        is_written = [was[2] != now[2] for was, now in zip(before, after, strict=True)]
        for at in range(1, len(after)):
            if after[at][3] != before[at][3] and is_written[at - 1] and not is_written[at]:
                return self._names[at]
        return file if is_written[-1] else None


class _Own(threading.local):
    """What each thread has open."""

    def __init__(self) -> None:
        self.folders: dict[tuple[str, str], _Folder] = {}
        self.located: dict[str, Found] = {}
        self.is_watched = False
        """Whether a task of the engine's is at work, at whose end they are forgotten."""

    def folder(self, base: str, folder: str) -> _Folder:
        """A folder, from which its files can be looked up."""
        found = self.folders.get((base, folder))
        if found is None:
            if len(self.folders) >= _KEPT:
                del self.folders[next(iter(self.folders))]
            found = self.folders[base, folder] = _Folder(base, folder)
        return found


_own = _Own()


def _look(base: str, relative: str) -> tuple[_Folder, str, os.stat_result]:
    """A folder, a name in it, and what stands there, be it a link."""
    place, _, name = relative.rpartition("/")
    folder = _own.folders.get((base, place))
    if folder is not None:
        try:
            return folder, name, os.stat(name, dir_fd=folder.handle, follow_symlinks=False)
        except OSError:  # the handle may be of a file system that was mounted anew since
            del _own.folders[base, place]
    try:
        folder = _own.folder(base, place)
        return folder, name, os.stat(name, dir_fd=folder.handle, follow_symlinks=False)
    except OSError as error:
        _own.folders.pop((base, place), None)
        raise _named(error, base, relative) from None


def _open(found: Found) -> int:
    try:
        return os.open(found.name, READ, dir_fd=found.folder.handle)
    except OSError as error:
        if error.errno in _IS_NO_FOLDER:  # but a link
            raise FileNotFoundError(f"{found.name!r} is no file of the dataset any more") from None
        error.filename = found.name
        raise


def _walk(base: str, folder: str, how: int) -> list[tuple[str, int]]:
    """Handles of a base, of the folders on the way to one below it (if they are not too many), and of that."""
    parts = folder.split("/") if folder else []
    steps: list[tuple[str, int]] = []
    try:
        steps.append(("", os.open(base or "/", (_PASS if parts else how) | os.O_DIRECTORY)))
        for at, part in enumerate(parts, start=1):
            name = "/".join(parts[:at])
            flags = (how if at == len(parts) else _PASS) | _FOLDER
            try:
                steps.append((name, os.open(part, flags, dir_fd=steps[-1][1])))
            except OSError as error:
                if error.errno in _IS_NO_FOLDER:
                    raise FileNotFoundError(f"{name!r} is no folder of the dataset any more") from None
                raise _named(error, base, name) from None
            if at > _LEVELS:
                os.close(steps.pop(-2)[1])
    except BaseException:
        for _, handle in steps:
            os.close(handle)
        raise
    return steps


def stamp_of(status: os.stat_result) -> Stamp:
    """What of a status says that something is what it was."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _named(error: OSError, base: str, relative: str) -> OSError:
    """The same error, of a path that a person knows."""
    if error.errno is None:
        return error
    return OSError(error.errno, os.strerror(error.errno), f"{base}/{relative}")
