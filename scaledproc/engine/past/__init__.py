"""Runs that are there: how far one is, what became of its tasks, whether it is whole."""
