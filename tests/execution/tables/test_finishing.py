"""What an extractor makes of rows at the end: which summaries can be made of parts of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from scaledproc.execution.tables.finishing import has_partial_form, has_summary
from scaledproc.extractors.wfdb.summary import WfdbSummary


def test_a_class_with_another_summary_has_no_use_for_the_partial_form_of_its_base() -> None:
    class Other(WfdbSummary):
        def summarise(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
            return {"rows": pa.table({"n": [sum(table.num_rows for table in tables)]})}

    assert has_partial_form(WfdbSummary())
    assert has_summary(Other())
    assert not has_partial_form(Other())
