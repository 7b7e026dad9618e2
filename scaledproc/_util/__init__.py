"""What every room may use: text, redaction, processes, scratch folders; nothing of datasets or runs."""
