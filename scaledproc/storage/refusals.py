"""What a disk refused, and what a person can do about it. Imported where one did."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from scaledproc._util.redaction import redacted

_WHERE_WRITTEN: Mapping[int, str] = {
    errno.EACCES: "name a folder that you may write, or let its owner allow it",
    errno.EPERM: "name a folder that you may write, or let its owner allow it",
    errno.EROFS: "name a folder on a disk that can be written",
    errno.ENOSPC: "make room on that disk, or name a folder on another one",
    errno.EDQUOT: "remove files of yours there, or name a folder on another disk",
    errno.ENOTDIR: "a file is where a folder should be: name another folder",
    errno.EEXIST: "a file is where a folder should be: name another folder",
    errno.ENOENT: "no folder can be made there, or it was removed: name another folder",
    errno.ENAMETOOLONG: "name a folder with a shorter path",
    errno.ELOOP: "its links lead in a circle: name another folder",
    errno.EFBIG: "the disk or a limit (ulimit -f) allows no file of that size",
}


_WHERE_READ: Mapping[int, str] = {
    errno.EACCES: "you may not read it: its owner can allow that",
    errno.EPERM: "you may not read it: its owner can allow that",
    errno.ELOOP: "its links lead in a circle",
}


def refusal_text(error: BaseException, *, writes: bool) -> str | None:
    """What a disk refused, where, and what to do where there is something; None where the error is no such refusal.

    Parameters
    ----------
    error
        What was raised.
    writes
        Whether something was to be written: what is read has its place already, and no other folder helps.
    """
    if not isinstance(error, OSError) or error.errno is None or not error.strerror or error.errno not in _WHERE_WRITTEN:
        return None
    where = f" ({redacted(str(error.filename))})" if error.filename else ""
    remedy = (_WHERE_WRITTEN if writes else _WHERE_READ).get(error.errno)
    return f"{error.strerror}{where}; {remedy}" if remedy else f"{error.strerror}{where}"
