"""Fingerprints of what is no function and no plain value."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import scaledproc
from scaledproc import Extractor
from scaledproc.extractors.code.fingerprint import fingerprint_of


def make(function: Any) -> Extractor:
    return scaledproc.extractor(schema={"v": "int64"})(function)


def reading(value: Any) -> Extractor:
    return make(lambda task: [value])


class Unbound:
    def __init__(self) -> None:
        self.unset = 1

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("there is no request")

    def __call__(self) -> int:
        return 1


class Power:
    __slots__ = ("__base", "exponent", "unset")

    def __init__(self, exponent: int) -> None:
        self.exponent, self.__base = exponent, 2

    def __call__(self, task: scaledproc.Task) -> dict[str, int]:
        return {"v": self.__base**self.exponent}


def test_values_whose_own_code_fails() -> None:
    one, other = fingerprint_of(reading([Unbound(), 1])), fingerprint_of(reading([Unbound(), 2]))
    (note,) = one.notes
    assert "Unbound" in note
    assert note.endswith("cannot be compared: a change of it goes unnoticed")
    assert one.text != other.text


def test_a_module_without_a_file() -> None:
    made = types.ModuleType("made")
    made.inner = inner = types.ModuleType("inner")  # type: ignore[attr-defined]
    inner.k = 1  # type: ignore[attr-defined]
    cell: dict[str, Any] = {"__name__": "__main__", "made": made}
    exec("def f(task): return made.inner.k", cell)
    before = fingerprint_of(make(cell["f"]))
    assert fingerprint_of(make(cell["f"])) == before
    inner.k = 2  # type: ignore[attr-defined]
    assert fingerprint_of(make(cell["f"])).parts["global made.inner.k"] == "2"
    assert before.parts["global made.inner.k"] == "1"


def test_an_object_with_slots_is_called(tmp_path: Path) -> None:
    two, three = (fingerprint_of(make(Power(exponent))).parts for exponent in (2, 3))
    assert two == {**three, "option exponent": "2"}
    assert three["option exponent"] == "3"
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").touch()
    run = scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=make(Power(3)), anchor="*", jobs=1)
    assert run.to_arrow()["v"].to_pylist() == [8]


def test_functions_that_are_compiled_go_by_their_names() -> None:
    assert fingerprint_of(make(max)) == fingerprint_of(make(max))
    assert fingerprint_of(make(max)).text != fingerprint_of(make(min)).text
