"""Objects of S3: how they are fetched, the filesystem behind the rest, and the store of both."""
