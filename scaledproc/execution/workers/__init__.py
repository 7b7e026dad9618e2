"""Processes for a machine's cores: how they start, what is noted of them, and what is done when one is lost."""
