"""Built-in extractors for any files: `files` and `table`, as small as extractors can be."""
