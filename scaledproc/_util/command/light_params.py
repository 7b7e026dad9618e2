"""Words of the command line without Pydantic where they are texts or whole numbers, or were not given, as nearly all.

Typer has a parser of Pydantic's for each option, be it given or not. Loading Pydantic and making them takes a third of
the time of a command that shows something small. All others are Typer's to read, as ever.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

from scaledproc.errors import UsageError

_PARSER = "_runtime_param"  # Typer's own name: where it has another one some day, all is read its way


def read_lightly(params: list[Any]) -> None:
    """Have the parameters of a command make Typer's parsers only where these are needed."""
    for param in params:
        if getattr(param, _PARSER, param) is None:
            setattr(param, _PARSER, _Lightly())


class LightCommand(TyperCommand):
    """A command whose words are read so."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, `--help` among them."""
        found = super().get_params(ctx)
        read_lightly(found)
        return found


class _Lightly:
    """Stands for the parser of a parameter until that is needed."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a parameter that was given as this, or not given.

        Raises
        ------
        UsageError
            If the parameter is a whole number, and the value is none.
        """
        is_many = param.multiple or param.nargs == -1
        if value is None:
            return () if is_many else None
        kind = param.type_descriptor.annotation
        if not is_many and type(value) is kind:  # text, or a default
            return value
        is_bounded = getattr(param, "min", None) is not None or getattr(param, "max", None) is not None
        if not is_many and kind is int and not is_bounded and isinstance(value, str):
            if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
                return int(value)
            raise UsageError(f"{max(param.opts, key=len)} {value!r}: give a whole number")
        if param.multiple and kind == list[str] and all(type(each) is str for each in value):
            return list(value)
        setattr(param, _PARSER, None)
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
