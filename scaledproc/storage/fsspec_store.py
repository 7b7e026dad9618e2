"""A folder on any filesystem that fsspec knows, but for local disks and S3."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from scaledproc.errors import ScaledprocError
from scaledproc.storage.fencing import Change, subject_to
from scaledproc.storage.listing import OBJECT_STORES, list_objects
from scaledproc.storage.s3.download import problem_of, writing
from scaledproc.storage.store import READERS, Part, Store, Target, describe, scratch_folder

if TYPE_CHECKING:
    from scaledproc.storage.listing import Listing

MOST_REMOVED = 1000  # objects by one request
_archives = threading.Lock()


class FsspecStore(Store):
    """A folder that fsspec reaches: in memory, in an archive, on a server, in an object store."""

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(self.uri, **self.options)
        return fs, root.rstrip("/") or "/"

    @property
    def leads_here(self) -> bool:
        """Whether the URL is that of a folder on this machine (file://), which a `LocalStore` is for."""
        from fsspec.implementations.local import LocalFileSystem

        return type(self.fs) is LocalFileSystem

    @property
    def is_private(self) -> bool:
        """Whether only this process can see it (memory://)."""
        return "memory" in self._protocols

    @property
    def _place(self) -> tuple[type, str]:
        return type(self.fs), self.root

    @property
    def _protocols(self) -> frozenset[str]:
        protocol = self.fs.protocol
        return frozenset((protocol,) if isinstance(protocol, str) else protocol)

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or a folder of this name."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.path(name)))

    def _listed_sizes(self, names: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            found |= {info["name"]: int(info["size"]) for info in self._listed(folder) if info["type"] == "file"}
        return {name: found[path] for name in names if (path := self.path(name)) in found}

    def _size(self, name: str) -> int | None:
        try:
            info = self._info(self.path(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return int(info["size"]) if info["type"] == "file" else None

    def _info(self, path: str) -> dict[str, Any]:
        info: dict[str, Any] = self.fs.info(path)
        return info

    def _list(self, *, hidden: bool, leaves_out: Callable[[str], bool]) -> Listing:  # noqa: ARG002 - always whole
        return list_objects(self.fs, self.root)

    def open(self, name: str) -> IO[bytes]:
        """A file for reading, seekable."""
        handle: IO[bytes] = self.fs.open(self.path(name), "rb")
        return handle

    def _fetch(self, groups: Sequence[Sequence[Target]]) -> list[OSError | None]:
        from fsspec.archive import AbstractArchiveFileSystem

        if not any(groups):
            return [None] * len(groups)
        if isinstance(self.fs, AbstractArchiveFileSystem):  # whose files share one handle
            with _archives:
                return [problem_of(partial(self._get, group)) for group in groups]
        with ThreadPoolExecutor(READERS, thread_name_prefix="copy") as pool:
            return list(pool.map(lambda group: problem_of(partial(self._get, group)), groups))

    def _get(self, group: Sequence[Target]) -> None:
        """Copy a group of files; raises whatever the filesystem does."""
        with writing():
            for folder in {target.parent for _, target in group}:
                folder.mkdir(parents=True, exist_ok=True)
        self._copy(group)

    def _copy(self, group: Sequence[Target]) -> None:
        if group:
            self.fs.get([self.path(file.path) for file, _ in group], [str(target) for _, target in group])

    @contextlib.contextmanager
    def _parts(self) -> Iterator[Callable[[str], Path]]:
        """Parts in a private folder, from which they are uploaded."""
        with scratch_folder() as folder:
            made = iter(range(10**9))
            yield lambda _: folder / f"part{next(made)}"

    def _flush(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if not part.path.exists():
                raise FileNotFoundError(f"nothing was written to be {part.name}")

    def _put(self, parts: Sequence[Part]) -> None:
        for part in parts:
            with subject_to(part.change):
                self._upload(part.path, self.path(part.name))

    def _upload(self, part: Path, target: str) -> None:
        try:
            self.fs.put_file(str(part), target)
        except FileNotFoundError as error:
            if self._protocols & OBJECT_STORES:  # where makedirs would make a bucket of a mistyped name
                raise ScaledprocError(f"{self} cannot be written: {describe(error)}") from None
            self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self.fs.put_file(str(part), target)

    def _replacing(self, name: str) -> Change:
        """A change of what is there now, where the filesystem has versions: S3's, and any that knows `version_now`.

        Under a fence that several processes pass at once, it replaces whatever is there.
        """
        if self.fence is None or not self.fence.is_exclusive or not hasattr(self.fs, "version_now"):
            return Change(self.fence)
        return Change(self.fence, self.fs.version_now(self.path(name)), uuid.uuid4().hex)

    def _remove(self, target: str) -> None:
        self.fs.invalidate_cache()
        found = self.fs.find(target, withdirs=True, detail=True)
        if not found:
            return
        names = [target, *found]
        if not any(char in target for char in "*?["):
            for start in range(0, len(names), MOST_REMOVED):
                self._ask_fence()
                self.fs.rm(names[start : start + MOST_REMOVED])
            return
        for path in (*sorted(found, reverse=True), target):  # fsspec's rm would take such a name for a pattern
            self._ask_fence()
            with contextlib.suppress(FileNotFoundError):
                if (path in found and found[path]["type"] == "file") or self._protocols & OBJECT_STORES:
                    self.fs.rm_file(path)
                else:
                    self.fs.rmdir(path)
