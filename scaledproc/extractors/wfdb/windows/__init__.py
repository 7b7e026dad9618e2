"""The built-in extractor `wfdb-windows`: windows of the signals of WFDB records, and what is measured of them."""
