"""The command that makes a run's table again, with what it needs besides: files, or a function that was in memory."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaledproc._util.options import declared
from scaledproc.engine.options import RunOptions
from scaledproc.engine.provenance import IN_MEMORY
from scaledproc.reporting.report.sentence import LOCAL

if TYPE_CHECKING:
    from scaledproc.reporting.report.findings import Findings

OUTPUT = "OUTPUT"
"""Stands for a new folder: that of the run would only be told to be finished."""
LONGEST = 4_000
"""Characters of a word of the command; what is longer is said to be needed."""
_SAME = (
    "With an empty folder for OUTPUT this gives a table with the same bytes, from the same files and versions, on one "
    "machine or with the backend of your choice."
)


@dataclass(frozen=True)
class Again:
    """How a table is made again.

    Parameters
    ----------
    command
        For a shell; empty where no command can do it.
    text
        What a person should know of it.
    needs
        What the command needs that is no part of it, a sentence each.
    content
        Python that writes the files which the command names, as run.json has them; empty where it names none.
    """

    command: str
    text: str
    needs: tuple[str, ...] = ()
    content: str = ""


@dataclass(frozen=True)
class _Written:
    """An option of the extractor that has the content of a file."""

    name: str
    file: str
    content: str

    @property
    def text(self) -> str:
        digest = hashlib.sha256(self.content.encode()).hexdigest()
        size = f"{len(self.content):,} characters, SHA-256 {digest}"
        return f"{self.file} is the file that was given for {self.name}: {size}."


def is_in_memory(found: Findings) -> bool:
    """Whether the extractor was given as an object: then no command line can name it."""
    return str(found.extractor.get("spec", "")).startswith(IN_MEMORY)


def again(found: Findings) -> Again:
    """How the table is made anew."""
    options: Mapping[str, Any] = found.extractor.get("options") or {}
    if is_in_memory(found):
        label = found.extractor.get("label", "")
        text = f"The extractor was an object in memory, {label}, which no command can name and run.json does not have: "
        text += "give the same one to scaledproc.run(…, extractor=…) in Python"
        given = ", ".join(options)
        return Again("", f"{text}{f', with the same options ({given})' if given else ''}.")
    words = [*_beginning(found), "--extractor", str(found.extractor.get("spec", ""))]
    needs, files = list[str](), list[_Written]()
    for name, value in options.items():
        if isinstance(value, str) and _is_file(found, name):
            file = f"{name.upper()}_FILE"
            files.append(_Written(name, file, value))
            words += ["--set", f"{name}={file}"]
        elif value is None or value == [] or len(str(value)) > LONGEST:
            needs.append(f"The option {name} was {_short(value)}, which --set cannot say: the table is made in Python.")
        else:
            words += [word for each in _each(value) for word in ("--set", f"{name}={_set_word(each)}")]
            if found.file_options is None and isinstance(value, str) and _is_odd(value):
                needs.append(f"Where {name} names a file, this is the file's content: write it to one, and name that.")
    for option in declared(RunOptions):
        if option.recorded and option.recorded in found.options and option.flag:
            value = found.options[option.recorded]
            words += _flag_words(option.flag, option.default, value, own=option.recorded)
            if option.recorded == "only" and value is not None:
                needs.append(f"The list of names is needed as it was: {value}, whose digest is of its sorted names.")
    words += [found.dataset, OUTPUT]
    needs = [*(each.text for each in files), *needs]
    text = _SAME if not needs else f"{_SAME} It needs what is named below it."
    return Again(" ".join(map(shell_word, words)), text, tuple(needs), _writing(found, files))


def _beginning(found: Findings) -> list[str]:
    name = str(found.backend.get("name") or LOCAL)
    # Settings of a service name what only its account has, and do not change the table: so it is made on one machine.
    return ["scaledproc", "run", "--backend", LOCAL if found.backend.get("settings") else name]


def _is_file(found: Findings, name: str) -> bool:
    """Whether an option has the content of a file, which the command line takes the name of."""
    return found.file_options is not None and name in found.file_options


def _writing(found: Findings, files: Iterable[_Written]) -> str:
    lines = [f"Path({each.file!r}).write_text(options[{each.name!r}], encoding='utf-8', newline='')" for each in files]
    if not lines:
        return ""
    opened = python_text(found.output)
    first = ["from pathlib import Path", "import scaledproc", ""]
    first.append(f"options = scaledproc.Run.open({opened}).record.extractor['options']")
    return "\n".join([*first, *lines])


def python_text(text: str) -> str:
    """A text as Python writes it between double quotation marks, and R too, in characters that show."""
    return '"' + "".join(map(_python_character, text)) + '"'


def _python_character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _each(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, list | tuple) else [value]


def _set_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _short(value: Any) -> str:
    return "none" if value is None else "an empty list" if value == [] else f"a text of {len(str(value)):,} characters"


def _flag_words(flag: str, default: Any, value: Any, *, own: str) -> list[str]:
    """An option that a run was given, as words; nothing where it has its default."""
    plain = list(default) if isinstance(default, tuple) else default
    if value is None or value == plain or value == str(plain) or value == []:
        return []
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [
        word
        for each in _each(value)
        for word in (flag, str(each).partition(" (sha256:")[0] if own == "only" else str(each))
    ]


def _is_odd(text: str) -> bool:
    """Whether a text has what does not show in a line."""
    return not text.isprintable()


def shell_word(text: str) -> str:
    """A word of a shell's command, in one line and in characters that show: those that do not are escaped in `$''`."""
    if not _is_odd(text):
        return shlex.quote(text)
    return "$'" + "".join(map(_shell_character, text)) + "'"


def _shell_character(char: str) -> str:
    plain = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", "'": "\\'"}
    if char in plain:
        return plain[char]
    if char.isprintable():
        return char
    # As bytes, since older shells do not know \u; three octal digits are never taken together with what follows.
    return "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogateescape"))
