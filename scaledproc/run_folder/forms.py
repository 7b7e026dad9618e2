"""The forms that a run's tables can have. Apart from the names of files, as options of commands need it: light."""

FILE, DATASET = "file", "dataset"
"""One file each, or a folder of files each."""
