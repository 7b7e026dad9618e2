"""Tests that every backend, every extractor and every kind of store must pass: inherit one and run it with pytest.

Examples
--------
::

    class TestMine(BackendConformance):
        backend = "mine"  # as its entry point in the group scaledproc.backends is called

    class TestMyExtractor(ExtractorConformance):
        extractor = "my_package:count_lines"

        @pytest.fixture
        def dataset(self):
            return Path("tests/data")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaledproc._util.lazy_names import lazily

if TYPE_CHECKING:
    from scaledproc.testing.backend import BackendConformance
    from scaledproc.testing.extractor import ExtractorConformance
    from scaledproc.testing.probes import COUNT, CUTS, PROBE, output_bytes, probe, write_probe_dataset
    from scaledproc.testing.store import StoreConformance

__all__ = [
    "COUNT",
    "CUTS",
    "PROBE",
    "BackendConformance",
    "ExtractorConformance",
    "StoreConformance",
    "output_bytes",
    "probe",
    "write_probe_dataset",
]

# At their first use, as a worker that is sent the probe needs no pytest.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "testing.backend": ("BackendConformance",),
        "testing.extractor": ("ExtractorConformance",),
        "testing.probes": ("COUNT", "CUTS", "PROBE", "output_bytes", "probe", "write_probe_dataset"),
        "testing.store": ("StoreConformance",),
    },
)
