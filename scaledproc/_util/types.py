"""Types that many signatures share."""

from __future__ import annotations

import os

Where = str | os.PathLike[str]
"""A path, or a URL that fsspec knows."""
