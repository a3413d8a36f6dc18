"""Executors: run the jobs of a study, on this machine or elsewhere.

An executor has ``jobs``, how many run at a time; ``threads``, CPU threads per job; ``run(job)``, which returns when the
job has ended and raises RuntimeError if it failed; ``stop(signal)`` and ``kill()``, which end all jobs.
"""
