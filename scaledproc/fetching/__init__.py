"""Copy a dataset, or a part of it, to where a run can read it."""
