"""What was found of one thing that runs need, and all findings together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How good a finding is; each is the word that JSON has."""

    FINE = "fine"
    WORRY = "worry"
    """Runs work, but slower or with less than they could have."""
    MISSING = "missing"
    """It is not there, or cannot be used; what needs it does not work."""


@dataclass(frozen=True)
class Finding:
    """What was found of one thing that runs need.

    Parameters
    ----------
    name
        Of the thing.
    verdict
        How good it is.
    text
        What was found, in one line for a person.
    advice
        What to do about it; empty where there is nothing to do.
    stops
        Whether it would stop a run.
    details
        The figures, for a program.
    """

    name: str
    verdict: Verdict
    text: str
    advice: str = ""
    stops: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """All findings."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing would stop a run."""
        return not any(each.stops for each in self.findings)

    def __str__(self) -> str:
        return "\n".join(
            f"{each.verdict}: {each.name}: {each.text}{f' ({each.advice})' if each.advice else ''}"
            for each in self.findings
        )

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON's types."""
        return {"ok": self.ok, "findings": [asdict(each) for each in self.findings]}
