"""The seam for machines: what a backend is."""
