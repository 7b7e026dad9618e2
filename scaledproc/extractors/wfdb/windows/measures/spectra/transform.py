"""How a Fourier transform of a length is put together, eight at once: what `transform_code` is told to do.

A transform of `n` numbers is made of those of every `radix`-th number (Cooley and Tukey 1965,
doi:10.1090/S0025-5718-1965-0178586-1), and these of smaller ones, by pocketfft's factors. It is put together part by
part, so that what is read was written not long ago.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.windows.measures.spectra.transform_code import LEAF, NODE, RADICES, ROOT, code

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_NEAR = 256
"""Rows that are put together step by step; more of them part by part."""
ROOMS = 4
"""Times the length of a transform in rows: what is transformed, twice what comes of it in between, and the squares."""


class TransformPlan(NamedTuple):
    """How transforms of a length are made.

    Parameters
    ----------
    order
        Of the samples that the first steps read, shape (n,).
    constants
        Cosines and sines.
    steps
        As `transform_code.FIELDS` tells, shape (steps, fields); rows are those of a room of `ROOMS * n`.
    """

    order: NDArray[np.int64]
    constants: NDArray[np.float64]
    steps: NDArray[np.int64]


@lru_cache(maxsize=16)
def plan_of(n: int) -> TransformPlan | None:
    """How transforms of `n` numbers are made; None where `transform_code` does not know all of their factors."""
    factors = factors_of(n)
    if not set(factors) <= set(RADICES) or len(factors) < 2:
        return None
    constants, places = _constants(n, factors)
    return TransformPlan(_order(np.arange(n), factors), constants, np.array(list(_steps(n, factors, places)), np.int64))


def factors_of(n: int) -> list[int]:
    """Those of pocketfft: the first one is that of the last step."""
    found = []
    while n % 4 == 0:
        found.append(4)
        n //= 4
    if n % 2 == 0:
        found = [2, *found[1:], *found[:1]]
        n //= 2
    divisor = 3
    while n > 1:
        while n % divisor == 0:
            found.append(divisor)
            n //= divisor
        divisor += 2
    return found


def _order(samples: NDArray[np.int64], factors: Sequence[int]) -> NDArray[np.int64]:
    """Samples so that those of a part are next to each other, and in it those of its parts."""
    radix, *others = factors
    return np.concatenate([_order(samples[part::radix], others) for part in range(radix)]) if others else samples


def _constants(n: int, factors: Sequence[int]) -> tuple[NDArray[np.float64], list[int]]:
    """The cosines and sines that each step needs, and where those of the steps begin, by the places of the factors.

    They are read off numpy's transforms of single ones among zeros, which are made of nothing else: so they are
    rounded as numpy's are, whatever its version and the machine's library have.
    """
    found: list[float] = []
    places = []
    before = 1
    for radix in factors:
        places.append(len(found))
        ido = n // (before * radix)
        ones = np.zeros((radix - 1, n))
        parts = np.arange(1, radix)
        ones[parts - 1, before * parts] = 1
        turned = np.fft.rfft(ones).conj()
        if radix > 5:
            half = turned[0, ido : (radix // 2) * ido + 1 : ido]
            circle = np.concatenate([[1 + 0j], half, half[::-1].conj()])
            found += circle.view(np.float64).tolist()
        found += turned[:, 1 : (ido + 1) // 2].T.copy().view(np.float64).reshape(-1).tolist()
        before *= radix
    return np.array([*found, 0.0]), places


def _steps(n: int, factors: Sequence[int], places: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The steps, each of the fields that `transform_code` tells."""
    sizes = [n]  # of a node for each factor, and of its parts
    for radix in factors:
        sizes.append(sizes[-1] // radix)
    last = len(factors) - 1

    def step(level: int, begin: int, rows: int) -> tuple[int, ...]:
        radix, ido = factors[level], sizes[level + 1]
        to = n * (1 + (last - level) % 2)
        kind, source, target = NODE, 3 * n - to + begin, to + begin
        if level == last:
            kind, source = LEAF, 0
        elif level == 0:
            kind, target = ROOT, 3 * n
        return code(kind, radix), source, target, ido, rows // sizes[level], places[level], begin

    def steps(level: int, begin: int) -> Iterator[tuple[int, ...]]:
        if sizes[level] <= _NEAR:
            for each in range(last, level - 1, -1):
                yield step(each, begin, sizes[level])
            return
        for part in range(factors[level]):
            yield from steps(level + 1, begin + part * sizes[level + 1])
        yield step(level, begin, sizes[level])

    yield from steps(0, 0)
