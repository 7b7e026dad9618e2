"""What an extractor returns, as Arrow rows of its declared schema."""
