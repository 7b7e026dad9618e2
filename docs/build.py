"""Build the documentation: write the generated pages, run Sphinx with warnings as errors, look for outside requests.

Beside the pages stand reports of two examples, for the page *Reports to look at*.

Run it as `python docs/build.py [FOLDER]`; the pages go to `docs/_build` unless a folder is named.
"""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from generate import write_pages
from reports import write_reports

HERE = Path(__file__).resolve().parent
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Which attribute of an element a browser loads by itself; a link that a reader follows is none of these."""
IN_CSS = re.compile(r"(?:@import\s+|url\()\s*['\"]?(?:https?:)?//[^'\")\s]+")


class _Loads(HTMLParser):
    """Collects what a browser loads for a page from another server."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        target = named.get(LOADED.get(tag, "")) or ""
        if re.match(r"(?:https?:)?//", target) and named.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(f"<{tag}> {target}")


def outside_requests(folder: Path) -> list[str]:
    """What the pages in a folder would load from other servers, with the file that says so."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".html":
            parser = _Loads()
            parser.feed(path.read_text(encoding="utf-8"))
            found += [f"{path.relative_to(folder)}: {each}" for each in parser.found]
        elif path.suffix in (".css", ".svg"):
            text = path.read_text(encoding="utf-8")
            found += [f"{path.relative_to(folder)}: {match[0]}" for match in IN_CSS.finditer(text)]
    return found


def main() -> int:
    """Build the pages; the exit code."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "_build"
    write_pages(HERE / "reference")
    words = ["-b", "html", "-E", "-q", "-W", "--keep-going", str(HERE), str(target)]
    if subprocess.run([sys.executable, "-m", "sphinx", *words], check=False).returncode:
        return 1
    write_reports(target / "reports")
    if found := outside_requests(target):
        print("the pages load from other servers:", *found, sep="\n  ", file=sys.stderr)
        return 1
    print(f"the documentation: {target / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
