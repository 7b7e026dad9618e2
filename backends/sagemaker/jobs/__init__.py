"""Processing jobs: which a run needs, their requests, and what becomes of them."""
