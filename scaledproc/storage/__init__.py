"""Every byte in or out: listing, reading, fetching, committing, on any filesystem that fsspec knows."""
