"""What backends have in common whose jobs wait in the queue of a batch system.

A backend of a batch system is a subclass of `BatchBackend` (`queue.py`): it declares its settings (`settings.py`), and
submits, looks for and cancels jobs. `slurm/` and `commands/` are such.
"""
