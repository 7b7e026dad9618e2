"""The whole story of a run: checks, plan, backend, combine; its status, and its verification."""
