"""Sizes and times as a person writes them."""

from __future__ import annotations

import math
import re
from typing import Literal

from scaledproc.errors import UsageError

_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def parse_number(text: str, option: str, choices: str) -> tuple[Literal["count", "bytes"], int]:
    """A number of things, or of bytes.

    Raises
    ------
    UsageError
        If the text is neither; the message names the option and the choices.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt]?i?)(b?)|tasks?)\s*", text, re.IGNORECASE)
    if not match or (match[2] or "").lower() not in _BYTES:
        raise UsageError(f"{option} {text!r}: give {choices}")
    unit, is_bytes = (match[2] or "").lower(), bool(match[2] or match[3])
    value = float(match[1]) * _BYTES[unit]
    if value < 1 or (not is_bytes and value != int(value)):
        raise UsageError(f"{option} {text!r}: give {choices}, 1 or more")
    return ("bytes" if is_bytes else "count"), int(value)


def size_text(size: int) -> str:
    """Bytes as a person writes them, to the last one: `256MiB`, `2GB`, `17`."""
    units = (
        (unit if unit == "k" else unit.capitalize(), number) for unit, number in _BYTES.items() if size % number == 0
    )
    texts = [f"{size // number}{unit}{unit and 'B'}" for unit, number in units]
    return min(texts, key=len) if size else "0"


def parse_seconds(
    text: str,
    option: str,
    *,
    least: float = 0.01,
    most: float = 1e7,
    choices: str = "seconds such as 30, or a time such as 90s, 5m or 1h",
) -> float:
    """Seconds from `30`, `90s`, `5m`, `1h` or `2d`.

    Raises
    ------
    UsageError
        If the text is something else, or not from `least` to `most`; the message names the option and the choices.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match and match[2] in _SECONDS else math.nan
    if not least <= seconds <= most:
        raise UsageError(f"{option} {text!r}: give {choices}")
    return seconds
