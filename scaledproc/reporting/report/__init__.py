"""One page that tells whether to trust a run's table: gathered from the run's files, then drawn.

`report_html` gives the page of a run in any state; `write_at_end` is what the engine calls when a run is finished.
What takes time to import is imported when there is a page to be made, or by `load`.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from scaledproc.run_folder.names import REPORT

if TYPE_CHECKING:
    from datetime import datetime

    from scaledproc.engine.past.status import Status
    from scaledproc.extractors import Extractor
    from scaledproc.reporting.report.findings import Going
    from scaledproc.run_folder.folder import RunFolder
    from scaledproc.run_folder.run import Run


def load() -> None:
    """Import what makes a page, where there is time for it before it is needed."""
    import pyarrow.acero  # noqa: F401 - what Arrow groups rows by

    from scaledproc.reporting.report import gather, page  # noqa: F401 - for what it does


def report_html(
    run: Run,
    *,
    status: Status | None = None,
    extractor: Extractor | None = None,
    examples: int = 0,
    live: str | None = None,
    now: datetime | None = None,
    going: Going | None = None,
    update_of: str = "",
) -> str:
    """The page of a run in any state.

    Parameters
    ----------
    run
        The run.
    status
        How far it is, as `find_status` tells; needed where it is not finished.
    extractor
        The run's, where it may be asked what it makes of the table.
    examples
        Of how many tasks pieces of the data are drawn: of those the dataset is read.
    live
        Where the page asks for its next state: a path on the server that it came from.
    now
        When this is; the clock is asked where None is given.
    going
        How fast it goes, where somebody watches it.
    update_of
        The folder of the run that this is what an update of has to do, where it is.

    Raises
    ------
    OSError
        If the dataset cannot be read for examples.
    """
    from scaledproc.reporting.report.gather import gather
    from scaledproc.reporting.report.page import page

    found = gather(run, status=status, extractor=extractor, examples=examples, now=now)
    return page(replace(found, going=going, update_of=update_of), live=live)


def write_at_end(run: RunFolder) -> str:
    """Write the report of a run that was just finished; what a person should read of that, mostly nothing.

    A run does not fail because its report cannot be made: it is finished by now.

    Parameters
    ----------
    run
        The run, with the extractor that made it.
    """
    if not run.record.options.get("report", True):
        run.store.remove_files([REPORT])  # an earlier run's
        return ""
    try:
        content = report_html(run, extractor=run.extractor)
        run.store.write(REPORT, content.encode())
    except Exception as error:  # whatever a table, a disk or an extractor may be like
        from scaledproc.storage.store import describe

        with contextlib.suppress(Exception):  # that of an earlier table would be taken for this one's
            run.store.remove_files([REPORT])
        return f"{REPORT} could not be made ({describe(error)}); scaledproc report {run.store} tries again"
    return ""
