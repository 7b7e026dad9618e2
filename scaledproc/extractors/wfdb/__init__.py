"""WFDB records: headers, samples, and the built-in extractor `wfdb-summary`."""
