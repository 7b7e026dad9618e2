"""Spectra of windows: by Welch's method, and the steps of it that gain by compiling."""
