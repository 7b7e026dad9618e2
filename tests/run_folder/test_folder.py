"""What is done with what is in the folder of a run."""

from __future__ import annotations

import pytest

import scaledproc
from scaledproc.run_folder.beginning import decide


def test_decisions_about_a_folder() -> None:
    assert decide(None, "p", [], overwrite=False) == "begin"
    assert decide(None, "p", [".hidden"], overwrite=False) == "begin"
    for names in (["thesis.tex"], ["work"], ["features.parquet"]):  # no run claimed the folder
        for overwrite in (False, True):
            with pytest.raises(scaledproc.UsageError, match="other files"):
                decide(None, "p", names, overwrite=overwrite)
    assert decide(None, "p", ["run.json", "thesis.tex"], overwrite=True) == "begin"
