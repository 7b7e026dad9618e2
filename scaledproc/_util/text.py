"""Numbers as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable


def bytes_text(size: float) -> str:
    """Bytes with a decimal unit: `6.7 TB`."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if abs(size) < 999.5 or unit == "PB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def seconds_text(seconds: float) -> str:
    """A duration: `12.3 s`, `4 min 05 s`, `3 h 20 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count_text(count: int, noun: str) -> str:
    """A count with its noun: `1 task`, `2,000 tasks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def part_text(part: int, whole: int, noun: str, several: str = "") -> str:
    """A part of a count with its noun: `1 of 20 tasks`; `several` is an irregular noun of more than one."""
    return f"{part:,} of {whole:,} {noun if whole == 1 else several or f'{noun}s'}"


def ranges_text(numbers: Iterable[int]) -> str:
    """Numbers as ranges: `0-3,7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def cut_text(text: str, most: int = 400) -> str:
    """A text of the data in one line, without what nobody sees or what turns text around, and not too long."""
    clean = clean_text(" ".join(text.splitlines()))
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


def clean_text(text: str) -> str:
    """Text in its own lines, without what would steer a terminal."""
    if text.isprintable():  # nearly always, and told at once
        return text
    return "".join(char if char.isprintable() or char == "\n" else " " if char == "\t" else "�" for char in text)
