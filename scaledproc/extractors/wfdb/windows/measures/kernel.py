"""Which kernel is in use: numpy's, or the compiled one, which takes some time to load, where much is to come.

Both give the same integers.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from scaledproc.extractors.wfdb.windows.measures import spectra
from scaledproc.extractors.wfdb.windows.measures.numpy_kernel import numpy_kernel

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb.windows.measures.fields import Kernel

MUCH = 60 * 10**6
"""Bytes for one process, from which on loading the compiled kernel pays."""
_kernel: Kernel = numpy_kernel
_is_tried = False


def kernel_in_use() -> Kernel:
    """The kernel that integers are made by."""
    return _kernel


def use_compiled(*, has_beats: bool = False) -> None:
    """Use the compiled kernel from now on, if it can be had, and the compiled detectors if there are beats to detect.

    Nothing is done where it was tried before.
    """
    if has_beats:
        from scaledproc.extractors.wfdb.beats.compiled import use_compiled as use_compiled_detectors

        use_compiled_detectors()
    global _kernel, _is_tried
    if _is_tried:
        return
    _is_tried = True
    with contextlib.suppress(Exception):  # not installed, or it cannot keep what it compiles: numpy does the same
        from scaledproc.extractors.wfdb.windows.measures.numba_kernel import compiled_kernel
        from scaledproc.extractors.wfdb.windows.measures.spectral_steps import compiled_steps

        made = compiled_kernel()
        spectra.compiled = compiled_steps()
        _kernel = made
