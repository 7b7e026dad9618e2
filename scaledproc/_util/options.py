"""Options that are declared once: fields of a dataclass, with what the command line, files and documents say of them.

What a person may set of a run, of `fetch` and of each backend is such a dataclass. Light to import: `--help` needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, Literal

from scaledproc._util.text import bytes_text
from scaledproc._util.units import parse_number, parse_seconds
from scaledproc.errors import UsageError

Kind = Literal["flag", "integer", "number", "text", "texts"]
"""What the command line takes for an option."""


def option(
    default: Any,
    help: str,  # noqa: A002 - as the command line calls it
    *,
    metavar: str | None = None,
    unit: str = "",
    default_text: str = "",
    python_default_text: str = "",
    read: Callable[[Any, str], Any] | None = None,
    accepts: str = "",
    flag: str | None = None,
    words: Callable[[Iterable[str]], Any] | None = None,
    command_default: Any = None,
    in_file: bool = True,
    record: str | bool = False,
    details: str = "",
    completes: str = "",
    recall: bool = False,
    rare: bool = False,
) -> Any:
    """A field of a dataclass that is an option.

    Parameters
    ----------
    default
        Its value where none is given.
    help
        What it does, in a sentence; Rich's markup is allowed.
    metavar
        What stands for its value in a usage text, such as `SECONDS`.
    unit
        What a bare number counts, such as `seconds`.
    default_text
        What a default of None or of nothing stands for.
    python_default_text
        The same for Python's functions, where they have another default than the command line.
    read
        Makes the value of what a person wrote, and checks it: it gets that and the option's flag for its messages.
    accepts
        The type of what Python's functions take, where that is wider than the field's own.
    flag
        The flag's name without dashes, where it is not the option's; empty where there is none.
    words
        Makes what Python's functions take of the command line's words, where an option can be repeated.
    command_default
        The command line's default, where that is another.
    in_file
        Whether `[run]` in scaledproc.toml may have it.
    record
        Whether run.json has it, or under which other name.
    details
        What the documents say besides, for which `--help` has no room.
    completes
        Which kind of plug-in's names can be its value, `extractor` or `backend`, for the shell's completion.
    recall
        Whether it is a backend's setting that the jobs of a run cannot be asked without.
    rare
        Whether the help of a command with very many options only names it, and `--help-all` shows it.
    """
    about = {key: value for key, value in locals().items() if key != "default"}
    return field(default=default, metadata=about)


def time_option(default: Any, help: str, *, least: float = 0.01, **more: Any) -> Any:  # noqa: A002 - as `option` has it
    """An option that is a time: seconds, or a text such as `5m`.

    Parameters
    ----------
    default, help, more
        As `option` has them.
    least
        The shortest one, in seconds.
    """

    def read(value: Any, flag: str) -> float:
        return parse_seconds(str(value), flag, least=least)

    accepts = "str | float | None" if default is None else "str | float"
    return option(default, help, metavar="SECONDS", unit="seconds", accepts=accepts, read=read, **more)


def size_option(default: Any, help: str, *, least: int, such_as: str, **more: Any) -> Any:  # noqa: A002 - as `option` has it
    """An option that is a size in bytes, or a text such as `2GB`.

    Parameters
    ----------
    default, help, more
        As `option` has them.
    least
        The smallest one, in bytes; a bare number below it was meant in another unit.
    such_as
        What a person is told to give.
    """

    def read(value: Any, flag: str) -> int:
        choices = f"a size such as {such_as}"
        if (size := parse_number(str(value), flag, choices)[1]) < least:
            raise UsageError(f"{flag} {str(value)!r}: give {choices}, {bytes_text(least)} or more")
        return size

    accepts = "str | int | None" if default is None else "str | int"
    return option(default, help, metavar="SIZE", unit="bytes", accepts=accepts, read=read, **more)


def option_of(options: type, name: str, *, shown: bool = True, **changes: Any) -> Any:
    """A field of a dataclass that is an option of another one, which declares it.

    Parameters
    ----------
    options, name
        The other one, and the option's name there.
    shown
        Whether the dataclass's `repr` has it; not what may hold secrets.
    changes
        What is declared otherwise here, as `option` has it.
    """
    each = next(each for each in fields(options) if each.name == name)
    default = changes.pop("default", each.default)
    return field(default=default, metadata={**each.metadata, **changes}, repr=shown)


@dataclass(frozen=True)
class Declared:
    """An option as its field declares it; a backend's settings may declare no more than `help` and `metavar`.

    Parameters
    ----------
    name, annotation, default
        Of the field; the annotation as text.
    about
        The field's metadata.
    """

    name: str
    annotation: str
    default: Any
    about: Mapping[str, Any]

    @property
    def flag(self) -> str:
        """Its flag on the command line, such as `--task-timeout`; empty where it has none."""
        name = self.about.get("flag")
        name = self.name if name is None else name
        return f"--{name.replace('_', '-')}" if name else ""

    @property
    def flags(self) -> tuple[str, ...]:
        """What it can be called on the command line: its flag, and what Python calls it where that is another name."""
        return tuple(dict.fromkeys((self.flag, f"--{self.name.replace('_', '-')}"))) if self.flag else ()

    @property
    def accepts(self) -> str:
        """The type of what Python's functions take."""
        return str(self.about.get("accepts") or self.annotation)

    @property
    def help(self) -> str:
        """What the option does, in a sentence for a person; empty where nothing is declared."""
        return str(self.about.get("help", ""))

    @property
    def recorded(self) -> str:
        """Its name in run.json; empty where that does not have it."""
        record = self.about.get("record")
        return self.name if record is True else str(record or "")

    @property
    def command_default(self) -> Any:
        """The default of the command line, where that differs from Python's; else the option's own."""
        own = self.about.get("command_default")
        return self.default if own is None else own

    @property
    def kind(self) -> Kind:
        """What the command line takes for it: decided by its annotation's text, of which nothing is imported."""
        if self.about.get("words") is not None or self.annotation.startswith("tuple"):
            return "texts"
        kinds: tuple[tuple[str, Kind], ...] = (("bool", "flag"), ("int", "integer"), ("float", "number"))
        return next((kind for word, kind in kinds if self.accepts.startswith(word)), "text")

    @property
    def default_text(self) -> str:
        """Its default for a person; empty where nothing is what one expects, as of a flag that is off."""
        default = self.command_default
        if self.about.get("default_text"):
            return str(self.about["default_text"])
        if isinstance(default, tuple):
            return ", ".join(map(str, default))
        return "" if default is None or default is False else str(default)

    def flag_of(self, backend: str, taken: Collection[str]) -> str:
        """The flag of a backend's setting beside those of a command, one of which may be called the same.

        Parameters
        ----------
        backend
            As it is called.
        taken
            The flags of the command's own options.
        """
        return f"--{backend}-{self.name}".replace("_", "-") if self.flag in taken else self.flag

    def read(self, value: Any, flag: str | None = None) -> Any:
        """The value of what a person wrote.

        Parameters
        ----------
        value
            What was written.
        flag
            What messages call the option, where that is not its flag.

        Raises
        ------
        UsageError
            If the option cannot have that value.
        """
        if value is None:
            return value
        flag = flag or self.flag or self.name
        read = self.about.get("read") or _READ.get(self.kind if self.kind in ("flag", "integer") else self.accepts)
        return value if read is None else read(value, flag)


def declared(options: type) -> tuple[Declared, ...]:
    """The options of a dataclass, in the order of its fields."""
    return _declared(options)


@cache
def _declared(options: Any) -> tuple[Declared, ...]:
    return tuple(
        Declared(each.name, str(each.type), None if each.default is MISSING else each.default, each.metadata)
        for each in fields(options)
    )


def read_options(options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a dataclass's options, of what Python's functions were given; other names are left out.

    Raises
    ------
    UsageError
        If an option cannot have its value.
    """
    return {each.name: each.read(given[each.name]) for each in declared(options) if each.name in given}


# What several options are read with


def texts(value: Any, flag: str) -> tuple[str, ...]:
    """A tuple of one text or of several.

    Raises
    ------
    UsageError
        If the value is no text, or has an item that is none.
    """
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(each, str) for each in found):
        raise UsageError(f"{flag} {value!r}: give a text, or several")
    return found


def at_least(least: int, what: str) -> Callable[[Any, str], int]:
    """Reads a whole number that has a least value.

    Parameters
    ----------
    least
        That value.
    what
        What a person is told to give, such as `1 or more`.
    """

    def read(value: Any, flag: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{flag} {value!r}: give {what}")
        return value

    return read


def one_of(*choices: str) -> Callable[[Any, str], str]:
    """Reads one of several words."""

    def read(value: Any, flag: str) -> str:
        if value not in choices:
            raise UsageError(f"{flag} {value!r}: give {' or '.join(choices)}")
        return str(value)

    return read


def _of_type(wanted: type, what: str) -> Callable[[Any, str], Any]:
    """Takes only a value of a type: Python would take a text such as `no` for true."""

    def read(value: Any, flag: str) -> Any:
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            from scaledproc._util.redaction import is_secret_name

            raise UsageError(f"{flag} {'***' if is_secret_name(flag) else repr(value)}: give {what}")
        return value

    return read


def mapping(value: Any, flag: str) -> Mapping[str, Any]:
    """A mapping whose keys are texts.

    Raises
    ------
    UsageError
        If the value is no mapping, or has a key that is no text.
    """
    if not isinstance(value, Mapping):
        raise UsageError(
            f"{flag}: give a mapping such as {{'name': value}}, not a value of type {type(value).__name__}"
        )
    strange = [key for key in value if not isinstance(key, str)]
    if strange:
        raise UsageError(f"{flag}: the names are texts, which {strange[0]!r} is not")
    return value


def place(value: Any, flag: str) -> str | os.PathLike[str]:
    """A path or URL.

    Raises
    ------
    UsageError
        If the value is neither a text nor a path.
    """
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{flag}: give a path or URL, not a value of type {type(value).__name__}")
    return value


def function(value: Any, flag: str) -> Callable[..., Any]:
    """What can be called.

    Raises
    ------
    UsageError
        If the value cannot be called.
    """
    if not callable(value):
        raise UsageError(f"{flag}: give a function, not a value of type {type(value).__name__}")
    found: Callable[..., Any] = value
    return found


yes_or_no = _of_type(bool, "True or False")
"""Takes only True and False."""
text = _of_type(str, "a text")
"""Takes only texts."""
whole_number = _of_type(int, "a whole number")
"""Takes only whole numbers."""

_READ: Mapping[str, Callable[[Any, str], Any]] = {
    "Mapping[str, Any] | None": mapping,
    "Where | None": place,
    "flag": yes_or_no,
    "integer": whole_number,
    "str": text,
    "str | None": text,
}
"""How options are read that do not say it themselves: by their kind, and texts by the type that they accept."""
