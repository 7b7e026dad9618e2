"""What keeps a job that comes late, or twice, from changing a run that is done by now."""

from __future__ import annotations

from dataclasses import dataclass

from scaledproc.run_folder.names import RECORD
from scaledproc.run_folder.record import RunRecord
from scaledproc.storage.fencing import OvertakenError
from scaledproc.storage.store import Store

ALLOWED = 3600.0  # seconds that a change may take


@dataclass
class UntilDone:
    """The fence of a job's store: nothing is changed once the run is done, or the folder is another run's.

    A batch system that did not answer may have taken a job that was submitted again since. Two jobs that make one macro
    shard leave the same bytes. Two that combine do so as well until the run is done; but then the later one would find
    files gone that only an unfinished run has, and take the shards for damaged.

    Parameters
    ----------
    store
        The run's folder.
    work_id
        Which run it is.
    """

    store: Store
    work_id: str
    _unfinished: bytes = b""

    @property
    def is_exclusive(self) -> bool:
        """Never: of two jobs that replace a file at once, both leave the same bytes."""
        return False

    def __call__(self) -> float:
        """Seconds that a change may take from now on.

        Raises
        ------
        OvertakenError
            If the run is done, or not there any more.
        """
        try:
            content = self.store.read(RECORD)
        except (FileNotFoundError, NotADirectoryError):
            raise OvertakenError(f"the run in {self.store} is gone: this job changes nothing any more") from None
        if content != self._unfinished:
            record = RunRecord.from_json(content.decode())
            if record.state == "done" or record.work_id != self.work_id:
                raise OvertakenError(f"{self.store} is finished, or has another run: this job changes nothing any more")
            self._unfinished = content
        return ALLOWED

    def sure(self) -> float:
        """Seconds that a change may take, without asking the store: no change begins that was not asked for."""
        return ALLOWED
