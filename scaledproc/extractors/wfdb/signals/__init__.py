"""Samples in signal files: read in blocks, counted, summed up."""
