"""Canonical signal names, from a data file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from scaledproc.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("numerics", "waveform")


@dataclass(frozen=True)
class SignalNames:
    """What each spelling of a signal's name means, by kind of record: `RESP` is a rate in one and a wave in the other.

    Spellings match whatever their case and spaces are. A name that the table does not know stays as it is.

    Parameters
    ----------
    canonical_of
        For each (kind, folded spelling) the canonical name.
    """

    canonical_of: dict[tuple[str, str], str]

    @classmethod
    def built_in(cls) -> SignalNames:
        """The table in this package, `signal_names.toml`."""
        return cls.parse(files(__package__).joinpath("signal_names.toml").read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, text: str) -> SignalNames:
        """A table in TOML: under `[numerics]` and `[waveform]`, `canonical = ["spelling", …]`.

        Raises
        ------
        UsageError
            If the text is not TOML, has another shape, or gives one spelling to two names.
        """
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"the table of signal names is not TOML: {error}") from None
        canonical_of: dict[tuple[str, str], str] = {}
        for kind, names in content.items():
            if kind not in KINDS or not isinstance(names, dict):
                raise UsageError(f"the table of signal names has a section {kind!r}; it may have {', '.join(KINDS)}")
            for canonical, spellings in names.items():
                if not isinstance(spellings, list) or not all(isinstance(spelling, str) for spelling in spellings):
                    raise UsageError(f"signal names, [{kind}] {canonical}: give a list of spellings")
                for spelling in (canonical, *spellings):
                    known = canonical_of.setdefault((kind, fold(spelling)), canonical)
                    if known != canonical:
                        raise UsageError(f"signal names, [{kind}]: {spelling!r} is under {known} and {canonical}")
        return cls(canonical_of)

    def canonical(self, kinds: pa.Array | pa.ChunkedArray, signals: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The canonical name of each row; the name as written where none is known, null where it is null."""
        import numpy as np
        import pyarrow as pa

        # Each pair of kind and signal is looked up once: a table has far fewer of them than rows.
        kind, signal = (pa.concat_arrays(_chunks(column)).dictionary_encode("encode") for column in (kinds, signals))
        places = [column.indices.to_numpy().astype(np.int64) for column in (kind, signal)]
        pairs = pa.array(places[0] * len(signal.dictionary) + places[1]).dictionary_encode()
        of_kinds, of_signals = kind.dictionary.to_pylist(), signal.dictionary.to_pylist()
        names = [
            self.name_of(of_kinds[pair // len(of_signals)], of_signals[pair % len(of_signals)])
            for pair in pairs.dictionary.to_pylist()
        ]
        return pa.array(names, pa.string()).take(pairs.indices)

    def name_of(self, kind: str | None, signal: str | None) -> str | None:
        """The canonical name of one signal, as `canonical` has it."""
        return None if signal is None else self.canonical_of.get((str(kind), fold(signal)), signal)


def _chunks(column: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    import pyarrow as pa

    return [pa.array([], column.type), *(column.chunks if isinstance(column, pa.ChunkedArray) else [column])]


def fold(spelling: str) -> str:
    """A spelling without its case and spaces."""
    return "".join(spelling.split()).casefold()
