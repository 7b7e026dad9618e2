"""Arrow does without pandas until it is there, and then as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scaledproc.demo import write_demo

HEAD = """
import sys
from scaledproc._util.process.lazy_pandas import defer_pandas
defer_pandas()
import pyarrow as pa
assert pa.array([1, 2]).to_pylist() == [1, 2]
assert "pandas" not in sys.modules
"""


def ends_well(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", HEAD + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement", ["import pandas as pd", "from pandas import api; import pandas as pd", "import wfdb, pandas as pd"]
)
def test_a_series_is_one_once_pandas_is_imported(statement: str) -> None:
    ends_well(
        f"{statement}\n"
        "assert pa.array(pd.Series([1.0, float('nan')])).null_count == 1\n"
        "assert pa.types.is_dictionary(pa.array(pd.Categorical(['a', 'b', 'a'])).type)\n"
        "assert pa.table({'a': pd.Series([None, 'x'])}).column('a').null_count == 1\n"
        "assert pa.Table.from_pandas(pd.DataFrame({'a': [1]})).to_pandas().equals(pd.DataFrame({'a': [1]}))\n"
        "assert pa.table(pd.DataFrame({'a': [1]})).num_rows == 1\n"
    )


@pytest.mark.slow
def test_arrow_gives_a_frame_without_being_asked_twice() -> None:
    ends_well("assert pa.table({'a': [1]}).to_pandas()['a'].tolist() == [1]\n")


def test_a_process_that_has_pandas_is_left_alone() -> None:
    program = (
        "import pandas, sys, scaledproc._util.process.lazy_pandas as lazy; before = list(sys.meta_path)\n"
        "lazy.defer_pandas(); assert sys.meta_path == before"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.slow
def test_a_run_does_not_import_pandas(tmp_path: Path) -> None:
    write_demo(tmp_path / "in")
    program = (
        "import sys; from scaledproc.cli.main import main\n"
        f"sys.argv = ['scaledproc', '--quiet', '--jobs', '1', {str(tmp_path / 'in')!r}, {str(tmp_path / 'out')!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'pandas' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "features.parquet").exists()
