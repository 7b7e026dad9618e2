"""One machine's work: chunks over its cores, their rows into shards, shards into the table."""
