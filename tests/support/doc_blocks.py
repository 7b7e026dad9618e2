"""The code blocks of the documentation, and how they are run: each is, or says why it is not.

What a comment before a block (`<!-- … -->`, which no reader sees) can say:

`not run: REASON`
    The block is left out.
`file: NAME`
    The block is a file, which is written into the page's folder.
`entry points of: MODULE`
    The block is the part of a pyproject.toml that registers the module, which is installed for the page.
`exit: N`
    The exit code of the block's last command; 0 where nothing is said.
`output: COMMAND`
    The block is what this command prints.
`with: NAMES`
    Anywhere on the page: servers that its commands need: `s3`, `sagemaker`, `physionet`, or `aws` for other services.
`setup`, and commands on the lines below
    Commands that a reader need not see.

A block without a language is what the block of commands before it prints. `…` stands for any text, on a line by itself
for any lines; times, rates and free space may differ.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

HOME = "/home/ada"
"""Whom the pages show at work: stands for the folder that a page is run in."""
TIMEOUT = 600  # seconds; a guard against hanging
OUTPUT = ("", "text")
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
_MEASURED = re.compile(
    r"\d[\d,.]* (?:ms|s|min|h)\b(?: \d+ s\b)?|\d[\d,.]* [kMGT]?B(?:/s| free)|\d+(?:\.\d+)? tasks/s|(?<= in )\d+\.\d+s\b"
)


@dataclass(frozen=True)
class Block:
    """A code block, or the commands of a set-up.

    Parameters
    ----------
    line
        Where it begins, from 1.
    language
        As the fence names it; `setup` for what no reader sees.
    text
        What is in it.
    notes
        What the comments right before it say, by their first words.
    """

    line: int
    language: str
    text: str
    notes: Mapping[str, str] = field(default_factory=dict)


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    notes: dict[str, str] = {}
    for token in MarkdownIt("commonmark", {"html": True}).parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            for comment in _COMMENT.findall(token.content):
                words, _, rest = comment.partition("\n") if comment.startswith("setup") else (comment, "", "")
                key, _, value = words.partition(":")
                if key == "setup":
                    yield Block(line, "setup", rest)
                elif key == "with":
                    yield Block(line, "with", value.strip())
                else:
                    notes[key.strip()] = value.strip()
        elif token.type == "fence":
            if not token.info.startswith("{"):  # a directive of Sphinx
                yield Block(line, token.info.strip(), token.content, notes)
            notes = {}
        elif token.type == "paragraph_open":
            notes = {}


def needs_of(text: str) -> set[str]:
    """The servers that a page's commands need."""
    return {name for block in blocks_of(text) if block.language == "with" for name in block.text.split()}


class Runner:
    """Runs the blocks of one page, in a folder of its own.

    Parameters
    ----------
    folder
        Where; it is what `HOME` stands for.
    environment
        Of the commands.
    replaced
        Texts of the page that stand for something else here, such as the address of a server.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **environment,
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / ".cache"),
            "PYTHONPATH": str(folder),
        }
        self.replaced = replaced
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""

    def run(self, block: Block) -> None:
        """Run a block, and compare what it shows.

        Raises
        ------
        AssertionError
            If a command ends with another code than the page says, or shows something else.
        """
        if "not run" in block.notes:
            assert len(block.notes["not run"]) > 10, "a block that is not run says why"
        elif "file" in block.notes:
            self._write(block.notes["file"], block.text)
        elif block.language in ("sh", "setup"):
            self._shell(block.text, int(block.notes.get("exit", 0)))
        elif "output" in block.notes:
            self._shell(block.notes["output"], 0)
            assert_shown(block.text, self.printed)
        elif block.language in OUTPUT:
            assert_shown(block.text, self.printed)
        elif "entry points of" in block.notes:
            self._install(block.notes["entry points of"], block.text)
        elif block.language == "python":
            self._python(block)
        elif block.language == "pycon":
            self._session(block)
        else:
            raise AssertionError(f"nobody knows how to run a block of {block.language!r}")

    def _shell(self, text: str, expected: int) -> None:
        for shown, meant in self.replaced.items():
            text = text.replace(shown, meant)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.printed = done.stdout.replace(str(self.folder), HOME)
        assert done.returncode == expected, f"exit code {done.returncode}, not {expected}:\n{self.printed}"

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":
            compile(text, name, "exec")

    def _install(self, module: str, text: str) -> None:
        """Make the module an installed package, with the entry points of a pyproject.toml."""
        points = tomllib.loads(text)["project"]["entry-points"]
        self._write(f"{module}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in found.items()) for group, found in points.items()]
        self._write(f"{module}-1.0.dist-info/entry_points.txt", "\n".join(lines))

    def _python(self, block: Block) -> None:
        # From its line on, so that a traceback tells it.
        exec(compile("\n" * block.line + block.text, "page", "exec"), self.names)

    def _session(self, block: Block) -> None:
        examples = doctest.DocTestParser().get_examples(block.text)
        assert examples, "a session has a line that begins with >>>"
        for example in examples:
            output = self._answer(example.source)
            assert_shown(example.want, output.replace(str(self.folder), HOME))

    def _answer(self, source: str) -> str:
        """What an interactive interpreter prints for a statement."""
        try:
            code = compile(source, "page", "eval")
        except SyntaxError:
            exec(compile(source, "page", "exec"), self.names)
            return ""
        value = eval(code, self.names)
        return "" if value is None else repr(value)


def assert_shown(expected: str, found: str) -> None:
    """See that a page shows what is printed.

    Raises
    ------
    AssertionError
        If it does not, but for what is measured.
    """
    pattern = _pattern(expected)
    assert re.fullmatch(pattern, _plain(found)), f"the page shows\n\n{expected}\nbut this is printed:\n\n{found}"


def _plain(text: str) -> str:
    return _MEASURED.sub("#", "\n".join(line.rstrip() for line in text.strip().splitlines()))


def _pattern(expected: str) -> str:
    lines = _plain(expected).splitlines()
    made = [r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*?") + r"\n" for line in lines]
    joined = "".join(made)
    return joined.removesuffix(r"\n") + (r".*" if lines and lines[-1].strip() == "…" else "")


def clean_path() -> str:
    """PATH with this Python's own commands first."""
    import sys

    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
