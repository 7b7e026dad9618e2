"""A folder in S3, or in a store that speaks its language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scaledproc.storage.fencing import Change, subject_to
from scaledproc.storage.fsspec_store import MOST_REMOVED, FsspecStore
from scaledproc.storage.s3.download import ChangedError
from scaledproc.storage.store import Target

if TYPE_CHECKING:
    from scaledproc.storage.s3.download import S3Objects

LISTINGS = 5  # of a folder that is removed, until one is empty
PIECE = 4 * 2**20  # bytes that are copied at once


class S3Store(FsspecStore):
    """A prefix of a bucket: versions are told apart, and changes are made on condition."""

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        from scaledproc.storage.s3.filesystem import RetryingS3FileSystem

        s3 = RetryingS3FileSystem(**self.options)
        return s3, s3._strip_protocol(self.uri).rstrip("/") or "/"  # noqa: SLF001 - fsspec's way to say it

    @property
    def is_s3(self) -> bool:
        """Always."""
        return True

    @property
    def lists_all(self) -> bool:
        """Never, as not all that speak S3's language do: a listing may lag behind."""
        return False

    def _is_file(self, name: str) -> bool:
        bucket, key, _ = self.fs.split_path(self.path(name))
        try:
            self.fs.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    def _info(self, path: str) -> dict[str, Any]:
        info: dict[str, Any] = self.fs.info(path, refresh=True)
        return info

    def _fetch(self, groups: Sequence[Sequence[Target]]) -> list[OSError | None]:
        objects = self._objects
        if objects is None:
            return super()._fetch(groups)
        from scaledproc.storage.s3.download import Wanted

        prefix = self.root.partition("/")[2]
        wrong = objects.fetch(
            [
                [
                    Wanted(file.path, f"{prefix}/{file.path}" if prefix else file.path, target, file.size, file.version)
                    for file, target in group
                    if file.path.isprintable()  # others it does not take
                ]
                for group in groups
            ]
        )
        slow = [[pair for pair in group if not pair[0].path.isprintable()] for group in groups]
        return [first or second for first, second in zip(wrong, super()._fetch(slow), strict=True)]

    def _copy(self, group: Sequence[Target]) -> None:
        """Copy one version of each object, the one that was listed."""
        for file, target in group:
            with self.open(file.path) as source, target.open("wb") as copy:
                if file.version not in ("", source.etag):  # type: ignore[attr-defined]  # a OneVersion
                    raise ChangedError(f"{file.path} changed since it was listed")
                while piece := source.read(PIECE):
                    copy.write(piece)

    @cached_property
    def _objects(self) -> S3Objects | None:
        """The fast way to the objects, where it leads to the same place."""
        from scaledproc.storage.s3.download import open_bucket

        return open_bucket(self.fs, self.root.partition("/")[0])

    def _remove(self, target: str) -> None:
        for _ in range(LISTINGS):  # the last ones show what is gone already
            found = self.fs.find(target, withdirs=True, detail=True)  # some stores keep folders
            versions = {path: _etag(found[path]) for path in sorted(found, reverse=True)}
            if target not in versions and (found or (version := self.fs.version_now(target))):
                versions[target] = "" if found else version  # a folder, which some stores keep too
            self._remove_objects(versions)
            if not found:
                return

    def remove_files(self, names: Sequence[str]) -> None:
        """Remove files, each as it is listed now; what is not listed is removed whatever it is."""
        listed = {
            info["name"]: _etag(info)
            for folder in sorted({name.rpartition("/")[0] for name in names})
            for info in self._listed(folder)
        }
        self._ask_fence()
        self._remove_objects({path: listed.get(path, "") for path in map(self.path, names)})

    def _remove_objects(self, versions: Mapping[str, str]) -> None:
        """Remove objects as they were seen; each batch, and each attempt, asks the fence."""
        plain = [path for path in versions if path.isprintable()]
        with subject_to(Change(self.fence)):
            for start in range(0, len(plain), MOST_REMOVED):
                batch = {path: versions[path] for path in plain[start : start + MOST_REMOVED]}
                # A listing that lags behind shows what was there before. What is there now is this driver's to remove
                # if it was seen before the fence is asked, as it is for each request.
                others = {path: self.fs.version_now(path) for path in self.fs.remove_versions(batch)}
                self.fs.remove_versions({path: version for path, version in others.items() if version})
            for path in versions.keys() - set(plain):  # XML has no way to name it
                self.fs.rm_file(path)


def _etag(info: Mapping[str, Any]) -> str:
    """What a listing says of an object's version; empty for what is none."""
    return str(info.get("ETag") or "") if info.get("type") == "file" else ""
