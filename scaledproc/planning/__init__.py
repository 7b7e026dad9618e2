"""From a dataset to a plan: what is there, what belongs together, and where it is cut."""
