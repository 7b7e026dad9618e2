"""Which kernel is in use: numpy's, or the compiled one where enough is to come.

Both give the same integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaledproc.extractors.wfdb.windows import kept
from scaledproc.extractors.wfdb.windows.measures.numpy_kernel import numpy_kernel
from scaledproc.extractors.wfdb.windows.measures.spectra import welch

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb.windows.measures.fields import Kernel

LITTLE = 4 * 10**6
"""Bytes for one process, from which on loading pays what was compiled before."""
MUCH = 400 * 10**6
"""Bytes for one process, from which on compiling pays, once on a machine."""
_kernel: Kernel = numpy_kernel


def kernel_in_use() -> Kernel:
    """The kernel that integers are made by."""
    return _kernel


def use_compiled(size: int = MUCH, *, has_beats: bool = False) -> None:
    """Use the compiled kernel from now on, if it pays and can be had, and compiled detectors if there are beats.

    Parameters
    ----------
    size
        Bytes that this process has before it.
    has_beats
        Whether there are beats to detect.
    """
    if size < LITTLE:
        return
    if has_beats:
        from scaledproc.extractors.wfdb.beats.compiled import use_compiled as use_compiled_detectors

        use_compiled_detectors(size, little=LITTLE, much=MUCH)
    global _kernel
    if _kernel is not numpy_kernel:
        return
    from scaledproc.extractors.wfdb.machine_code import load_where_it_pays
    from scaledproc.extractors.wfdb.windows.measures import numba_kernel

    functions = load_where_it_pays(numba_kernel.LIBRARY, size, little=LITTLE, much=MUCH)
    if functions is not None:
        _kernel, welch.compiled, kept.compiled = numba_kernel.compiled_of(functions)
