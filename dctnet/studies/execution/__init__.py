"""Executors: run the jobs of a study on this machine, on a Ray cluster or on SLURM."""
