"""Make the reports of the gallery: of the demo dataset, and of the example of the tutorial on CSV files.

`docs/build.py` calls it, so they are of the code that the pages are of. Each is one file that loads nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = "/home/ada"
"""Where the files lie in the pages' examples."""
EXAMPLES = 2
"""Of how many records of the demo samples are drawn."""


def write_reports(target: Path) -> list[Path]:
    """Run the examples in a temporary folder, and write their reports into another one."""
    import scaledproc
    from scaledproc.demo import write_demo

    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        quiet = {"jobs": 1, "report": False}
        scaledproc.run(write_demo(folder / "waveforms"), folder / "table", **quiet)
        scaledproc.report(folder / "table", folder / "demo.html", examples=EXAMPLES)
        for name, code in files_of((HERE / "tutorials" / "csv.md").read_text(encoding="utf-8")).items():
            (folder / name).write_text(code, encoding="utf-8")
        subprocess.run([sys.executable, "make.py"], cwd=folder, check=True)
        made = scaledproc.run(folder / "vitals", folder / "days", extractor=f"{folder}/day.py", jobs=1, report=True)
        (folder / "csv.html").write_bytes(made.store.read("report.html"))
        written = []
        for name in ("demo.html", "csv.html"):
            page = (folder / name).read_text(encoding="utf-8").replace(str(folder), HOME)
            (target / name).write_text(page, encoding="utf-8")
            written.append(target / name)
    return written


def files_of(page: str) -> dict[str, str]:
    """The files that a page of the documentation writes, by their names."""
    blocks = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", page, re.DOTALL)
    return dict(blocks)
