"""Rows of earlier runs, taken into a new one: which, from where, and the shards that are made of them."""
