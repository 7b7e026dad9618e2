"""What a report tells of WFDB records: signals, their flags and ranges, coverage, pieces of the samples."""
