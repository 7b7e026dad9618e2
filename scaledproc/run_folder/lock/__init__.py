"""One driver at a time: the lease on a run's folder."""
