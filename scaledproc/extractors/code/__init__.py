"""What an extractor's rows depend on: its code, and all that this reaches."""
