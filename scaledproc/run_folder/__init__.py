"""A run's folder: the names in it, what is committed, and how two runs differ."""
