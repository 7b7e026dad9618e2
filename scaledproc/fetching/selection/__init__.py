"""Which part of a dataset is wanted: by groups, records or the names in a list, as PhysioNet's databases name them."""
