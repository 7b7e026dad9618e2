"""A folder on this machine's own disks, or on one that is mounted here."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from scaledproc._util.process.processes import elapsed
from scaledproc.storage.listing import list_folder
from scaledproc.storage.s3.download import problem_of, writing
from scaledproc.storage.store import READERS, TEMPORARY, Part, Store, Target

if TYPE_CHECKING:
    from scaledproc.storage.listing import Listing

REMOVALS = 20
"""How often a folder is removed in which files appear meanwhile."""
_SYNCED = 64  # files that are open at once to be flushed
_FEW = 8  # files for each further thread that flushes: to start it takes as long
_ALLOWED = 0.01  # seconds for which the fence's answer counts where many files are removed


class LocalStore(Store):
    """A folder of a local disk, by its absolute path, whatever characters are in it."""

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(), self.uri

    @property
    def root(self) -> str:
        """The folder's path."""
        return self.uri

    @cached_property
    def local(self) -> Path:
        """The folder."""
        return Path(self.uri)

    @property
    def _place(self) -> tuple[type, str]:
        return LocalStore, os.path.realpath(self.uri)

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or a folder of this name."""
        return Path(self.path(name)).exists()

    def _size(self, name: str) -> int | None:
        try:
            return Path(self.path(name)).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str = "") -> list[str]:
        """The names directly in a folder, sorted; fsspec, which takes long to import, is not asked."""
        try:
            return sorted(os.listdir(self.path(folder)))  # noqa: PTH208 - the names alone
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _list(self, *, hidden: bool, leaves_out: Callable[[str], bool]) -> Listing:
        return list_folder(self.local, hidden=hidden, leaves_out=leaves_out)

    def open(self, name: str) -> IO[bytes]:
        """A file for reading; anything else, such as a pipe, is refused."""
        return Path(self._regular(name)).open("rb")

    def open_for_arrow(self, name: str) -> IO[bytes]:
        """A file of Arrow's own: its threads may hold it when the interpreter ends."""
        import pyarrow as pa

        handle: IO[bytes] = pa.OSFile(self._regular(name))
        return handle

    def _regular(self, name: str) -> str:
        path = self.path(name)
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - hot
            raise OSError(errno.EINVAL, "is no regular file", name)
        return path

    def _fetch(self, groups: Sequence[Sequence[Target]]) -> list[OSError | None]:
        def copy(group: Sequence[Target]) -> None:
            for file, target in group:
                with writing():
                    target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.path(file.path), target)

        with ThreadPoolExecutor(READERS, thread_name_prefix="copy") as pool:
            return list(pool.map(lambda group: problem_of(partial(copy, group)), groups))

    @contextlib.contextmanager
    def _parts(self) -> Iterator[Callable[[str], Path]]:
        """Parts beside their targets, so that a rename puts them in their place."""
        parts: list[Path] = []
        folders: set[str] = set()

        def make(name: str) -> Path:
            folder, _, last = self.path(name).rpartition("/")
            if folder not in folders:
                Path(folder).mkdir(parents=True, exist_ok=True)
                folders.add(folder)
            parts.append(part := Path(f"{folder}/.{last}.{uuid.uuid4().hex}{TEMPORARY}"))
            return part

        try:
            yield make
        except BaseException:
            for part in parts:
                part.unlink(missing_ok=True)
            raise

    def _flush(self, parts: Sequence[Part]) -> None:
        _sync_files([part.path for part in parts])

    def _put(self, parts: Sequence[Part]) -> None:
        targets = [Path(self.path(part.name)) for part in parts]
        for part, target in zip(parts, targets, strict=True):
            part.path.replace(target)
        for folder in {target.parent for target in targets}:
            _sync_folder(folder)

    def put_in_place(self, name: str, target: str) -> None:
        """Rename a file, in the place of what is there."""
        path = Path(self.path(target))
        self._ask_fence()
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(self.path(name)).replace(path)
        _sync_folder(path.parent)

    def _remove(self, target: str) -> None:
        for left in reversed(range(REMOVALS)):
            try:
                self._remove_all(Path(target))
            except OSError as error:  # somebody writes there meanwhile, such as a job that its run did not wait for
                if not left or error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                    raise
            else:
                return

    def _remove_all(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            for each in list(path.iterdir()):
                self._ask_fence()
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink(missing_ok=True)
            path.rmdir()
        else:
            path.unlink(missing_ok=True)

    def remove_files(self, names: Sequence[str]) -> None:
        """Remove files; the fence is asked again and again, but not for each of many."""
        asked = -math.inf
        for name in names:
            now = elapsed()
            if now - asked > _ALLOWED:
                self._ask_fence()
                asked = now
            try:
                os.unlink(self.path(name))  # noqa: PTH108 - hot
            except FileNotFoundError:
                continue
            except (IsADirectoryError, PermissionError):  # the latter is what some systems say of a folder
                self.remove(name)

    def remove_temporaries(self, folder: str = "") -> None:
        """Remove what a killed commit left in a folder."""
        self._ask_fence()
        for left in Path(self.path(folder)).glob(f".*{TEMPORARY}"):
            left.unlink(missing_ok=True)


def _sync_files(paths: Sequence[Path]) -> None:
    """Have files last, as many at once as this process may have open."""
    left = list(reversed(paths))
    while left:
        with contextlib.ExitStack() as held:
            handles: list[int] = []
            while left and len(handles) < _SYNCED:
                try:
                    handles.append(os.open(left[-1], os.O_RDWR | os.O_CLOEXEC))
                except OSError as error:
                    if not handles or error.errno not in (errno.EMFILE, errno.ENFILE):
                        raise
                    break
                held.callback(os.close, handles[-1])
                left.pop()
            _sync_handles(handles)


def _sync_handles(handles: Sequence[int]) -> None:
    """Have open files last; the system hears of all before it is waited for one, which takes little longer than one."""
    if len(handles) > 1 and hasattr(os, "posix_fadvise"):
        for handle in handles:
            with contextlib.suppress(OSError):  # which begins to write what waits, where the file system may
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    waiting, errors = list(handles), []

    def sync() -> None:
        while True:
            try:
                handle = waiting.pop()
            except IndexError:
                return
            try:
                os.fsync(handle)
            except OSError as error:
                errors.append(error)

    threads: list[threading.Thread] = []
    try:
        with contextlib.suppress(RuntimeError):  # there is no room for another one
            for _ in range(min(READERS, len(handles) // _FEW)):
                thread = threading.Thread(target=sync, name="flush")
                thread.start()
                threads.append(thread)
        sync()
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets one sync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
