"""What backends have in common whose jobs wait in the queue of a batch system."""
