"""From shards to tables: the last step, its files and what describes them."""
