"""What this machine and this installation have of what runs need: findings, and what to do about each."""
