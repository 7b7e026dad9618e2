"""Processes of this project's own: how they start, what they may have of a machine, how they end."""
