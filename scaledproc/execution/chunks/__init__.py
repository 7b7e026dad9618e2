"""One chunk, from its tasks to its commit."""
