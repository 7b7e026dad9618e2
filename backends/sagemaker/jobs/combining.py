"""What the last job's disk must hold: before a run as far as the rows can be foreseen, at its end as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scaledproc.planning.calibration import last_costs

from ..settings import Settings
from .requests import is_mounted

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan

ROWS_OF_INPUT = 0.1
"""Bytes of rows for a byte of input, where no run with the extractor has measured that: as of dense windows."""


class ExpectedRows(NamedTuple):
    """Bytes of rows that a plan makes, what that rests on, and whether it was measured."""

    size: int
    source: str
    is_measured: bool


def expected_rows(plan: Plan, extractor: Extractor) -> ExpectedRows:
    """How many bytes of rows a plan makes, by the last run with the extractor on this machine, else by a guess."""
    costs = last_costs(extractor)
    if costs is not None and costs.row_byte is not None:
        source = f"{costs.row_byte:.2g} bytes a byte of input in the last run here"
        return ExpectedRows(int(plan.size * costs.row_byte), source, True)
    source = "a tenth of the input, as no run here has measured it"
    return ExpectedRows(int(plan.size * ROWS_OF_INPUT), source, False)


def on_disk(settings: Settings, shards: int, parts: int = 0, *, has_table: bool = True) -> int:
    """Bytes that lie on the last job's disk at once.

    Where it works in S3, it reads rows as they come, and has each table on its disk until that is uploaded. Where the
    service copies, its inputs are there too, and the shards that it makes of parts.

    Parameters
    ----------
    settings
        How it gets at the run.
    shards, parts
        Bytes of the shards that it is given, and of the parts of others.
    has_table
        Whether it writes rows; where tables are folders, the shards' jobs have written them.
    """
    inputs = shards + 2 * parts if is_mounted(settings, combines=True) else 0
    return inputs + (shards + parts if has_table else 0)


def expected_on_disk(settings: Settings, plan: Plan, extractor: Extractor, *, has_table: bool = True) -> int:
    """As `on_disk`, of what a plan will make."""
    rows = expected_rows(plan, extractor).size
    is_parts = settings.input_mode == "sharded-by-key"
    return on_disk(settings, 0 if is_parts else rows, rows if is_parts else 0, has_table=has_table)
