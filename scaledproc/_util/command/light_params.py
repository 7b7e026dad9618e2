"""Words of the command line without Pydantic where they are texts, or were not given, as nearly all.

Typer has a parser of Pydantic's for each option, be it given or not. Loading Pydantic and making them takes a third of
the time of a command that shows something small. What is neither text nor left out is Typer's to read, as ever.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

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
        """The value of a parameter that was given as this, or not given."""
        is_many = param.multiple or param.nargs == -1
        if value is None:
            return () if is_many else None
        if not is_many and type(value) is param.type_descriptor.annotation:  # text, or a default
            return value
        setattr(param, _PARSER, None)
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
