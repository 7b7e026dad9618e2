"""What a disk refused, and what a person can do about it. Imported where one did."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from scaledproc._util.redaction import redacted

_REMEDIES: Mapping[int, str] = {
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


def refusal_text(error: BaseException) -> str | None:
    """What a disk refused, where, and what to do; None where the error is none that has such a remedy."""
    if not isinstance(error, OSError) or error.errno is None or not error.strerror or error.errno not in _REMEDIES:
        return None
    where = f" ({redacted(str(error.filename))})" if error.filename else ""
    return f"{error.strerror}{where}; {_REMEDIES[error.errno]}"
