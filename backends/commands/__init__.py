"""The backend `commands`: jobs by a batch system's own commands, which the user gives."""
