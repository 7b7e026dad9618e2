"""What headers say: a record's signals, its time, and whose it is."""
