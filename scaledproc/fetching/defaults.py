"""What `fetch` takes where nothing is said."""

from __future__ import annotations

PHYSIONET = "https://physionet.org/files"
"""Where PhysioNet's databases lie."""

PARALLEL = 4
"""Files that are fetched at once."""
