"""The backend `slurm`: a plan's shards as a job array of Slurm."""
