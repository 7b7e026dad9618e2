"""Draw the pictures that README and documentation show: the demo run as a terminal shows it, and its report.

Run `python docs/pictures.py` after a change of what a run shows, and look at `docs/images/` before you commit it. The
terminal is a real one: the command runs in a pseudo-terminal, and what it leaves on the screen becomes an SVG.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHROMIUM = "/usr/bin/chromium"
IMAGES = Path(__file__).resolve().parent / "images"
WIDTH, HEIGHT = 104, 30
COLUMNS = ["record", "kind", "signal_name", "units", "n_samples", "n_missing", "mean", "std", "start"]
ROWS = [0, 2, 3, 40, 80, 120]


def run_in_terminal(words: list[str], folder: Path) -> str:
    """What a command writes to a terminal, with its control codes."""
    pid, end = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ |= {"COLUMNS": str(WIDTH), "LINES": str(HEIGHT), "TERM": "xterm-256color"}
        os.execvp(words[0], words)
    written = b""
    while True:
        try:
            piece = os.read(end, 65_536)
        except OSError:  # Linux says so when the command is gone
            break
        if not piece:
            break
        written += piece
    os.waitpid(pid, 0)
    return written.decode()


def last_screen(written: str) -> str:
    """What is left on the screen: lines that were written over are gone."""
    lines: list[str] = [""]
    row = 0
    for piece in re.split(r"(\r\n|\n|\r|\x1b\[\d*[AK]|\x1b\[2K|\x1b\[\?\d+[lh])", written):
        if piece in ("\n", "\r\n"):
            row += 1
            if row == len(lines):
                lines.append("")
        elif piece == "\r" or piece.startswith("\x1b[?"):
            continue
        elif re.fullmatch(r"\x1b\[\d*A", piece):
            row = max(0, row - int(piece[2:-1] or 1))
        elif re.fullmatch(r"\x1b\[\d*K", piece):
            lines[row] = ""
        elif piece:
            lines[row] = piece if lines[row] == "" or not piece.startswith("\x1b") else lines[row] + piece
    return "\n".join(lines).rstrip()


def draw_terminal(target: Path) -> None:
    """The demo run and the first rows of its table, as one SVG without any font from elsewhere."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        command = str(Path(sys.executable).with_name("scaledproc"))
        shown = last_screen(run_in_terminal([command, "--backend", "local"], folder)).replace(made, "/home/ada")
        import pandas as pd

        frame = pd.read_parquet(folder / "scaledproc-demo/features.parquet")
        table = frame[COLUMNS].iloc[ROWS].to_string(index=False, float_format="%.2f")
    console = Console(record=True, width=WIDTH + 4, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123 - until this process ends
    prompt, chevrons = ("$ ", "bold green"), (">>> ", "bold green")
    console.print(Text.assemble(prompt, "scaledproc --backend local"))
    console.print(Text.from_ansi(shown))
    console.print()
    console.print(Text.assemble(prompt, "python"))
    for line in (
        "import pandas as pd",
        'table = pd.read_parquet("scaledproc-demo/features.parquet")',
        f"columns = {COLUMNS}".replace("'", '"'),
        f'print(table[columns].iloc[{ROWS}].to_string(index=False, float_format="%.2f"))',
    ):
        console.print(Text.assemble(chevrons, line))
    console.print(table, highlight=False)
    svg = console.export_svg(title="scaledproc", theme=MONOKAI, unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # they would be loaded from another server
    svg = svg.replace("Fira Code, monospace", "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace")
    target.write_text(svg + "\n", encoding="utf-8")


def draw_report(target: Path) -> None:
    """The first screen of the report of the demo run, by Chromium."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        words = [sys.executable, "-m", "scaledproc", "run", "--quiet", "--backend", "local"]
        subprocess.run(words, cwd=made, check=True)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1010})
        page.goto(f"file://{made}/scaledproc-demo/report.html")
        page.evaluate("document.querySelector('.where bdi').textContent = 'scaledproc-demo'")
        page.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_terminal(IMAGES / "demo.svg")
    draw_report(IMAGES / "report.png")
